// Cancellations: what a worker remembers of cancelled requests. A notice may come before, during or after the shard itself.
//
// A request may be cancelled and come again under the same id, at another coordinator with another clock, while notices and tasks of the first
// run are still on their way. So a notice names the run, by what all its tasks carry: the end of its time budget. What is of another run is
// neither stopped nor dropped. To drop it would leave a request without its samples until its budget ends; an old one only costs work.

import { LRUCache } from 'lru-cache';
import { limits } from '../limits.js';
import type { Cancellations } from './context.js';

export interface CancellationBook extends Cancellations {
  /** One run, or without a deadline whatever of the request is worked on now. True when it was worked on here. */
  cancel(requestId: string, deadlineAtMs?: number): boolean;
  /** Requests worked on now. */
  running(): Iterable<string>;
}

export function openCancellations(): CancellationBook {
  const cancelled = new LRUCache<string, true>({ max: limits.cancelledMax });
  const running = new Map<string, Map<AbortController, number>>();
  const runOf = (requestId: string, deadlineAtMs: number): string => `${requestId} ${deadlineAtMs}`;
  return {
    cancel(requestId, deadlineAtMs) {
      if (deadlineAtMs !== undefined) cancelled.set(runOf(requestId, deadlineAtMs), true);
      let worked = false;
      for (const [controller, itsDeadlineAtMs] of running.get(requestId) ?? []) {
        if (deadlineAtMs !== undefined && itsDeadlineAtMs !== deadlineAtMs) continue;
        controller.abort('cancelled');
        worked = true;
      }
      return worked;
    },
    running: () => running.keys(),
    has: (requestId, deadlineAtMs) => cancelled.has(runOf(requestId, deadlineAtMs)),
    watch(requestId, deadlineAtMs) {
      const controller = new AbortController();
      const watched = running.get(requestId) ?? new Map<AbortController, number>();
      running.set(requestId, watched.set(controller, deadlineAtMs));
      return {
        signal: controller.signal,
        done() {
          watched.delete(controller);
          if (watched.size === 0 && running.get(requestId) === watched) running.delete(requestId);
        },
      };
    },
  };
}
