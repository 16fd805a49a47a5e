// Saturation: does the cluster keep a batching engine as full as a client that drives it directly?
//
// What began together ends together, and its successors' prompts are evaluated together: a short window that holds one such wave more than
// another is wrong by a quarter. So load begins spread over one sample's time, judgements differ in length, and the engine counts tokens as
// it makes them.

import { setTimeout as sleep } from 'node:timers/promises';
import { startCluster, type BenchCluster } from '../cluster.js';
import { startFake, type FakeProcess } from '../fake-engine.js';
import type { Measurement } from '../figure.js';
import { flow } from '../flow.js';
import { driveDirectly } from '../direct.js';

/** Sequences that the engine batches: the workers share them out. */
const slots = 64;
const workerCounts = [1, 4, 16] as const;
const ks = [8, 32] as const;
/** Samples open at once, per slot, at which the engine is driven directly: the better one is the ceiling. At 1 a place is empty for a step after each sample. */
const drivenPerSlot = [1.25, 2] as const;
/** A step of the simulated machine is slow enough that this machine's cores are not what is measured. */
const machine = [
  ...['--max-num-seqs', String(slots), '--step-base-ms', '10', '--step-per-sequence-ms', '0.1'],
  ...['--extra-lines', '6', '--stream-interval', '64'],
];
/** About a sample's time: 200 steps of 16 ms. */
const sampleMs = 3_500;
/** Driven directly, it is full when the load is spread; behind a cluster what began first still runs. */
const directSettleMs = 1_000;
/** More tells no more: all of it is spread alike. */
const windowSecondsMax = 5;
/** Longer than a request waits in a busy machine until the engine is full. */
const fullMs = 60_000;
const lookEveryMs = 50;

const nameOf = (workers: number, k: number): string =>
  `tokens through ${workers} worker${workers > 1 ? 's' : ''}, k=${k}`;
const fillOf = (workers: number, k: number): string =>
  `sequences in the batch, ${workers} worker${workers > 1 ? 's' : ''}, k=${k}`;
const cells = workerCounts.flatMap((workers) => ks.map((k) => ({ workers, k })));

export const saturation: Measurement = {
  name: 'saturation',
  title: 'Engine saturation',
  words:
    `Tokens per second of one fake engine in continuous batching (${slots} sequences, 10 ms a step and 0.1 ms per sequence) behind ${workerCounts.join(', ')} ` +
    `workers that share its slots. Ceiling: the same engine driven directly with the prompts that the cluster draws, at the better of ${drivenPerSlot.join(' and ')} ` +
    'samples per slot, before and after. Beside the rate stands how many sequences the engine had at work in a step, on the average, which a busy machine moves less.',
  notMeasured: ['saturation of real engines, whose speed depends on prompts and batch in other ways'],
  usualSeconds: 185,
  budgetSeconds: 190,
  figures: [
    ...cells.map(({ workers, k }) => ({
      name: nameOf(workers, k),
      unit: '1/s',
      bar: { of: 'ratio', is: 'at least', limit: 0.97 } as const,
    })),
    ...cells.map(({ workers, k }) => ({ name: fillOf(workers, k), unit: '' })),
  ],
  measure: async ({ seconds, tell, found }) => {
    await using engine = await startFake(machine);
    const window = Math.min(seconds, windowSecondsMax);
    const direct = async (perSlot: number, k: number): Promise<Pace> => {
      await using _load = await driveDirectly(engine.url, slots * perSlot, k, sampleMs);
      return await paceOf(engine, window, directSettleMs);
    };
    const best = new Map<number, { readonly perSlot: number; readonly pace: Pace }>();
    for (const k of ks) {
      for (const perSlot of drivenPerSlot) {
        const pace = await direct(perSlot, k);
        tell(`driven directly, k=${k}, ${slots * perSlot} samples open: ${paceWords(pace)}`);
        if (pace.perSecond > (best.get(k)?.pace.perSecond ?? -1)) best.set(k, { perSlot, pace });
      }
    }
    // Again between and after: a machine with other work to do is not the same minutes later.
    for (const between of [workerCounts.slice(0, 2), workerCounts.slice(2)]) {
      const through = new Map<number, ReadonlyMap<number, Pace>>();
      for (const workers of between) through.set(workers, await scored(engine, workers, window, tell));
      for (const k of ks) {
        const { perSlot, pace: before } = best.get(k)!;
        const after = await direct(perSlot, k);
        tell(`driven directly, k=${k}: ${paceWords(after)}`);
        best.set(k, { perSlot, pace: after });
        for (const [workers, paces] of through) {
          const { perSecond, batch } = paces.get(k)!;
          found(nameOf(workers, k), perSecond, (before.perSecond + after.perSecond) / 2);
          found(fillOf(workers, k), batch, (before.batch + after.batch) / 2);
        }
      }
    }
  },
};

