// Cancellations: what a worker remembers of cancelled requests. A notice may come before, during or after the shard itself.

import { LRUCache } from 'lru-cache';
import { limits } from '../limits.js';
import type { Clock } from '../process/clock.js';
import type { Cancellations } from './context.js';

export interface CancellationBook extends Cancellations {
  cancel(requestId: string): void;
}

/** A request may be cancelled and come again under the same id: only shards that were queued before the notice (with room for clock skew) are dropped. */
export function openCancellations(clock: Clock): CancellationBook {
  const cancelledAtMs = new LRUCache<string, number>({ max: limits.cancelledMax });
  const running = new Map<string, Set<AbortController>>();
  return {
    cancel(requestId) {
      cancelledAtMs.set(requestId, clock.now());
      for (const controller of running.get(requestId) ?? []) controller.abort('cancelled');
    },
    has(requestId, queuedAtMs) {
      const atMs = cancelledAtMs.get(requestId);
      return atMs !== undefined && queuedAtMs < atMs;
    },
    watch(requestId) {
      const controller = new AbortController();
      const set = running.get(requestId) ?? new Set();
      running.set(requestId, set.add(controller));
      return {
        signal: controller.signal,
        done() {
          set.delete(controller);
          if (set.size === 0 && running.get(requestId) === set) running.delete(requestId);
        },
      };
    },
  };
}
