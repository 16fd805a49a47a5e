// Work queue of the queue model as one process sees it: what it puts, pulls and settles.

import { decodeMetaTask, decodeShard, encodeMetaTask, encodeShard } from '../../src/queue/codec.js';
import type { Delivery, Published, Puller, WorkQueue } from '../../src/queue/queue.js';
import { subjects, token } from '../../src/queue/subjects.js';
import { firstOf, indexesOf } from '../../src/work/lane.js';
import type { Stage } from '../../src/work/shard.js';
import { never, type Wire } from './memory-wire.js';
import type { Handed, NewTask, Settling } from './memory-work.js';

export function workOf(wire: Wire, pullers: Set<Puller<unknown>>): WorkQueue {
  const { work } = wire.server;
  /** Tasks are published one by one: some may be stored when others find no room. */
  const putAll = (tasks: readonly NewTask[]): Promise<Published> =>
    wire.call('putTasks', () => ({
      kind: tasks.map((task) => work.put(task)).includes('full') ? 'full' : 'stored',
    }));
  const pull = <T>(stage: Stage, pool: string, decode: (bytes: Uint8Array) => T): Promise<Puller<T>> =>
    wire.call('pull', () => {
      const puller = pullerOf(stage, token(pool, 'pool'), decode, wire);
      pullers.add(puller);
      return puller;
    });
  return {
    putShards: async (pool, epoch, shards) =>
      putAll(
        shards.map((shard) => {
          const { requestId, class: klass, shard: unit } = shard;
          const id = `${pool}.${token(epoch, 'epoch')}.${requestId}.${unit}`;
          const subject = subjects.shard(pool, klass, requestId, unit);
          return { stage: 'sample', pool, class: klass, requestId, subject, id, bytes: encodeShard(shard) };
        }),
      ),
    putMetaTasks: async (pool, epoch, tasks) =>
      putAll(
        tasks.map((task) => {
          const { requestId, class: klass } = task;
          const id = `meta.${pool}.${token(epoch, 'epoch')}.${requestId}.${indexesOf(task)}`;
          const subject = subjects.metaTask(pool, klass, requestId, firstOf(task));
          return { stage: 'meta', pool, class: klass, requestId, subject, id, bytes: encodeMetaTask(task) };
        }),
      ),
    withdraw: (requestId) => wire.call('withdraw', () => work.withdraw(token(requestId, 'request'))),
    countTasks: (requestId) => wire.call('countTasks', () => work.of(token(requestId, 'request'))),
    pullShards: (pool) => pull('sample', pool, decodeShard),
    pullMetaTasks: (pool) => pull('meta', pool, decodeMetaTask),
    depths: () => wire.call('depths', () => work.depths()),
    redelivered: (stage, pool) => wire.call('redelivered', () => work.redelivered(stage, pool)),
  };
}

function pullerOf<T>(stage: Stage, pool: string, decode: (bytes: Uint8Array) => T, wire: Wire): Puller<T> {
  const { work, clock, pullExpiresMs } = wire.server;
  const closing = new AbortController();
  const deliver = (handed: Handed): Delivery<T> => deliveryOf(handed, decode, wire);
  return {
    async pull(max, signal) {
      if (wire.dead) return never();
      const isOver = (): boolean => signal.aborted || closing.signal.aborted;
      if (isOver() || max < 1) return [];
      const now = await wire.call('pull', () => (isOver() ? [] : work.take(stage, pool, max)));
      if (now.length > 0 && !isOver()) return now.map(deliver);
      for (const handed of now) deliver(handed).nak(0);
      if (now.length > 0) return [];
      return new Promise((resolve) => {
        const end = (handed: readonly Handed[] = []): void => {
          unpark();
          cancel();
          signal.removeEventListener('abort', abort);
          closing.signal.removeEventListener('abort', abort);
          wire.enter(() => {
            if (!wire.dead) resolve(handed.map(deliver));
          });
        };
        const abort = (): void => end();
        const cancel = clock.after(pullExpiresMs, abort);
        signal.addEventListener('abort', abort);
        closing.signal.addEventListener('abort', abort);
        let unpark = (): void => undefined;
        if (isOver()) end();
        else unpark = work.park(stage, pool, max, end);
      });
    },
    close() {
      closing.abort();
      return Promise.resolve();
    },
  };
}

function deliveryOf<T>(handed: Handed, decode: (bytes: Uint8Array) => T, wire: Wire): Delivery<T> {
  const { task, deliveries } = handed;
  let settled = false;
  const settle = (how: Settling, delayMs = 0): void => {
    if (settled) return;
    settled = how !== 'working';
    wire.settle(handed, how, delayMs);
  };
  return {
    task: decoded(task.bytes, decode),
    label: `${task.subject} (${task.bytes.length} bytes)`,
    requestId: task.requestId,
    class: task.class,
    deliveries,
    ack: () => settle('ack'),
    nak: (delayMs) => settle('nak', delayMs),
    term: () => settle('term'),
    working: () => settle('working'),
  };
}

function decoded<T>(bytes: Uint8Array, decode: (bytes: Uint8Array) => T): T | undefined {
  try {
    return decode(bytes);
  } catch {
    return undefined; // what the real one reports as an event
  }
}
