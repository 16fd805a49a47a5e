// Loop: pulls work while there is room and keeps what it holds alive. GRM workers and meta workers share it.
//
//   L1. Pull only while credit is free (K1); one pull at a time, for no more tasks than would fit if each cost `costMax`.
//   L2. A held delivery is renewed every `renewEveryMs` until it is settled.
//   L3. Drain: stop pulling, let what runs finish within the grace, then hand the rest back at once (promise P6).
//   L4. What kills its worker takes what is beside it down too, and all of it comes back at once. So a task on its later deliveries
//       (limits.aloneFromDelivery) runs alone, and while tasks come back, and after a start, they are taken one at a time: what waits in
//       hand dies as well (promise P5). That ends once no task that came back is open anywhere: what a dead worker leaves behind comes back
//       for the first time then, and has tries to spare.

import { limits } from '../limits.js';
import type { Clock } from '../process/clock.js';
import type { Delivery, Puller } from '../queue/queue.js';
import type { Events } from '../observe/events.js';
import { sleep } from '../process/clock.js';
import type { Credit } from './credit.js';

export interface LoopOptions<T> {
  readonly puller: Puller<T>;
  readonly credit: Credit;
  readonly clock: Clock;
  readonly events: Events;
  /** Slots that a task will use, and the most that one may use (default limits.shardSamplesMax). */
  readonly cost: (task: T) => number;
  readonly costMax?: number;
  /** A third of the ack wait, so that two renewals may be lost. Default limits.workingEveryMs. */
  readonly renewEveryMs?: number;
  /** L4: takes one task at a time for so long from now on. Default 0. */
  readonly cautionMs?: number;
  /** L4: true when no task that was delivered twice is open in the queue. Absent: caution ends by time alone. */
  readonly calm?: () => Promise<boolean>;
  /**
   * Does one delivery from look-up to settlement. Never rejects. `signal` aborts when the drain's grace is over. `free` gives back a slot
   * that it needs no more.
   */
  readonly execute: (delivery: Delivery<T>, signal: AbortSignal, free: () => void) => Promise<void>;
}

export interface Loop {
  /** Deliveries in hand. */
  running(): number;
  /** Stops pulling; resumes with `resume`. */
  pause(): void;
  resume(): void;
  isPaused(): boolean;
  /** Calls the pull back that is under way: the room it was made for is gone. The next one waits for a free slot (L1). */
  recall(): void;
  /** L3. Resolves when nothing is in hand. */
  drain(graceMs: number): Promise<void>;
}

/** How long to wait after a pull failed (NATS is away). */
const retryPullMs = 500;
/** How often a cautious worker asks whether it still has to be. */
const calmEveryMs = 1_000;

export function startLoop<T>(options: LoopOptions<T>): Loop {
  const { puller, credit, clock, events } = options;
  const { costMax = limits.shardSamplesMax, renewEveryMs = limits.workingEveryMs, cautionMs = 0 } = options;
  const stop = new AbortController();
  const inHand = new Set<Promise<void>>();
  /** One signal per delivery: a shared one would gather listeners and dependent signals for as long as the process lives. */
  const hurries = new Set<AbortController>();
  let cautiousUntilMs = clock.steadyNow() + cautionMs;
  let lookAtMs = clock.steadyNow();
  let pulls = new AbortController();
  let paused = false;
  let wake: () => void = () => undefined;

  /** Executes it once `start` resolves; until then it is only kept alive. */
  const hold = (delivery: Delivery<T>, start?: Promise<unknown>): Promise<void> => {
    const cost = delivery.task === undefined ? 1 : options.cost(delivery.task);
    credit.take(cost);
    const hurry = new AbortController();
    hurries.add(hurry);
    let cancelRenewal = clock.after(renewEveryMs, function renew() {
      delivery.working();
      cancelRenewal = clock.after(renewEveryMs, renew);
    });
    // K3.
    let taken = cost;
    const free = (): void => {
      if (taken <= 1) return;
      taken--;
      credit.give(1);
    };
    const execute = (): Promise<void> => options.execute(delivery, hurry.signal, free);
    const work = (start ? start.then(execute) : execute())
      .catch((error: unknown) => {
        events.emit('trouble', { where: 'worker', error, requestId: delivery.requestId });
        delivery.nak(retryPullMs);
      })
      .finally(() => {
        cancelRenewal();
        hurries.delete(hurry);
        credit.give(taken);
        taken = 0;
        inHand.delete(work);
      });
    inHand.add(work);
    return work;
  };

  /** L4. What comes back during the look keeps the caution. */
  const isCautious = (): boolean => {
    const now = clock.steadyNow();
    if (now >= cautiousUntilMs) return false;
    if (options.calm && now >= lookAtMs) {
      lookAtMs = now + calmEveryMs;
      const before = cautiousUntilMs;
      options.calm().then(
        (calm) => {
          if (calm && cautiousUntilMs === before) cautiousUntilMs = -Infinity;
        },
        (error: unknown) => events.emit('trouble', { where: 'caution', error }),
      );
    }
    return true;
  };

  /** Begins with what was pulled; resolves when more may be pulled. */
  const take = async (pulled: readonly Delivery<T>[]): Promise<void> => {
    if (pulled.some(({ deliveries }) => deliveries > 1)) cautiousUntilMs = clock.steadyNow() + limits.workerCautionMs;
    const suspects = pulled.filter(({ deliveries }) => deliveries >= limits.aloneFromDelivery);
    for (const delivery of pulled) if (!suspects.includes(delivery)) void hold(delivery);
    if (suspects.length === 0) return;
    // L4: one after the other, after everything else.
    let before: Promise<unknown> = Promise.all(inHand);
    for (const delivery of suspects) before = hold(delivery, before);
    await Promise.race([before, stopped]);
  };
  const stopped = new Promise<void>((resolve) =>
    stop.signal.addEventListener('abort', () => resolve(), { once: true }),
  );
  const isStopped = (): boolean => stop.signal.aborted;
  const isPaused = (): boolean => paused;

  const pulling = (async () => {
    while (!isStopped()) {
      if (isPaused()) await new Promise<void>((resolve) => (wake = resolve));
      await credit.whenFree(stop.signal);
      if (isStopped() || isPaused()) continue;
      const max = isCautious() ? 1 : Math.max(1, Math.floor(credit.free / costMax));
      try {
        await take(await puller.pull(max, pulls.signal));
      } catch (error) {
        events.emit('trouble', { where: 'pull', error });
        await sleep(clock, retryPullMs, stop.signal);
      }
    }
  })();

  return {
    running: () => inHand.size,
    isPaused,
    recall() {
      if (paused) return;
      pulls.abort();
      pulls = new AbortController();
    },
    pause() {
      paused = true;
      pulls.abort();
    },
    resume() {
      if (!paused) return;
      paused = false;
      pulls = new AbortController();
      wake();
    },
    async drain(graceMs) {
      stop.abort();
      pulls.abort();
      wake();
      await pulling;
      await puller.close();
      const cancelHurry = clock.after(graceMs, () => {
        for (const hurry of hurries) hurry.abort('drain');
      });
      await Promise.all(inHand);
      cancelHurry();
    },
  };
}
