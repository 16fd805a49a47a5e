// A clock that stands still until the test moves it. Timers run in the order of their times, and what they set off settles before the next one.

import { setImmediate } from 'node:timers/promises';
import type { Clock } from '../../src/process/clock.js';

export interface VirtualClock extends Clock {
  /** Moves the time forward, timer by timer. */
  advance(byMs: number): Promise<void>;
  /** Lets promises settle without moving the time. */
  settle(): Promise<void>;
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

  return {
    now: () => now,
    after(delayMs, run) {
      const id = order++;
      timers.set(id, { atMs: now + Math.max(0, delayMs), run });
      return () => void timers.delete(id);
    },
    async advance(byMs) {
      const endMs = now + byMs;
      await settle();
      for (;;) {
        const due = [...timers]
          .filter(([, timer]) => timer.atMs <= endMs)
          .sort(([idA, a], [idB, b]) => a.atMs - b.atMs || idA - idB)[0];
        if (due === undefined) break;
        const [id, timer] = due;
        timers.delete(id);
        now = Math.max(now, timer.atMs);
        timer.run();
        await settle();
      }
      now = endMs;
    },
    settle,
    waiting: () => timers.size,
  };
}
