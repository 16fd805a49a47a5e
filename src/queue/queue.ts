// Queue: what coordinators and workers may ask of the message system. `jetstream.ts` answers with NATS JetStream; nothing
// outside this room names NATS.
//
//   Q1. The ledger is write-once: a sample, a meta reward or a verdict that is stored never changes, and the second writer is told `exists` (promise P2).
//   Q2. A follower hears of a sample only after it is stored. It may miss one (then it reads the ledger) and may hear one twice.
//   Q3. A delivery is given to somebody else when it is neither renewed nor settled for the ack wait (nats.ack_wait_ms). An ack is not ownership: the ledger is.
//   Q4. Every method ends within a bound of limits.ts; when NATS does not answer in that time it throws FaultError(queue_unavailable).
//   Q5. Every instant that crosses from one process to another is told in the server's time (`time`): no clock of a machine of ours matters.

import type { Class } from '../grm/query.js';
import type { Sample } from '../grm/sample.js';
import type { Verdict } from '../grm/verdict.js';
import type { DeadLetter, DeadPage, MetaResult, MetaTask, RequestRecord, Shard, Stage } from '../work/shard.js';
import type { ClockState, ServerTime } from './server-time.js';
import type { TimeKeeper } from './time-keeper.js';

export type Accepted =
  /** Stored now, first of its id. */
  | { readonly kind: 'new' }
  /** A record of that id is there already. */
  | { readonly kind: 'known' }
  /** The ledger has no room for it: shed. */
  | { readonly kind: 'full' };

export type Put = 'stored' | 'exists';

/** What was read of a lane (lanes.ts): its first appends, and the results in them by index. */
export interface LaneLog<T> {
  readonly appends: number;
  readonly entries: ReadonlyMap<number, T>;
}

export interface Added<T> {
  /** The lane as it is now, as far as it was read. */
  readonly log: LaneLog<T>;
  /** What this call stored; the others were there. */
  readonly stored: readonly T[];
}

export interface Following {
  close(): void;
}

export interface Follower {
  /** Samples of one lane, which were stored together. */
  samples?(samples: readonly Sample[], lane: string): void;
  metas?(results: readonly MetaResult[], lane: string): void;
  verdict?(verdict: Verdict): void;
}

/** The record of requests, samples, meta rewards and verdicts: the exactly-once point. */
export interface Ledger {
  accept(record: RequestRecord): Promise<Accepted>;
  record(requestId: string): Promise<RequestRecord | undefined>;
  /** Removes the record of a cancelled or expired request and what it alone refers to, so that it is not taken over; its samples stay for a retry. */
  forget(requestId: string): Promise<void>;
  /**
   * Accepted requests that have no verdict: what is left of coordinators that died. Those that `skip` names are not even read; it is told who
   * accepted them where that is known. One that cannot be read is left out, and told as an event.
   */
  unfinished(skip?: (requestId: string, owner: string | undefined) => boolean): AsyncIterable<RequestRecord>;

  samples(requestId: string, lane: string): Promise<LaneLog<Sample>>;
  /** Stores those that the lane does not hold. @param known what was read of the lane before */
  addSamples(
    requestId: string,
    lane: string,
    known: LaneLog<Sample>,
    samples: readonly Sample[],
  ): Promise<Added<Sample>>;
  metas(requestId: string, lane: string): Promise<LaneLog<MetaResult>>;
  addMetas(
    requestId: string,
    lane: string,
    known: LaneLog<MetaResult>,
    results: readonly MetaResult[],
  ): Promise<Added<MetaResult>>;
  putVerdict(verdict: Verdict): Promise<Put>;
  verdict(requestId: string): Promise<Verdict | undefined>;

  /** Calls back for what is stored from now on. The subscription is in place when the promise resolves. */
  follow(requestId: string, follower: Follower): Promise<Following>;
  /** Tells followers again of what a worker found stored already (they may have missed it). */
  repeatSamples(requestId: string, lane: string, samples: readonly Sample[]): void;
  repeatMetas(requestId: string, lane: string, results: readonly MetaResult[]): void;

