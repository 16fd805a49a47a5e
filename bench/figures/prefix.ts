// Prefix reuse: of the prompt tokens that an engine could find in its cache, how many does it find?

import { startCluster, type BenchCluster } from '../cluster.js';
import { startFake, type FakeProcess } from '../fake-engine.js';
import type { Measurement } from '../figure.js';
import { flow } from '../flow.js';
import { requestOf } from '../payload.js';
import { findableTokens } from '../shared-cache.js';
import type { FakePrompts } from '../../services/fake-engine/server.js';

const engines = 4;
const k = 8;
const requests = 40;
const slots = 16;
const warmSeconds = 6;
/** An engine tells so many; more than it is asked in the time. */
const promptsMax = 100_000;
const names = {
  busy: 'prompt tokens found in the cache, busy',
  idle: 'prompt tokens found in the cache, idle',
} as const;

export const prefix: Measurement = {
  name: 'prefix',
  title: 'Prompt tokens found in the prefix cache',
  words:
    `Requests of k = ${k} over ${engines} workers with an engine each, which count what they find in their caches. Ceiling: what one cache of unlimited ` +
    'size, shared by all engines, finds for the very prompts that they were asked: instructions that all requests share, and all of a prompt ' +
    'but its first evaluation in each order of the responses. Busy: more samples are open than the engines have slots. ' +
    `Idle: ${requests} requests one after the other, whose samples are spread over all engines on purpose, for the sake of time: told, not judged.`,
  notMeasured: ['prefix caches that are full'],
  usualSeconds: 35,
  budgetSeconds: 55,
  figures: [
    { name: names.busy, unit: 'tokens', bar: { of: 'ratio', is: 'at least', limit: 0.9 } },
    { name: names.idle, unit: 'tokens' },
  ],
  measure: async ({ seconds, found }) => {
    const there = await busy(seconds);
    found(names.busy, there.cached, there.findable);
    const alone = await idle();
    found(names.idle, alone.cached, alone.findable);
  },
};

/** Prompt tokens of the measured requests. */
interface Found {
  readonly cached: number;
  readonly findable: number;
}

/** Keeps the engines for `run`, which gets their URLs and what marks the end of the warm-up. */
async function measured(
  flags: readonly string[],
  run: (cluster: BenchCluster, warmed: () => Promise<void>) => Promise<void>,
): Promise<Found> {
  const fakes: FakeProcess[] = [];
  const all = ['--record-prompts', String(promptsMax), ...flags];
  try {
    fakes.push(...(await Promise.all(Array.from({ length: engines }, () => startFake(all)))));
    await using cluster = await clusterOf(fakes.map(({ url }) => url));
    let before: readonly Seen[] = fakes.map(() => ({ hits: 0, blockTokens: 1, prompts: [] }));
    await run(cluster, async () => void (before = await Promise.all(fakes.map(seen))));
    const after = await Promise.all(fakes.map(seen));
    const during = after.flatMap(({ prompts }, at) => prompts.slice(before[at]!.prompts.length));
    const earlier = before.flatMap(({ prompts }) => prompts);
    return {
      cached: after.reduce((sum, { hits }, at) => sum + hits - before[at]!.hits, 0),
      findable: findableTokens(earlier, during, after[0]!.blockTokens),
    };
  } finally {
    await Promise.all(fakes.map((fake) => fake[Symbol.asyncDispose]()));
  }
}

interface Seen extends FakePrompts {
  readonly hits: number;
}

/** What an engine that rests has found and been asked so far. */
async function seen(fake: FakeProcess): Promise<Seen> {
  const { prefixHitsTokens, prefixQueriesTokens } = await fake.stats();
  const told = await fake.prompts();
  const toldTokens = told.prompts.reduce((sum, { promptTokens }) => sum + promptTokens, 0);
  if (toldTokens !== prefixQueriesTokens) {
    throw new Error(`an engine tells prompts of ${toldTokens} tokens and was asked for ${prefixQueriesTokens}`);
  }
  return { ...told, hits: prefixHitsTokens };
}

function clusterOf(urls: readonly string[]): Promise<BenchCluster> {
  return startCluster({ workers: engines, engines: (worker) => [{ kind: 'openai', base_url: urls[worker]!, slots }] });
}

function busy(seconds: number): Promise<Found> {
  return measured(['--max-num-seqs', String(slots), '--stream-interval', '64'], async ({ client }, warmed) => {
    const open = (2 * engines * slots) / k;
    // Until the leases say that the engines are busy.
    await flow(client, open, warmSeconds, { k, vote: 'sum' });
    await warmed();
    await flow(client, open, seconds, { k, vote: 'sum' });
  });
}

function idle(): Promise<Found> {
  return measured(['--instant'], async ({ client }) => {
    for (let at = 0; at < requests; at++) await client.score(requestOf({ k, vote: 'sum' }));
  });
}
