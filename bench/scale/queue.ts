// Queue: the product's queue interface over simulated costs. What is stored is the very object that was given: nothing is encoded, sizes are
// computed. One store serves a cell; every process has a door of its own to it, with its own CPU.
//
//   Q1. A result is in its lane once, as in the real ledger; here nobody else writes between a look and an append unseen, so no append is refused.
//   Q2. A request's samples are dropped when its verdict is stored and no task of it is left: nobody can ask for them any more.

import { limits } from '../../src/limits.js';
import type { Sample } from '../../src/grm/sample.js';
import type { Verdict } from '../../src/grm/verdict.js';
import { emptyLog } from '../../src/queue/lanes.js';
import type {
  Added,
  DeadLetters,
  Follower,
  LaneLog,
  Ledger,
  Published,
  Puller,
  WorkQueue,
} from '../../src/queue/queue.js';
import type { MetaResult, MetaTask, RequestRecord, Shard } from '../../src/work/shard.js';
import { promptTokensOf } from './engine.js';
import type { CoordinatorCosts, Sizes } from './inputs.js';
import type { Loop } from './loop.js';
import type { SimNats } from './nats.js';
import type { Station } from './station.js';
import { Tasks, type Holder } from './tasks.js';

interface Entry {
  record: RequestRecord | undefined;
  /** By lane. */
  readonly samples: Map<string, LaneLog<Sample>>;
  readonly metas: Map<string, LaneLog<MetaResult>>;
  verdict: Verdict | undefined;
  follower: Follower | undefined;
  /** CPU of the follower's process. */
  cpu: Station | undefined;
}

/** Whose door it is. Workers' CPU is not looked at: one serves one node's engines. */
export interface Door {
  readonly cpu?: Station;
  readonly holder: Holder;
}

export interface CellQueue {
  readonly shards: Tasks<Shard>;
  readonly metaTasks: Tasks<MetaTask>;
  ledger(door: Door): Ledger;
  work(door: Door): WorkQueue;
  readonly dead: DeadLetters;
  /** Requests in memory, for the end of a run: what was not finished. */
  open(): number;
  readonly counts: { samplesStored: number; duplicates: number; deadLetters: number };
}

export interface CellQueueParts {
  readonly loop: Loop;
  readonly nats: SimNats;
  readonly sizes: Sizes;
  readonly coordinator: CoordinatorCosts;
  readonly seed: number;
  /** Text by hash. */
  readonly templates: ReadonlyMap<string, string>;
}

/** A notice waits for the coordinator's CPU; below so much it is heard at once. */
const graceMs = 1;
const settled = Promise.resolve();

