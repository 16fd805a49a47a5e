// Saturation: does the cluster keep a batching engine as full as a client that drives it directly?

import { setMaxListeners } from 'node:events';
import { openOpenAiEngine } from '../../src/engine/openai.js';
import type { PromptMessage } from '../../src/grm/prompt.js';
import { startCluster } from '../cluster.js';
import { startFake, type FakeProcess } from '../fake-engine.js';
import { figure, type Figure, type Measurement } from '../figure.js';
import { flow } from '../flow.js';
import { requestOf } from '../payload.js';
import { promptsOf } from '../prompts.js';

/** Sequences that the engine batches: the workers share them out. */
const slots = 64;
const workerCounts = [1, 4, 16] as const;
const ks = [8, 32] as const;
/** Samples open at once, per slot, at which the engine is driven directly: the best one is the ceiling. */
const drivenPerSlot = [1, 1.25, 2] as const;
/** A step of the simulated machine is slow enough that this machine's cores are not what is measured. */
const machine = [
  '--max-num-seqs',
  String(slots),
  '--step-base-ms',
  '10',
  '--step-per-sequence-ms',
  '0.1',
  '--stream-interval',
  '64',
];
/** Several samples' time: those that began together end together, and the engine counts a sample's tokens as it ends. */
const windowSecondsMin = 8;
/** Until the batch is full. */
const warmSeconds = 4;

export const saturation: Measurement = {
  name: 'saturation',
  title: 'Engine saturation',
  words:
    `Tokens per second of one fake engine in continuous batching (${slots} sequences, 10 ms a step and 0.1 ms per sequence) behind ${workerCounts.join(', ')} ` +
    `workers that share its slots. Ceiling: the same engine driven directly with the prompts that the cluster draws, at the best of ${drivenPerSlot.join(', ')} samples per slot, before and after.`,
  notMeasured: ['saturation of real engines, whose speed depends on prompts and batch in other ways'],
  measure: async ({ seconds, tell }) => {
    await using engine = await startFake(machine);
    const window = Math.max(seconds, windowSecondsMin);
    const best = new Map<number, { readonly concurrency: number; rate: number }>();
    for (const k of ks) {
      for (const perSlot of drivenPerSlot) {
        const concurrency = slots * perSlot;
        const rate = await driven(engine, concurrency, k, window);
        tell(`driven directly, k=${k}, ${concurrency} samples open: ${rate.toFixed(0)}/s`);
        if (rate > (best.get(k)?.rate ?? -1)) best.set(k, { concurrency, rate });
      }
    }
    const figures: Figure[] = [];
    for (const workers of workerCounts) {
      for (const k of ks) {
        const { concurrency, rate: before } = best.get(k)!;
        const through = await scored(engine, workers, k, window);
        // Again beside it: a machine with other work to do is not the same minutes later.
        const after = await driven(engine, concurrency, k, window);
        best.set(k, { concurrency, rate: after });
        figures.push(
          figure(`tokens through ${workers} worker${workers > 1 ? 's' : ''}, k=${k}`, through, '1/s', {
            ceiling: (before + after) / 2,
            bar: { of: 'ratio', is: 'at least', limit: 0.97 },
          }),
        );
      }
    }
    return figures;
  },
};

async function scored(engine: FakeProcess, workers: number, k: number, seconds: number): Promise<number> {
  await using cluster = await startCluster({
    workers,
    engines: () => [{ kind: 'openai', base_url: engine.url, slots: slots / workers }],
  });
  const stop = new AbortController();
  // Twice what the slots hold, so that something always waits.
  const open = Math.max(2, (2 * slots) / k + workers);
  const running = flow(cluster.client, open, Infinity, { k, vote: 'sum' }, { stop: stop.signal });
  running.catch(() => undefined);
  const rate = await tokensPerSecond(engine, seconds);
  stop.abort();
  await running;
  return rate;
}

/** The engine's own count over a window in which the load is steady. */
async function tokensPerSecond(engine: FakeProcess, seconds: number): Promise<number> {
  await new Promise((resolve) => setTimeout(resolve, warmSeconds * 1_000));
  const [before, startedAt] = [await engine.generated(), performance.now()];
  await new Promise((resolve) => setTimeout(resolve, seconds * 1_000));
  return ((await engine.generated()) - before) / ((performance.now() - startedAt) / 1_000);
}

async function driven(fake: FakeProcess, concurrency: number, k: number, seconds: number): Promise<number> {
  const engine = await openOpenAiEngine({
    name: 'direct',
    baseUrl: fake.url,
    mode: 'chat',
    slots: concurrency,
    requestTimeoutMs: 60_000,
  });
  const stop = new AbortController();
  setMaxListeners(0, stop.signal);
  let serial = 0;
  // The samples of a request, those of one prompt beside each other: the first one's is evaluated, the others find it in the engine's cache.
  let open: PromptMessage[][] = [];
  const next = (): PromptMessage[] => {
    if (open.length === 0) {
      const nonce = (serial >>> 0).toString(16).padStart(8, '0');
      open = promptsOf(requestOf({}), k, nonce).flatMap(({ messages, samples }) =>
        Array.from({ length: samples }, () => [...messages]),
      );
    }
    return open.pop()!;
  };
  const one = async (): Promise<void> => {
    while (!stop.signal.aborted) {
      const job = {
        messages: next(),
        samples: [{ index: 0, seed: serial++ }],
        temperature: 0.5,
        topP: 1,
        maxTokens: 1_024,
        deadlineAtMs: Date.now() + 60_000,
        priority: 0,
        requestId: 'bench',
      };
      await engine.draw(job, () => undefined, stop.signal);
    }
  };
  const running = Promise.all(Array.from({ length: concurrency }, one));
  const rate = await tokensPerSecond(fake, seconds);
  stop.abort();
  await running;
  await engine.close();
  return rate;
}
