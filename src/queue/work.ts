// Work queues: GRM_WORK and GRM_META. A task is stored once per (pool, epoch, request, unit) within limits.duplicateWindowMs, so that a
// repeated publish does not queue it twice.

import type { MetaTask, Shard, Stage } from '../work/shard.js';
import { classes, type Class } from '../grm/query.js';
import { consumersOf, purge, redeliveredOf, subjectsOf } from './api.js';
import { decodeMetaTask, decodeShard, encodeMetaTask, encodeShard } from './codec.js';
import type { SendAck } from './delivery.js';
import type { OnQueueEvent } from './events.js';
import type { Link } from './link.js';
import type { Publisher } from './publisher.js';
import { JetStreamPuller, type PullTimes } from './puller.js';
import type { Published, Puller, QueueDepth, WorkQueue } from './queue.js';
import { firstOf, indexesOf } from '../work/lane.js';
import { messageIdHeader, type Requests } from './requests.js';
import { consumerName, filters, subjects, token, workStream } from './subjects.js';

export interface WorkParts {
  readonly link: Link;
  readonly requests: Requests;
  readonly publisher: Publisher;
  readonly sendAck: SendAck;
  readonly onEvent: OnQueueEvent;
  readonly pullTimes: PullTimes;
}

export class JetStreamWork implements WorkQueue {
  private readonly pullers = new Set<Puller<unknown>>();

  constructor(private readonly parts: WorkParts) {}

  /** `full` when any of them found no room; others may be stored, so withdraw the request. */
  putShards(pool: string, epoch: string, shards: readonly Shard[]): Promise<Published> {
    return this.putAll(shards, (shard) => ({
      subject: subjects.shard(pool, shard.class, shard.requestId, shard.shard),
      id: `${pool}.${token(epoch, 'epoch')}.${shard.requestId}.${shard.shard}`,
      bytes: encodeShard(shard),
    }));
  }

  putMetaTasks(pool: string, epoch: string, tasks: readonly MetaTask[]): Promise<Published> {
    return this.putAll(tasks, (task) => ({
      subject: subjects.metaTask(pool, task.class, task.requestId, firstOf(task)),
      id: `${pool}.${token(epoch, 'epoch')}.${task.requestId}.${indexesOf(task)}`,
      bytes: encodeMetaTask(task),
    }));
  }

  async withdraw(requestId: string): Promise<void> {
    await Promise.all(
      (['sample', 'meta'] as const).map((stage) =>
        purge(this.parts.requests, workStream[stage], { filter: filters.withdraw(stage, requestId) }),
      ),
    );
  }

  async countTasks(requestId: string): Promise<number> {
    const found = await Promise.all(
      (['sample', 'meta'] as const).map((stage) =>
        subjectsOf(this.parts.requests, workStream[stage], filters.withdraw(stage, requestId)),
      ),
    );
    return found.flat().reduce((sum, { messages }) => sum + messages, 0);
  }

  pullShards(pool: string): Promise<Puller<Shard>> {
    return Promise.resolve(this.puller('sample', pool, decodeShard));
  }

  pullMetaTasks(pool: string): Promise<Puller<MetaTask>> {
    return Promise.resolve(this.puller('meta', pool, decodeMetaTask));
  }

  async depths(): Promise<readonly QueueDepth[]> {
    const rows: QueueDepth[] = [];
    for (const stream of Object.values(workStream)) {
      for (const consumer of await consumersOf(this.parts.requests, stream)) {
        const [, , pool, word] = consumer.config.filter_subject?.split('.') ?? [];
        const cls = classes.find((one) => one === word);
        if (pool === undefined || cls === undefined) continue; // somebody else's consumer
        rows.push({
          stream,
          pool,
          class: cls,
          pending: consumer.num_pending,
          inFlight: consumer.num_ack_pending,
          redelivered: consumer.num_redelivered,
        });
      }
    }
    return rows;
  }

  async redelivered(stage: Stage, pool: string): Promise<number> {
    const ask = (cls: Class): Promise<number> =>
      redeliveredOf(this.parts.requests, workStream[stage], consumerName(pool, cls));
    return (await Promise.all(classes.map(ask))).reduce((sum, each) => sum + each, 0);
  }

  /** Hands back what pullers hold. */
  async close(): Promise<void> {
    await Promise.all([...this.pullers].map((puller) => puller.close()));
  }

  private puller<T>(stage: Stage, pool: string, decode: (bytes: Uint8Array) => T): Puller<T> {
    const { link, sendAck, onEvent, pullTimes: times } = this.parts;
    const puller = new JetStreamPuller<T>({ link, sendAck, onEvent, stream: workStream[stage], pool, decode, times });
    const tracked: Puller<T> = {
      pull: (max, signal) => puller.pull(max, signal),
      close: async () => {
        this.pullers.delete(tracked);
        await puller.close();
      },
    };
    this.pullers.add(tracked);
    return tracked;
  }

  private async putAll<T>(
    tasks: readonly T[],
    message: (task: T) => { subject: string; id: string; bytes: Uint8Array },
  ): Promise<Published> {
    const results = await Promise.all(
      tasks.map((task) => {
        const { subject, id, bytes } = message(task);
        return this.parts.publisher.publish(subject, bytes, messageIdHeader(id));
      }),
    );
    return { kind: results.some(({ kind }) => kind === 'full') ? 'full' : 'stored' };
  }
}
