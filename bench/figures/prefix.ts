// Prefix reuse: of the prompt tokens that an engine could find in its cache, how many does it find?

import { startCluster, type BenchCluster } from '../cluster.js';
import { startFake, type FakeProcess } from '../fake-engine.js';
import type { Measurement } from '../figure.js';
import { flow } from '../flow.js';
import { requestOf } from '../payload.js';

const engines = 4;
const k = 8;
const requests = 40;
const slots = 16;
const warmSeconds = 6;
/** Of the two responses that a request of the bench has; its prompts are equally long. */
const orders = 2;
const names = {
  busy: 'prompt tokens found in the cache, busy',
  idle: 'prompt tokens found in the cache, idle',
} as const;

export const prefix: Measurement = {
  name: 'prefix',
  title: 'Prompt tokens found in the prefix cache',
  words:
    `Requests of k = ${k} over ${engines} workers with an engine each. What could be found: all prompt tokens but those of one prompt per ` +
    'order of the responses, which somebody has to evaluate. The engines report what they found. Busy: more samples are open than the engines have ' +
    `slots. Idle: ${requests} requests one after the other, whose samples are spread over all engines on purpose, for the sake of time: told, not judged.`,
  notMeasured: ['caches that are full, and prompts shared between requests'],
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

/** Prompt tokens. */
interface Found {
  readonly cached: number;
  readonly findable: number;
}

async function withFakes(flags: readonly string[], run: (urls: readonly string[]) => Promise<Found>): Promise<Found> {
  const fakes: FakeProcess[] = [];
  try {
    fakes.push(...(await Promise.all(Array.from({ length: engines }, () => startFake(flags)))));
    return await run(fakes.map(({ url }) => url));
  } finally {
    await Promise.all(fakes.map((fake) => fake[Symbol.asyncDispose]()));
  }
}

function clusterOf(urls: readonly string[]): Promise<BenchCluster> {
  return startCluster({ workers: engines, engines: (worker) => [{ kind: 'openai', base_url: urls[worker]!, slots }] });
}

function busy(seconds: number): Promise<Found> {
  return withFakes(['--max-num-seqs', String(slots), '--stream-interval', '64'], async (urls) => {
    await using cluster = await clusterOf(urls);
    const open = (2 * engines * slots) / k;
    // Until the leases say that the engines are busy.
    await flow(cluster.client, open, warmSeconds, { k, vote: 'sum' });
    const { promptTokens, cachedTokens } = await flow(cluster.client, open, seconds, { k, vote: 'sum' });
    return { cached: cachedTokens, findable: promptTokens * (1 - orders / k) };
  });
}

function idle(): Promise<Found> {
  return withFakes(['--instant'], async (urls) => {
    await using cluster = await clusterOf(urls);
    const sum = { prompt: 0, cached: 0 };
    for (let at = 0; at < requests; at++) {
      const { usage } = await cluster.client.score(requestOf({ k, vote: 'sum' }));
      sum.prompt += usage.promptTokens;
      sum.cached += usage.cachedTokens;
    }
    return { cached: sum.cached, findable: sum.prompt * (1 - orders / k) };
  });
}
