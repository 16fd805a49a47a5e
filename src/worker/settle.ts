// Settle: what becomes of a delivery that could not be finished. Shared by samples and meta rewards.

import { fault, FaultError } from '../fault.js';
import { limits } from '../limits.js';
import type { Delivery, Published } from '../queue/queue.js';
import type { Stage } from '../work/shard.js';
import type { WorkerContext } from './context.js';

const backoffMsMin = 250;
const backoffMsMax = 15_000;

/** Time before another try: doubles per delivery, with full jitter above half, or what the engine asked for. */
export function backoffMs(deliveries: number, random: () => number, askedMs = 0): number {
  const step = Math.min(backoffMsMax, backoffMsMin * 2 ** Math.max(0, deliveries - 1));
  return Math.round(Math.min(backoffMsMax, Math.max(askedMs, step * (0.5 + random() / 2))));
}

/** True when this was the last try. */
export function isLastTry(deliveries: number): boolean {
  return deliveries >= limits.deliveriesMax;
}

const untakenMsMin = 1_000;
const unseenMsMin = 1_000;

/**
 * Pause before a task is looked at again whose content or sample the ledger does not show. A replica that lags shows it soon; what no delivery
 * finds, over 15 seconds, was forgotten.
 */
export function unseenMs(deliveries: number): number {
  return unseenMsMin * 2 ** (deliveries - 1);
}

/** Gives a task back that nobody has tried, as a new one; rejects with FaultError(queue_unavailable) when its queue takes none. A crash in between leaves two of it: the ledger decides (promise P2). */
export async function giveBack(delivery: Delivery<unknown>, requeue: () => Promise<Published>): Promise<void> {
  const { kind } = await requeue();
  // It waits in hand for room (hold.ts, H3): handed back as it is it would count.
  if (kind !== 'stored') throw new FaultError(fault('queue_unavailable', 'the work queue is full'));
  delivery.ack();
}

/**
 * Pause before a task is given back that an engine did not take: a second with jitter, or what it asked for. The task stays in hand
 * meanwhile, so a worker whose engine is away takes no more than it has slots.
 */
export function untakenMs(random: () => number, askedMs = 0): number {
  return Math.round(Math.min(backoffMsMax, Math.max(askedMs, untakenMsMin) * (1 + random() / 2)));
}

/** The parts of a task that came back, in the order in which this delivery does them: each begins one further on than the one before it. */
export function inTurn<T>(parts: readonly T[], deliveries: number): readonly T[] {
  const first = (deliveries - 2) % parts.length;
  return [...parts.slice(first), ...parts.slice(0, first)];
}

/** A part of a delivery that an engine did not finish; `untaken`: it did not even begin. */
interface Unfinished {
  readonly reason: string;
  readonly retryAfterMs?: number;
  readonly untaken?: boolean;
}

/** Why a delivery that is not done goes back: to be tried by others without counting (X5), or as a failed try. */
export type Setback =
  | { readonly kind: 'untaken'; readonly reason: string; readonly pauseMs: number }
  | { readonly kind: 'failed'; readonly reason: string; readonly retryAfterMs?: number };

/** The worst that happened decides (X2). Where nothing failed, its engine was closed while it ran, perhaps because of what it ran. */
export function setbackOf(failed: readonly Unfinished[], isDraining: boolean, random: () => number): Setback {
  const worst = failed.find((each) => !each.untaken);
  if (worst) return { ...worst, kind: 'failed' };
  if (isDraining) return { kind: 'untaken', reason: 'handed back by a draining worker', pauseMs: 0 };
  const [untaken] = failed;
  if (!untaken) return { kind: 'failed', reason: 'the engine was closed while it worked' };
  return { kind: 'untaken', reason: untaken.reason, pauseMs: untakenMs(random, untaken.retryAfterMs) };
}

/**
 * Quarantines a unit of work (promise P5): its history goes to GRM_DEAD, `answer` gives the request what it needs to go on without it,
 * then the delivery is removed. In that order: a crash in between leaves the delivery in the queue.
 */
export async function quarantine(
  delivery: Delivery<unknown>,
  unit: {
    readonly requestId: string;
    readonly stage: Stage;
    readonly unit: number;
    readonly samples: readonly number[];
  },
  reason: string,
  answer: () => Promise<void>,
  context: WorkerContext,
): Promise<void> {
  const { deliveries } = delivery;
  const letter = { ...unit, reason, deliveries, worker: context.nodeId, diedAtMs: context.clock.now() };
  await context.dead.put(letter).catch((error: unknown) => {
    // Not the queue's fault alone (hold.ts, H3): what may kill workers must not come back as a new task.
    throw new Error(`the quarantine of ${unit.requestId} could not be stored`, { cause: error });
  });
  await answer();
  delivery.term();
  context.events.emit('delivery.dead', { requestId: unit.requestId, stage: unit.stage, deliveries, reason });
}
