// Requeue: gives back what this worker has in hand and did not try (its engine is away, or it drains) as a new task. A delivery that is
// merely handed back counts, and after limits.deliveriesMax of them the task would be quarantined for what others did.

import type { Clock } from '../process/clock.js';
import type { WorkQueue } from '../queue/queue.js';
import type { Requeue } from './context.js';

export function openRequeue(
  work: Pick<WorkQueue, 'putShards' | 'putMetaTasks'>,
  pool: string,
  nodeId: string,
  clock: Clock,
): Requeue {
  let serial = 0;
  /** Unique: within the server's duplicate window a second copy would be dropped. */
  const epoch = (): string => `${nodeId}-${clock.now().toString(36)}-${serial++}`;
  return {
    shard: (shard) => work.putShards(pool, epoch(), [shard]),
    meta: (task) => work.putMetaTasks(pool, epoch(), [task]),
  };
}
