// What a worker works with: interfaces and values, wired together in services/grm-worker and services/meta-worker.

import type { ReasoningMarkers } from '../grm/reasoning.js';
import type { Events } from '../observe/events.js';
import type { Clock } from '../process/clock.js';
import type { DeadLetters, Ledger, Published } from '../queue/queue.js';
import type { MetaTask, Shard } from '../work/shard.js';
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
  readonly requeue: Requeue;
  /** Markers of reasoning; absent: those that are common. */
  readonly reasoning?: readonly ReasoningMarkers[];
}

/** Puts a task into its queue as a new one: the deliveries that it had do not count against it. */
export interface Requeue {
  readonly shard: (shard: Shard) => Promise<Published>;
  readonly meta: (task: MetaTask) => Promise<Published>;
}

/** Runs of requests, and single tasks of runs, that were cancelled (work/run-name.ts): what is queued of them is dropped, what runs is stopped. */
export interface Cancellations {
  has(requestId: string, run: string): boolean;
  /** How often this very task was delivered, to anybody, that is worked on here; 0 when it is not. */
  deliveriesOf(requestId: string, task: string): number;
  /**
   * Aborts when the run is cancelled, with the reason 'cancelled', or with `hurry`, whichever comes first: one signal, because
   * AbortSignal.any costs more than all else that a delivery needs of its own (measured). Call `done` when the work is over.
   * @param deliveries how often the task was delivered, this time included
   */
  watch(
    requestId: string,
    run: string,
    hurry?: AbortSignal,
    deliveries?: number,
  ): { readonly signal: AbortSignal; done(): void };
}