interface Pace {
  /** Tokens. */
  readonly perSecond: number;
  /** Sequences in a step, on the average. */
  readonly batch: number;
}

const paceWords = ({ perSecond, batch }: Pace): string =>
  `${perSecond.toFixed(0)} tokens a second, ${batch.toFixed(1)} sequences in the batch`;

/** One cluster for each k in turn. */
async function scored(
  engine: FakeProcess,
  workers: number,
  seconds: number,
  tell: (words: string) => void,
): Promise<ReadonlyMap<number, Pace>> {
  await using cluster = await startCluster({
    workers,
    engines: () => [{ kind: 'openai', base_url: engine.url, slots: slots / workers }],
    // What is given up at the end of a window goes at once.
    set: ['coordinator.linger_ms=0', 'coordinator.drain_grace_ms=0'],
  });
  const paces = new Map<number, Pace>();
  for (const k of ks) {
    const pace = await steady(cluster, engine, k, workers, seconds);
    tell(`${workers} workers, k=${k}: ${paceWords(pace)}`);
    paces.set(k, pace);
  }
  return paces;
}

async function steady(
  cluster: BenchCluster,
  engine: FakeProcess,
  k: number,
  workers: number,
  seconds: number,
): Promise<Pace> {
  const over = new AbortController();
  // Twice what the slots hold, so that something always waits.
  const open = Math.max(2, Math.ceil((2 * slots) / k) + workers);
  const failures: unknown[] = [];
  const ramp = { requests: slots / k, ms: sampleMs };
  const load = flow(cluster.client, open, Infinity, { k, vote: 'sum' }, { cancel: over.signal, ramp });
  load.catch((error: unknown) => {
    if (!over.signal.aborted) failures.push(error);
  });
  const pace = await paceOf(engine, seconds, sampleMs);
  over.abort();
  await load.catch(() => undefined);
  if (failures.length > 0) throw failures[0];
  // What follows begins with an empty engine.
  await until(async () => {
    const { running, waiting } = await engine.stats();
    return running + waiting === 0;
  }, 'the engine is empty');
  return pace;
}

/** The engine's own counts over a window that begins when its batch has been full for so long. */
async function paceOf(engine: FakeProcess, seconds: number, settleMs: number): Promise<Pace> {
  await until(async () => (await engine.stats()).running >= slots * 0.9, 'the engine is full');
  await sleep(settleMs);
  const [before, startedAt] = [await engine.stats(), performance.now()];
  await sleep(seconds * 1_000);
  const [after, endedAt] = [await engine.stats(), performance.now()];
  const tokens = after.generationTokens - before.generationTokens;
  return { perSecond: (tokens * 1_000) / (endedAt - startedAt), batch: tokens / (after.steps - before.steps) };
}

async function until(holds: () => Promise<boolean>, what: string): Promise<void> {
  const giveUpAt = performance.now() + fullMs;
  while (!(await holds())) {
    if (performance.now() > giveUpAt) throw new Error(`not within ${fullMs / 1_000} s: ${what}`);
    await sleep(lookEveryMs);
  }
}
