// One worker's deliveries on the queue model, executed one by one by the test.

import { createHash } from 'node:crypto';
import { readFileSync } from 'node:fs';
import type { Plan } from '../../src/grm/query.js';
import { Events, type EventMap } from '../../src/observe/events.js';
import type { Delivery } from '../../src/queue/queue.js';
import { planShards } from '../../src/work/plan.js';
import type { RequestRecord } from '../../src/work/shard.js';
import { openCancellations } from '../../src/worker/cancellations.js';
import { openLibrary } from '../../src/worker/content.js';
import type { WorkerContext } from '../../src/worker/context.js';
import { openRequeue } from '../../src/worker/requeue.js';
import { plan } from './judgement.js';
import { memoryNats, type MemoryNatsOptions } from './memory-queue.js';
import { virtualClock } from './virtual-clock.js';
import { aRecord } from './work-values.js';

const templateText = readFileSync(new URL('../../templates/grm-default.txt', import.meta.url), 'utf8');
export const templateHash = createHash('sha256').update(templateText).digest('hex');

export function workerSetting(options: Omit<MemoryNatsOptions, 'clock'> = {}) {
  const clock = virtualClock();
  const nats = memoryNats({ clock, ...options });
  const queue = nats.open('w');
  const coordinator = nats.open('c');
  const events = new Events();
  const dropped: EventMap['delivery.dropped'][] = [];
  const retried: EventMap['delivery.retried'][] = [];
  const dead: EventMap['delivery.dead'][] = [];
  const suppressed: EventMap['result.suppressed'][] = [];
  events.on('delivery.dropped', (event) => void dropped.push(event));
  events.on('delivery.retried', (event) => void retried.push(event));
  events.on('delivery.dead', (event) => void dead.push(event));
  events.on('result.suppressed', (event) => void suppressed.push(event));
  const cancellations = openCancellations();
  const context: WorkerContext = {
    nodeId: 'w',
    ledger: queue.ledger,
    dead: queue.dead,
    library: openLibrary(queue.ledger),
    events,
    clock,
    random: () => 0,
    cancellations,
    requeue: {
      shard: openRequeue(queue.work, 'grm', 'w', clock).shard,
      meta: openRequeue(queue.work, 'meta', 'w', clock).meta,
    },
  };
  return {
    clock,
    nats,
    queue,
    coordinator,
    context,
    cancellations,
    dropped,
    retried,
    dead,
    suppressed,
    putTemplate: () => coordinator.ledger.putTemplate(templateHash, templateText),
    record: (requestId: string, more: Partial<Plan> = {}): RequestRecord =>
      aRecord(requestId, { plan: plan({ k: 4, templateHash, ...more }) }),
    /** Puts the shards of the record that hold `indexes`. */
    async putShards(
      record: RequestRecord,
      indexes: readonly number[],
      how: { inline?: boolean; deadlineMs?: number; run?: string } = {},
    ) {
      const deadlineAtMs = clock.now() + (how.deadlineMs ?? 60_000);
      const shards = planShards(record, indexes, {
        deadlineAtMs,
        nowMs: clock.now(),
        samplesMax: 8,
        inline: how.inline ?? true,
        run: how.run ?? 'c-1',
      });
      await coordinator.work.putShards('grm', `e${clock.now()}`, shards);
      return shards;
    },
    /** The next delivery, however long it is away. */
    async next<T>(pull: (max: number, signal: AbortSignal) => Promise<readonly Delivery<T>[]>): Promise<Delivery<T>> {
      for (let i = 0; i < 20; i++) {
        const [delivery] = await clock.until(pull(1, new AbortController().signal), 10_000);
        if (delivery) return delivery;
      }
      throw new Error('no delivery came');
    },
  };
}
