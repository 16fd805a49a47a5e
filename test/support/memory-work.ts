// The work queues of the queue model: what JetStream's work-queue streams with one explicit-ack consumer per pool and class do.
//
//   M1. A task is in one pair of hands at a time, until it is neither renewed nor settled for ackWaitMs; then it goes to the next.
//   M2. A settling that comes late counts: an ack of an earlier delivery removes the task, as in nats-server.
//   M3. Urgent classes first; inside a class what came back goes before what is new, and what is new goes in order.
//   M4. Pulls that wait are served in their order.
//   M5. A killed server forgets the last removals of tasks, and which ids of those it knew (platform fact: nats-server 2.9 after kill -9).

import { classes, type Class } from '../../src/grm/query.js';
import type { Clock } from '../../src/process/clock.js';
import type { QueueDepth } from '../../src/queue/queue.js';
import type { Stage } from '../../src/work/shard.js';

export interface WorkRules {
  readonly ackWaitMs: number;
  readonly duplicateWindowMs: number;
  /** Tasks of one stage. */
  readonly messagesMax: number;
  readonly ageMs: number;
  /** A fault of the model, for tests that must notice it: what was handed out is gone. */
  readonly forgetful?: boolean;
}

export interface NewTask {
  readonly stage: Stage;
  readonly pool: string;
  readonly class: Class;
  readonly requestId: string;
  readonly subject: string;
  readonly bytes: Uint8Array;
  /** Stored once per id within the duplicate window; absent: always stored. */
  readonly id?: string;
}

interface Task extends NewTask {
  readonly seq: number;
  readonly atMs: number;
  deliveries: number;
  /** When it is free for the next; meaningless before the first delivery. */
  freeAtMs: number;
}

export type Settling = 'ack' | 'nak' | 'term' | 'working';

/** A task in somebody's hands. */
export interface Handed {
  readonly task: Readonly<Task>;
  readonly deliveries: number;
  settle(how: Settling, delayMs?: number): void;
}

interface Parked {
  readonly max: number;
  readonly serve: (handed: readonly Handed[]) => void;
}

const removedMax = 16;

export class MemoryWork {
  readonly #tasks = new Map<number, Task>();
  readonly #ids = new Map<string, number>();
  /** By stage and pool. */
  readonly #parked = new Map<string, Set<Parked>>();
  /** The last ones that were removed, oldest first. */
  #removed: NewTask[] = [];
  #seq = 0;
  #cancelWake: () => void = () => undefined;

  constructor(
    private readonly clock: Clock,
    private readonly rules: WorkRules,
  ) {}

