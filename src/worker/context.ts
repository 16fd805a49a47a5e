// What a worker works with: interfaces and values, wired together in services/grm-worker and services/meta-worker.

import type { Events } from '../observe/events.js';
import type { Clock } from '../process/clock.js';
import type { DeadLetters, Ledger } from '../queue/queue.js';
import type { Library } from './content.js';

export interface WorkerContext {
  readonly nodeId: string;
  readonly ledger: Ledger;
  readonly dead: DeadLetters;
  readonly library: Library;
  readonly events: Events;
  readonly clock: Clock;
  /** 0..1, for jitter. */
  readonly random: () => number;
  readonly cancellations: Cancellations;
}

/** Requests that were cancelled: what is queued of them is dropped, what runs is stopped. */
export interface Cancellations {
  has(requestId: string, queuedAtMs: number): boolean;
  /** Aborts when the request is cancelled. Call `done` when the work is over. */
  watch(requestId: string): { readonly signal: AbortSignal; done(): void };
}
