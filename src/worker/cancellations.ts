// Cancellations: what a worker remembers of cancelled requests. A notice may come before, during or after the shard itself.

import { LRUCache } from 'lru-cache';
import { limits } from '../limits.js';
import { nextTurn, type Clock } from '../process/clock.js';
import type { Cancellations } from './context.js';

export interface CancellationBook extends Cancellations {
  /** True when the request was worked on here. */
  cancel(requestId: string): boolean;
  /** Requests worked on now. */
  running(): Iterable<string>;
}

/**
 * A request may be cancelled and come again under the same id: only shards that came to us or were queued before the notice are dropped.
 * The coordinator repeats the notice when the queues are empty of the request, and a retry begins after that, so what had come by then is old
 * for sure. For what the queues still held, because NATS was away, two clocks are compared, the coordinator's and ours; a new shard dropped by
 * mistake is missed by somebody, while an old one only costs work: hence limits.cancelSkewMs in favour of working.
 */
export function openCancellations(clock: Clock): CancellationBook {
  const cancelledAt = new LRUCache<string, { readonly atMs: number; readonly turn: number }>({
    max: limits.cancelledMax,
  });
  const running = new Map<string, Set<AbortController>>();
  return {
    cancel(requestId) {
      cancelledAt.set(requestId, { atMs: clock.now(), turn: nextTurn() });
      const controllers = running.get(requestId);
      for (const controller of controllers ?? []) controller.abort('cancelled');
      return controllers !== undefined;
    },
    running: () => running.keys(),
    has(requestId, receivedAtTurn, queuedAtMs) {
      const notice = cancelledAt.get(requestId);
      return notice !== undefined && (receivedAtTurn < notice.turn || queuedAtMs < notice.atMs - limits.cancelSkewMs);
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