  /** Tasks of one request that wait or are in somebody's hands. */
  of(requestId: string): number {
    return [...this.#tasks.values()].filter((task) => task.requestId === requestId).length;
  }

  get size(): number {
    return this.#tasks.size;
  }

  put(task: NewTask): 'stored' | 'full' {
    const now = this.clock.now();
    for (const [id, atMs] of this.#ids) {
      if (now - atMs < this.rules.duplicateWindowMs) break;
      this.#ids.delete(id);
    }
    if (task.id !== undefined && this.#ids.has(task.id)) return 'stored';
    let there = 0;
    for (const { stage } of this.#tasks.values()) if (stage === task.stage) there++;
    if (there >= this.rules.messagesMax) return 'full';
    if (task.id !== undefined) this.#ids.set(task.id, now);
    const seq = ++this.#seq;
    this.#tasks.set(seq, { ...task, bytes: task.bytes.slice(), seq, atMs: now, deliveries: 0, freeAtMs: 0 });
    this.#serve();
    return 'stored';
  }

  withdraw(requestId: string): void {
    for (const [seq, task] of this.#tasks) if (task.requestId === requestId) this.#remove(seq, task);
  }

  /** M5. They are delivered again as new ones, as the janitor makes the real server do. */
  forgetRemovals(): number {
    const back = this.#removed.splice(0);
    for (const { id, ...task } of back) {
      if (id !== undefined) this.#ids.delete(id);
      this.put(task);
    }
    return back.length;
  }

  /** What is there now, at most `max`. */
  take(stage: Stage, pool: string, max: number): readonly Handed[] {
    const now = this.clock.now();
    const free: Task[] = [];
    for (const [seq, task] of this.#tasks) {
      if (now - task.atMs >= this.rules.ageMs) this.#tasks.delete(seq);
      else if (task.stage === stage && task.pool === pool && (task.deliveries === 0 || task.freeAtMs <= now)) {
        free.push(task);
      }
    }
    free.sort((a, b) => classes.indexOf(a.class) - classes.indexOf(b.class) || comesFirst(a, b));
    return free.slice(0, max).map((task) => this.#hand(task));
  }

  /** Waits for something to take; the returned function ends the wait. */
  park(stage: Stage, pool: string, max: number, serve: (handed: readonly Handed[]) => void): () => void {
    const key = `${stage}/${pool}`;
    const parked = { max, serve };
    const waiting = this.#parked.get(key) ?? new Set();
    this.#parked.set(key, waiting.add(parked));
    this.#serve();
    return () => void waiting.delete(parked);
  }

  depths(): readonly QueueDepth[] {
    const rows = new Map<string, { -readonly [K in keyof QueueDepth]: QueueDepth[K] }>();
    for (const { stage, pool, class: klass, deliveries } of this.#tasks.values()) {
      const stream = stage === 'sample' ? 'GRM_WORK' : 'GRM_META';
      const key = `${stage}/${pool}/${klass}`;
      const row = rows.get(key) ?? { stream, pool, class: klass, pending: 0, inFlight: 0, redelivered: 0 };
      rows.set(key, row);
      if (deliveries === 0) row.pending++;
      else row.inFlight++;
      if (deliveries > 1) row.redelivered++;
    }
    return [...rows.values()];
  }

  redelivered(stage: Stage, pool: string): number {
    const open = [...this.#tasks.values()].filter((task) => task.stage === stage && task.pool === pool);
    return open.filter(({ deliveries }) => deliveries > 1).length;
  }

  #hand(task: Task): Handed {
    task.deliveries++;
    if (this.rules.forgetful) this.#tasks.delete(task.seq);
    task.freeAtMs = this.clock.now() + this.rules.ackWaitMs;
    const settle = (how: Settling, delayMs = 0): void => {
      if (!this.#tasks.has(task.seq)) return;
      if (how === 'ack' || how === 'term') this.#remove(task.seq, task);
      else {
        task.freeAtMs = this.clock.now() + (how === 'nak' ? delayMs : this.rules.ackWaitMs);
        this.#serve();
      }
    };
    return { task: { ...task }, deliveries: task.deliveries, settle };
  }

  #remove(seq: number, { stage, pool, class: klass, requestId, subject, bytes, id }: Task): void {
    if (!this.#tasks.delete(seq)) return;
    this.#removed.push({ stage, pool, class: klass, requestId, subject, bytes, ...(id !== undefined && { id }) });
    if (this.#removed.length > removedMax) this.#removed.shift();
  }

  /** Gives what is free to those who wait, and wakes when the next task becomes free. */
  #serve(): void {
    this.#cancelWake();
    let somebodyWaits = false;
    for (const [key, waiting] of this.#parked) {
      const [stage, pool] = key.split('/') as [Stage, string];
      for (const parked of waiting) {
        const handed = this.take(stage, pool, parked.max);
        if (handed.length === 0) break;
        waiting.delete(parked);
        parked.serve(handed);
      }
      somebodyWaits ||= waiting.size > 0;
    }
    if (!somebodyWaits) return;
    const now = this.clock.now();
    let nextMs = Infinity;
    for (const { deliveries, freeAtMs } of this.#tasks.values()) {
      if (deliveries > 0 && freeAtMs > now) nextMs = Math.min(nextMs, freeAtMs);
    }
    if (nextMs < Infinity) this.#cancelWake = this.clock.after(nextMs - now, () => this.#serve());
  }
}

function comesFirst(a: Task, b: Task): number {
  const back = Number(b.deliveries > 0) - Number(a.deliveries > 0);
  return back !== 0 ? back : a.deliveries > 0 ? a.freeAtMs - b.freeAtMs || a.seq - b.seq : a.seq - b.seq;
}
