// Cancellations: what a worker remembers of cancelled requests. A notice may come before, during or after the shard itself.
//
// A request may be cancelled and come again under the same id, at another coordinator with another clock, while notices and tasks of the first
// run are still on their way. So a notice names the run, as all its tasks do (work/run-name.ts). What is of another run is neither stopped nor dropped. To drop
// it would leave a request without its samples for long; an old one only costs work.

import { LRUCache } from 'lru-cache';
import { limits } from '../limits.js';
import { endedBy } from '../work/run-name.js';
import type { Cancellations } from './context.js';

export interface CancellationBook extends Cancellations {
  /** One run or one task of it, or with an empty name whatever of the request is worked on now. True when it was worked on here. */
  cancel(requestId: string, run?: string): boolean;
  /** Requests worked on now. */
  running(): Iterable<string>;
}

interface Watched {
  readonly run: string;
  readonly deliveries: number;
}

export function openCancellations(): CancellationBook {
  const cancelled = new LRUCache<string, true>({ max: limits.cancelledMax });
  const running = new Map<string, Map<AbortController, Watched>>();
  const nameOf = (requestId: string, run: string): string => `${requestId} ${run}`;
  return {
    cancel(requestId, run = '') {
      if (run !== '') cancelled.set(nameOf(requestId, run), true);
      let worked = false;
      for (const [controller, watched] of running.get(requestId) ?? []) {
        if (run !== '' && !endedBy(watched.run).includes(run)) continue;
        controller.abort('cancelled');
        worked = true;
      }
      return worked;
    },
    running: () => running.keys(),
    has: (requestId, task) => endedBy(task).some((name) => cancelled.has(nameOf(requestId, name))),
    deliveriesOf: (requestId, task) =>
      [...(running.get(requestId)?.values() ?? [])].find(({ run }) => run === task)?.deliveries ?? 0,
    watch(requestId, run, hurry, deliveries = 1) {
      const controller = new AbortController();
      const leave = (): void => controller.abort('hurry');
      if (hurry?.aborted) leave();
      else hurry?.addEventListener('abort', leave);
      const watched = running.get(requestId) ?? new Map<AbortController, Watched>();
      running.set(requestId, watched.set(controller, { run, deliveries }));
      return {
        signal: controller.signal,
        done() {
          hurry?.removeEventListener('abort', leave);
          watched.delete(controller);
          if (watched.size === 0 && running.get(requestId) === watched) running.delete(requestId);
        },
      };
    },
  };
}