  /** Voids the stored failures of these samples (by lane) and of their meta rewards, and removes the verdict, so that the request can run again. */
  reopen(requestId: string, lanes: ReadonlyMap<string, readonly number[]>): Promise<void>;

  putTemplate(hash: string, text: string): Promise<void>;
  template(hash: string): Promise<string | undefined>;
}

/** One task in a worker's hands. Settle it exactly once: ack, nak or term. */
export interface Delivery<T> {
  /** `undefined` when the bytes could not be decoded (an older or broken writer): quarantine it. */
  readonly task: T | undefined;
  /** Subject and size, for messages about it. */
  readonly label: string;
  readonly requestId: string;
  readonly class: Class;
  /** 1 on the first delivery. */
  readonly deliveries: number;
  ack(): void;
  /** Hands it back, for anybody, after `delayMs`. */
  nak(delayMs: number): void;
  /** Removes it for good (after it was quarantined). */
  term(): void;
  /** Renews it: call every third of the ack wait. */
  working(): void;
}

export interface Puller<T> {
  /**
   * Up to `max` tasks, urgent classes first; waits for the first one up to limits.pullExpiresMs and resolves to [] when none came or `signal` aborted.
   * No prefetch: beyond what it returned it may for a moment hold one task of each class that was empty before, which the next pull returns
   * first, within its `max`; after limits.pullHeldMs without a pull, or on abort, it goes to somebody else.
   */
  pull(max: number, signal: AbortSignal): Promise<readonly Delivery<T>[]>;
  close(): Promise<void>;
}

export interface QueueDepth {
  readonly stream: string;
  readonly pool: string;
  readonly class: Class;
  readonly pending: number;
  readonly inFlight: number;
  readonly redelivered: number;
}

export type Published = { readonly kind: 'stored' } | { readonly kind: 'full' };

export interface WorkQueue {
  /** `epoch` makes a re-planned request's shards distinct from those of an earlier plan. Same pool, epoch and shard is stored once. */
  putShards(pool: string, epoch: string, shards: readonly Shard[]): Promise<Published>;
  putMetaTasks(pool: string, epoch: string, tasks: readonly MetaTask[]): Promise<Published>;
  /** Removes what of this request still waits in the queues. */
  withdraw(requestId: string): Promise<void>;
  /** Tasks of this request that wait or are in somebody's hands. */
  countTasks(requestId: string): Promise<number>;
  pullShards(pool: string): Promise<Puller<Shard>>;
  pullMetaTasks(pool: string): Promise<Puller<MetaTask>>;
  depths(): Promise<readonly QueueDepth[]>;
  /** Tasks of a pool that were delivered twice and are open. Asks for nothing that a worker of the pool may not know. */
  redelivered(stage: Stage, pool: string): Promise<number>;
}

export interface DeadLetters {
  /** Resolves once stored; the same unit of the same request is stored again with its newer history. */
  put(letter: DeadLetter): Promise<void>;
  /** Newest first, at most limits.deadListMax. */
  list(limit: number): Promise<readonly DeadLetter[]>;
  /** The same, with where the page after it begins: give that as `before`. A page may hold fewer than `limit`. */
  page(limit: number, before?: number): Promise<DeadPage>;
  /** The newest history of one unit; undefined when it is not quarantined. */
  letter(requestId: string, stage: Stage, unit: number): Promise<DeadLetter | undefined>;
  count(): Promise<number>;
  remove(requestId: string, stage: Stage, unit: number): Promise<void>;
}

/** Membership and messages between nodes: the control plane's transport. Names are single tokens of [A-Za-z0-9_-]. */
export interface ControlPlane {
  /** Writes or renews a lease; it vanishes limits.leaseMs after the last call. */
  renewLease(name: string, body: Uint8Array): Promise<void>;
  dropLease(name: string): Promise<void>;
  /** Live leases now. `ageMs` is the time since the last renewal by the server's clock. */
  leases(): Promise<readonly { readonly name: string; readonly body: Uint8Array; readonly ageMs: number }[]>;
  /** Keeps a value under a name, in place of the last one, until it is kept anew: unlike a lease it does not run out. For coordinators. */
  keep(name: string, body: Uint8Array): Promise<void>;
  /** What was kept last; undefined when nothing was. */
  kept(name: string): Promise<Uint8Array | undefined>;
  /**
   * Answers messages to `name`; the returned function ends it. Several may serve one name: all of them hear what is asked, and who resolves
   * to undefined leaves the answer to the others.
   */
  serve(name: string, answer: (body: Uint8Array) => Promise<Uint8Array | undefined>): Promise<() => void>;
  /** The first answer; undefined when nobody serves that name or no answer came within limits.askMs. */
  ask(name: string, body: Uint8Array): Promise<Uint8Array | undefined>;
  /** To everybody who listens now; at most once. */
  broadcast(topic: string, body: Uint8Array): void;
  listen(topic: string, hear: (body: Uint8Array) => void): Promise<() => void>;
}