export function cellQueue(parts: CellQueueParts): CellQueue {
  const { loop, nats, sizes, coordinator, seed, templates } = parts;
  const entries = new Map<string, Entry>();
  const counts = { samplesStored: 0, duplicates: 0, deadLetters: 0 };
  let accepted = 0;
  let finished = 0;

  const renewed = (): void => nats.say('pulls', 1, 100);
  const dropIfOver = (requestId: string): void => {
    if (entries.get(requestId)?.verdict === undefined) return;
    if (shards.count(requestId) + metaTasks.count(requestId) === 0) entries.delete(requestId);
  };
  const shards = new Tasks<Shard>(loop, renewed, dropIfOver);
  const metaTasks = new Tasks<MetaTask>(loop, renewed, dropIfOver);

  const entryOf = (requestId: string): Entry => {
    let entry = entries.get(requestId);
    if (!entry) {
      entry = {
        record: undefined,
        samples: new Map<string, LaneLog<Sample>>(),
        metas: new Map<string, LaneLog<MetaResult>>(),
        verdict: undefined,
        follower: undefined,
        cpu: undefined,
      };
      entries.set(requestId, entry);
    }
    return entry;
  };
  const contentBytes = (requestId: string): number => promptTokensOf(requestId, seed, sizes) * sizes.bytesPerToken;
  const recordBytes = (requestId: string): number => sizes.envelopeBytes + contentBytes(requestId);
  const sampleBytes = ({ usage }: Sample): number => sizes.envelopeBytes + usage.completionTokens * sizes.bytesPerToken;
  const inlined = (requestId: string): number => {
    const bytes = contentBytes(requestId);
    return bytes <= limits.inlineContentCharsMax ? bytes : 0;
  };

  const notice = (entry: Entry, micros: number, hear: (follower: Follower) => void): void => {
    if (!entry.follower) return;
    const waitMs = entry.cpu?.book(micros / 1e3) ?? 0;
    const now = (): void => {
      if (entry.follower) hear(entry.follower);
    };
    if (waitMs < graceMs) void settled.then(now);
    else loop.after(waitMs, now);
  };

  const bytesOf = (samples: Iterable<Sample>): number => [...samples].reduce((sum, each) => sum + sampleBytes(each), 0);
  /** What of `results` the lane does not hold is in it now. */
  const append = <T extends { readonly index: number }>(
    lanes: Map<string, LaneLog<T>>,
    lane: string,
    results: readonly T[],
  ): Added<T> => {
    const { appends, entries } = lanes.get(lane) ?? { appends: 0, entries: new Map<number, T>() };
    const stored = results.filter(({ index }) => !entries.has(index));
    counts.duplicates += results.length - stored.length;
    if (stored.length === 0) return { log: { appends, entries }, stored };
    const log = {
      appends: appends + 1,
      entries: new Map([...entries, ...stored.map((each) => [each.index, each] as const)]),
    };
    lanes.set(lane, log);
    return { log, stored };
  };

  const ledger = (door: Door): Ledger => ({
    accept: (record) =>
      nats.store('GRM_REQ', 'requests', recordBytes(record.requestId), 0, () => {
        const entry = entryOf(record.requestId);
        if (entry.record) return { kind: 'known' };
        entry.record = record;
        accepted++;
        return { kind: 'new' };
      }),
    record: (requestId) => nats.read('reads', 1, recordBytes(requestId), () => entries.get(requestId)?.record),
    forget: (requestId) =>
      nats.read('reads', 2, recordBytes(requestId), () => {
        const entry = entries.get(requestId);
        if (entry) entry.record = undefined;
      }),
    // Both lists are read as a whole. Coordinators do not die here, so there is nothing to find.
    async *unfinished() {
      const listed = accepted + finished;
      await nats.read('reads', 2, listed * 45, () => undefined);
      const waitMs = door.cpu?.book((listed * coordinator.listed) / 1e3) ?? 0;
      await new Promise<void>((resolve) => loop.after(waitMs, resolve));
      yield* [];
    },
    addSamples: (requestId, lane, _known, samples) =>
      nats.store('GRM_RES', 'samples', bytesOf(samples), 1, () => {
        const entry = entryOf(requestId);
        const added = append(entry.samples, lane, samples);
        counts.samplesStored += added.stored.length;
        if (added.stored.length > 0) {
          notice(entry, coordinator.sample * added.stored.length, (follower) => follower.samples?.(added.stored, lane));
        }
        return added;
      }),
    samples: (requestId, lane) => {
      const log = entries.get(requestId)?.samples.get(lane) ?? emptyLog;
      return nats.read('reads', log.appends + 1, bytesOf(log.entries.values()), () => log);
    },
    addMetas: (requestId, lane, _known, results) =>
      nats.store('GRM_RES', 'meta', sizes.metaBytes * results.length, 1, () => {
        const entry = entryOf(requestId);
        const added = append(entry.metas, lane, results);
        if (added.stored.length > 0) {
          const micros = (coordinator.meta / 2) * added.stored.length;
          notice(entry, micros, (follower) => follower.metas?.(added.stored, lane));
        }
        return added;
      }),
    metas: (requestId, lane) => {
      const log = entries.get(requestId)?.metas.get(lane) ?? emptyLog;
      return nats.read('reads', log.appends + 1, log.entries.size * sizes.metaBytes, () => log);
    },
    putVerdict: (verdict) => {
      const { requestId } = verdict;
      const bytes = verdict.samples.reduce((sum, { sample }) => sum + sampleBytes(sample), sizes.envelopeBytes);
      return nats.store('GRM_FIN', 'requests', bytes, 1, () => {
        const entry = entryOf(requestId);
        if (entry.verdict) return 'exists';
        entry.verdict = verdict;
        finished++;
        dropIfOver(requestId);
        return 'stored';
      });
    },
    verdict: (requestId) => nats.read('reads', 1, 0, () => entries.get(requestId)?.verdict),
    follow(requestId, follower) {
      const entry = entryOf(requestId);
      entry.follower = follower;
      entry.cpu = door.cpu;
      return Promise.resolve({ close: () => (entry.follower = undefined) });
    },
    repeatSamples(requestId, lane, samples) {
      nats.say('samples', 2, bytesOf(samples));
      const micros = coordinator.sample * samples.length;
      notice(entryOf(requestId), micros, (follower) => follower.samples?.(samples, lane));
    },
    repeatMetas(requestId, lane, results) {
      nats.say('meta', 2, sizes.metaBytes * results.length);
      const micros = (coordinator.meta / 2) * results.length;
      notice(entryOf(requestId), micros, (follower) => follower.metas?.(results, lane));
    },
    reopen: () => Promise.reject(new Error('scale: no dead letter is retried')),
    putTemplate: () => Promise.resolve(),
    template: (hash) => nats.read('reads', 1, 1_000, () => templates.get(hash)),
  });

  const putAll = async <T extends { readonly requestId: string }>(
    bodies: readonly T[],
    store: (body: T) => Promise<boolean>,
  ): Promise<Published> => {
    const stored = await Promise.all(bodies.map(store));
    return { kind: stored.includes(false) ? 'full' : 'stored' };
  };

  const puller = <T extends Shard | MetaTask>(
    tasks: Tasks<T>,
    stream: 'GRM_WORK' | 'GRM_META',
    bytesOf: (task: T) => number,
    holder: Holder,
  ): Puller<T> => ({
    pull(max, signal) {
      // A dead process hears nothing more.
      if (holder.dead) return new Promise(() => undefined);
      const began = loop.timeMs;
      const { looks, taken } = tasks.take(max, holder);
      const bytes = taken.reduce((sum, { task }) => sum + (task ? bytesOf(task) : 0), 0);
      if (taken.length > 0) return nats.hand(stream, looks, taken.length, bytes, () => taken);
      nats.say('pulls', 2 * looks, 100);
      return new Promise((resolve) => {
        const serve = (): boolean => {
          if (holder.dead) return true;
          if (signal.aborted) {
            resolve([]);
            return true;
          }
          const one = tasks.take(1, holder).taken;
          if (one.length === 0) {
            tasks.park(serve);
            return false;
          }
          // Claims on all three classes, renewed while it waited.
          const claims = 3 * (1 + Math.floor((loop.timeMs - began) / limits.pullClaimMs));
          nats.say('pulls', 2 * claims, 100);
          void nats.hand(stream, 1, 1, bytesOf(one[0]!.task!), () => resolve(one));
          return true;
        };
        tasks.park(serve);
      });
    },
    close: () => Promise.resolve(),
  });

  const shardBytes = (shard: Shard): number =>
    sizes.envelopeBytes + 12 * shard.samples.length + inlined(shard.requestId);
  const metaTaskBytes = (task: MetaTask): number =>
    sizes.envelopeBytes + inlined(task.requestId) + bytesOf(task.items.flatMap(({ sample }) => sample ?? []));

  /** Resolves when the process has had its time for it. */
  const spend = (door: Door, micros: number): Promise<void> => {
    const waitMs = door.cpu?.book(micros / 1e3) ?? 0;
    return waitMs < graceMs ? Promise.resolve() : new Promise((resolve) => loop.after(waitMs, resolve));
  };

  const work = (door: Door): WorkQueue => ({
    putShards: (_pool, _epoch, bodies) =>
      putAll(bodies, async (shard) => {
        await spend(door, coordinator.shard);
        return nats.store('GRM_WORK', 'samples', shardBytes(shard), 0, () => shards.put(shard));
      }),
    putMetaTasks: (_pool, _epoch, bodies) =>
      putAll(bodies, async (task) => {
        await spend(door, (coordinator.meta / 2) * task.items.length);
        return nats.store('GRM_META', 'meta', metaTaskBytes(task), 0, () => metaTasks.put(task));
      }),
    withdraw: (requestId) =>
      nats.read('reads', 2, 0, () => {
        shards.withdraw(requestId);
        metaTasks.withdraw(requestId);
      }),
    countTasks: (requestId) => nats.read('reads', 2, 200, () => shards.count(requestId) + metaTasks.count(requestId)),
    pullShards: () => Promise.resolve(puller(shards, 'GRM_WORK', shardBytes, door.holder)),
    pullMetaTasks: () => Promise.resolve(puller(metaTasks, 'GRM_META', metaTaskBytes, door.holder)),
    depths: () => Promise.resolve([]),
    redelivered: () => Promise.resolve(0),
  });

  return {
    shards,
    metaTasks,
    ledger,
    work,
    dead: {
      put: () => {
        counts.deadLetters++;
        return Promise.resolve();
      },
      list: () => Promise.resolve([]),
      page: () => Promise.resolve({ letters: [] }),
      letter: () => Promise.resolve(undefined),
      count: () => Promise.resolve(counts.deadLetters),
      remove: () => Promise.resolve(),
    },
    open: () => [...entries.values()].filter(({ record, verdict }) => record && !verdict).length,
    counts,
  };
}
