// Hold: what a worker does while the queue takes or tells nothing: a full stream, a stream that somebody removed, NATS away.
//
//   H1. Drawn results stay in hand and are offered again until they are stored, nobody waits for them any more, or the worker is told to
//       leave. Nothing is drawn anew, and the delivery, which is kept alive meanwhile, counts no more than once.
//   H2. What is held is bounded: its delivery keeps a slot (credit.ts, K3), and the worker pulls no more than it has slots.
//   H3. A task that could not be looked up, or whose results cannot be kept any longer, goes back as a new one: it did not fail.

import { FaultError } from '../fault.js';
import { sleep } from '../process/clock.js';
import type { Added, Delivery, LaneLog, Published } from '../queue/queue.js';
import type { WorkerContext } from './context.js';

/** Longest pause between two offers, and between two tries to hand a task back. */
const offerEveryMs = 1_000;

/** One task's work, as far as holding goes. */
export interface Holding {
  readonly stage: 'sample' | 'meta';
  readonly requestId: string;
  /** True when nobody waits for the results any more. */
  readonly isOver: () => boolean;
  /** Aborts when the task is cancelled, or this worker has to leave. */
  readonly stop: AbortSignal;
}

type Append<T> = (known: LaneLog<T>, results: readonly T[]) => Promise<Added<T>>;

/** Results were drawn, and not stored while somebody waited for them. */
class Unstored extends FaultError {}

/** H1. Rejects with the queue's fault when it is over. */
export function holding<T>(
  append: Append<T>,
  held: Holding,
  context: Pick<WorkerContext, 'clock' | 'random' | 'events'>,
): Append<T> {
  const { clock, random, events } = context;
  return async (known, results) => {
    for (let tries = 0; ; tries++) {
      try {
        return await append(known, results);
      } catch (error) {
        if (!isAway(error)) throw error;
        if (held.isOver() || held.stop.aborted) throw new Unstored(error.fault);
        const { stage, requestId } = held;
        if (tries === 0)
          events.emit('result.held', { stage, requestId, results: results.length, reason: error.message });
        await sleep(clock, pauseMs(random), held.stop);
      }
    }
  };
}

/** True when the queue, and not the task, is at fault. */
export function isAway(error: unknown): error is FaultError {
  return error instanceof FaultError && error.fault.kind === 'queue_unavailable';
}

/**
 * H3. What becomes of a delivery that the queue's fault ended. Rejects with what is no such fault.
 * @param requeue puts the task into its queue as a new one; absent: it is not handed back (a hedge adds a result or nothing)
 */
export async function settleHeld(
  error: unknown,
  delivery: Delivery<unknown>,
  held: Holding,
  isCancelled: () => boolean,
  requeue: (() => Promise<Published>) | undefined,
  { clock, random, events }: Pick<WorkerContext, 'clock' | 'random' | 'events'>,
): Promise<void> {
  if (!isAway(error)) throw error;
  const { stage, requestId, stop } = held;
  const drop = (why: 'cancelled' | 'unstored' | 'hedge_failed'): void => {
    delivery.ack();
    events.emit('delivery.dropped', { requestId, stage, why });
  };
  if (!requeue) return drop('hedge_failed');
  events.emit('delivery.retried', { requestId, stage, deliveries: delivery.deliveries, reason: error.message });
  for (;;) {
    // Who runs the request may have ended it for want of these very results.
    if (isCancelled()) return drop(error instanceof Unstored ? 'unstored' : 'cancelled');
    if (held.isOver()) return drop('unstored');
    if (await wasStored(requeue)) return delivery.ack();
    // A worker that has to leave cannot wait: then it counts, once.
    if (stop.aborted) return delivery.nak(offerEveryMs);
    await sleep(clock, pauseMs(random), stop);
  }
}

async function wasStored(requeue: () => Promise<Published>): Promise<boolean> {
  try {
    return (await requeue()).kind === 'stored';
  } catch (error) {
    if (isAway(error)) return false;
    throw error;
  }
}

function pauseMs(random: () => number): number {
  return Math.round(offerEveryMs * (0.5 + random() / 2));
}