/** What the janitor found in a work queue that a killed server had left behind (janitor.ts says what and why). */
export interface Swept {
  readonly stream: string;
  readonly consumer: string;
  readonly orphans: number;
  readonly phantoms: number;
}

export interface SweepState {
  /** Requests that live nodes report as running. */
  readonly busy: ReadonlySet<string>;
  /** False when live nodes may run more than `busy` names: then no consumer is made anew. */
  readonly complete: boolean;
  /** When the oldest running request was accepted, by the server's clock, milliseconds since the Unix epoch. */
  readonly oldestOpenAtMs: number;
  /** Bytes to have room for, by stream: what was accepted will still store so much. */
  readonly reserveBytes?: ReadonlyMap<string, number>;
}

/** A stream as it was last looked at. */
export interface StoreState {
  readonly stream: string;
  /** Bytes in it: at the last look, and what it will have grown by since. */
  readonly bytes: number;
  readonly bytesMax: number;
  readonly messages: number;
  /** 0 or below: no bound. */
  readonly messagesMax: number;
  /** It refused a message for want of room a moment ago. */
  readonly isRefusing: boolean;
  /** Why it cannot be worked with, in words; absent when it can. */
  readonly trouble?: string;
}

/** What one look at the streams found. */
export interface Look {
  /** Streams whose messages went without us: somebody removed or emptied them. */
  readonly lost: readonly string[];
  /** No task waits or is in anybody's hands. */
  readonly isIdle: boolean;
}

/** The streams behind all this. Only a process that owns them looks at them by itself; others ask for a look. */
export interface Storage {
  states(): readonly StoreState[];
  /** Why nothing may be accepted now; empty when all is well. */
  troubles(): readonly string[];
  /** Bytes that a sample takes in the ledger, by those that came lately. */
  sampleBytes(): number;
  /** Told after every look; the returned function ends it. */
  onLook(hear: (look: Look) => void): () => void;
  /** Looks now. Never rejects. */
  look(): Promise<void>;
}

export interface QueueSystem {
  readonly ledger: Ledger;
  readonly storage: Storage;
  readonly work: WorkQueue;
  readonly dead: DeadLetters;
  readonly control: ControlPlane;
  /** "2.9.10" */
  readonly serverVersion: string;
  /** Settings of streams and consumers that are not as asked, in words: since the start, or since the last look. */
  readonly drift: readonly string[];
  /** `connected` now. */
  connected(): boolean;
  /** Called on every connection change, with a reason in words. */
  onConnection(hear: (state: 'connected' | 'disconnected', reason: string) => void): void;
  /** Round trip to the server, milliseconds. */
  rttMs(): Promise<number>;
  /** The server's clock, as far as it was read (server-time.ts). */
  readonly time: ServerTime;
  /** Reads it from now on, until the keeper or the queue is closed. */
  keepTime(hear: (state: ClockState) => void): TimeKeeper;
  /** Reads it once. Server clock less ours, milliseconds; throws FaultError when it cannot be read. */
  clockSkewMs(): Promise<number>;
  /**
   * One janitor pass: clears orphans and phantom pendings of the work queues that no live worker holds, and under storage pressure trims
   * the ledger and the object store, never past `oldestOpenAtMs` nor past anything accepted that has no verdict.
   */
  sweep(state: SweepState): Promise<readonly Swept[]>;
  /** Flushes what is pending, then disconnects. */
  close(): Promise<void>;
}
