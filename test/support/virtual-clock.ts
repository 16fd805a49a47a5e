// A clock that stands still until the test moves it. Timers run in the order of their times, and what they set off settles before the next one.

import { setImmediate } from 'node:timers/promises';
import type { Clock } from '../../src/process/clock.js';

export interface VirtualClock extends Clock {
  /** Moves the time forward, timer by timer. */
  advance(byMs: number): Promise<void>;
  /** Lets promises settle without moving the time. */
  settle(): Promise<void>;
  /** Moves the time forward, timer by timer, only until `promise` settles; throws when it has not within `withinMs`. */
  until<T>(promise: Promise<T>, withinMs: number): Promise<T>;
  /** Timers that wait. */
  waiting(): number;
}

export function virtualClock(startMs = 1_700_000_000_000): VirtualClock {
  let now = startMs;
  let order = 0;
  const timers = new Map<number, { readonly atMs: number; readonly run: () => void }>();

  async function settle(): Promise<void> {
    // Chains of promises end within a macrotask; a second one catches what callbacks of the first began.
    await setImmediate();
    await setImmediate();
  }

  /** Runs the next timer that is due by `endMs`; false when there is none. */
  async function step(endMs: number): Promise<boolean> {
    let first: number | undefined;
    let firstAtMs = endMs;
    for (const [id, { atMs }] of timers) {
      // Ids grow, so that of two timers of one time the older one is found first.
      if (atMs < firstAtMs || (atMs === firstAtMs && first === undefined)) {
        first = id;
        firstAtMs = atMs;
      }
    }
    const timer = first === undefined ? undefined : timers.get(first);
    if (first === undefined || timer === undefined) return false;
    timers.delete(first);
    now = Math.max(now, timer.atMs);
    timer.run();
    await settle();
    return true;
  }

  return {
    now: () => now,
    // From another beginning: who mixes it up with `now` is found out.
    steadyNow: () => now - startMs + 1_000_000,
    after(delayMs, run) {
      const id = order++;
      timers.set(id, { atMs: now + Math.max(0, delayMs), run });
      return () => void timers.delete(id);
    },
    async advance(byMs) {
      const endMs = now + byMs;
      await settle();
      while (await step(endMs));
      now = endMs;
    },
    async until(promise, withinMs) {
      const endMs = now + withinMs;
      let settled = false;
      const end = (): void => void (settled = true);
      promise.then(end, end);
      await settle();
      while (!settled) {
        if (!(await step(endMs))) throw new Error(`virtual clock: not settled within ${withinMs} ms`);
      }
      return promise;
    },
    settle,
    waiting: () => timers.size,
  };
}
