// Lanes: logs of results that many may write and each result enters once. The appends of a lane are numbered from 0 without a gap, and each
// stands on a subject of its own, which takes one message and never another.
//
//   N1. A writer has read appends 0..n-1 when it writes append n, and writes nothing that they hold. The server lets one writer have n; another
//       is refused, reads n, and writes what is still missing as n+1. So whoever writes, and however often, a result is in a lane once (Q1, promise P2).
//   N2. A reader that misses the newest appends (a replica lags) is a writer that is refused: it can do nothing but read on.
//   N3. Failures may be taken up again: a mark on a subject beside the append says that the failures in it count no more. Appends themselves are
//       never removed one by one, since a gap would hide what comes after it. What goes by age goes from the front; then the first of two results
//       of one sample counts.
//   N4. An append that cannot be read counts as an empty one.

import { fault, FaultError } from '../fault.js';
import { limits } from '../limits.js';
import type { Sample } from '../grm/sample.js';
import type { MetaResult } from '../work/shard.js';
import { decodeMetaResults, decodeSamples, encodeAppend, encodeMetaResult, encodeSample } from './codec.js';
import type { Added, LaneLog, Put } from './queue.js';
import { subjects, type LaneKind } from './subjects.js';

export const sampleKind: Kind<Sample> = {
  kind: 'res',
  encode: encodeSample,
  decode: decodeSamples,
  isFailure: ({ kind }) => kind === 'invalid',
};

export const metaKind: Kind<MetaResult> = {
  kind: 'mres',
  encode: encodeMetaResult,
  decode: decodeMetaResults,
  isFailure: ({ kind }) => kind === 'failed',
};

/** What is different about samples and meta rewards. */
export interface Kind<T> {
  readonly kind: LaneKind;
  readonly encode: (result: T) => Uint8Array;
  /** All results of an append. */
  readonly decode: (append: Uint8Array) => readonly T[];
  readonly isFailure: (result: T) => boolean;
}

/** Where the messages are. Both may throw FaultError(queue_unavailable). */
export interface LaneStore {
  get(subject: string, miss: Miss): Promise<Uint8Array | undefined>;
  put(subject: string, bytes: Uint8Array): Promise<Put>;
  undecodable(subject: string, error: unknown): void;
}

/** What "not there" is worth. `confirm`: it is known to be there, and a replica may lag. */
type Miss = 'trust' | 'confirm';

export const emptyLog: LaneLog<never> = { appends: 0, entries: new Map<number, never>() };

export class Lanes<T extends { readonly index: number }> {
  constructor(
    private readonly what: Kind<T>,
    private readonly store: LaneStore,
  ) {}

  /** The whole lane; one read more than it has appends. */
  read(requestId: string, lane: string): Promise<LaneLog<T>> {
    return this.readOn(requestId, lane, emptyLog, 'trust');
  }

  /** N1. Ends: every turn stores a result or reads an append, and a lane has at most limits.laneAppendsMax. */
  async add(requestId: string, lane: string, known: LaneLog<T>, results: readonly T[]): Promise<Added<T>> {
    const { kind, encode } = this.what;
    const stored: T[] = [];
    let left = results.map((result) => ({ result, bytes: encode(result) }));
    for (let log = known; ;) {
      const { entries } = log;
      left = left.filter(({ result }) => !entries.has(result.index));
      if (left.length === 0) return { log, stored };
      if (log.appends >= limits.laneAppendsMax) throw laneFull(lane);
      const batch = left.slice(0, fitting(left));
      const subject = subjects.append(kind, requestId, lane, log.appends);
      const put = await this.store.put(subject, encodeAppend(batch.map(({ bytes }) => bytes)));
      if (put === 'stored') {
        const now = batch.map(({ result }) => result);
        log = extended(log, now);
        stored.push(...now);
        continue;
      }
      const before = log.appends;
      log = await this.readOn(requestId, lane, log, 'confirm');
      if (log.appends === before) {
        throw new FaultError(fault('queue_unavailable', `${subject} is taken and cannot be read yet`));
      }
    }
  }

  /** N3. Marks every append that holds a failure of these. */
  async voidFailures(requestId: string, lane: string, indexes: ReadonlySet<number>): Promise<void> {
    const { kind, isFailure } = this.what;
    for (let append = 0; append < limits.laneAppendsMax; append += 1) {
      const results = await this.appendAt(requestId, lane, append, 'trust');
      if (!results) return;
      if (!results.some((result) => indexes.has(result.index) && isFailure(result))) continue;
      await this.store.put(subjects.voided(kind, requestId, lane, append), voidMark);
    }
  }

  /** `miss` is that of the first append after `log`. */
  private async readOn(requestId: string, lane: string, log: LaneLog<T>, miss: Miss): Promise<LaneLog<T>> {
    let now = log;
    for (let how = miss; now.appends < limits.laneAppendsMax; how = 'trust') {
      const results = await this.appendAt(requestId, lane, now.appends, how);
      if (!results) return now;
      now = extended(now, await this.counted(requestId, lane, now.appends, results));
    }
    return now;
  }

  private async appendAt(
    requestId: string,
    lane: string,
    append: number,
    miss: Miss,
  ): Promise<readonly T[] | undefined> {
    const subject = subjects.append(this.what.kind, requestId, lane, append);
    const bytes = await this.store.get(subject, miss);
    if (!bytes) return undefined;
    try {
      return this.what.decode(bytes);
    } catch (error) {
      this.store.undecodable(subject, error);
      return [];
    }
  }

  /** N3. */
  private async counted(requestId: string, lane: string, append: number, results: readonly T[]): Promise<readonly T[]> {
    const { kind, isFailure } = this.what;
    if (!results.some(isFailure)) return results;
    const mark = await this.store.get(subjects.voided(kind, requestId, lane, append), 'trust');
    return mark ? results.filter((result) => !isFailure(result)) : results;
  }
}

/** Results as messages to followers, who may have missed them. */
export function asMessages<T>({ encode }: Kind<T>, results: readonly T[]): readonly Uint8Array[] {
  const messages: Uint8Array[] = [];
  for (let left = results.map((result) => ({ bytes: encode(result) })); left.length > 0;) {
    const now = left.slice(0, fitting(left));
    left = left.slice(now.length);
    messages.push(encodeAppend(now.map(({ bytes }) => bytes)));
  }
  return messages;
}

/** How many of them one message holds. */
function fitting(results: readonly { readonly bytes: Uint8Array }[]): number {
  let total = 0;
  const end = results.findIndex(({ bytes }, at) => (total += bytes.length) > limits.appendBytesMax && at > 0);
  return end < 0 ? results.length : end;
}

function laneFull(lane: string): FaultError {
  return new FaultError(
    fault('internal', `lane ${lane} has ${limits.laneAppendsMax} appends, the most that it may have`),
  );
}

/** Any byte: an empty message looks like none. */
const voidMark = new Uint8Array([1]);

function extended<T extends { readonly index: number }>(
  { appends, entries }: LaneLog<T>,
  results: readonly T[],
): LaneLog<T> {
  const more = new Map(entries);
  for (const result of results) if (!more.has(result.index)) more.set(result.index, result);
  return { appends: appends + 1, entries: more };
}
