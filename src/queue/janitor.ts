// Janitor: clears what a killed nats-server leaves in the work queues (measured on 2.9.10), then lets `trim.ts` make room in the ledger.
//
// An orphan is a message that its consumer has acknowledged and the stream still holds; it is never delivered again and counts against
// the queue's bounds. A phantom is a pending ack of a message that is gone; it freezes the ack floor and keeps autoscaling awake.
//
//   J1. A durable is made anew only while nothing of it waits and no live node works on any request in it, and after the same picture was
//       seen for `settleMs`, or at once after a lost connection. A task delivered twice by that is harmless: the ledger decides (P2).
//       Without complete knowledge of who works on what, none is made anew; all else goes on.
//   J2. Under load only messages at or below the ack floor are removed: those are acknowledged by definition.
//   J6. A consumer for which nothing waits, though its stream holds newer messages for it than it ever delivered, is blind: the server
//       that leads it has a copy of the stream that fell behind and stays so (seen in a cluster whose servers were killed, 2.9.10). After
//       `settleMs` another server has to lead it, or it is made anew where there is none. Whoever works on what is not disturbed by that.
//       So is one that has delivered more than its stream ever held: the server that was killed has lost the end of the stream and not the
//       consumer's place in it (seen of one server, 2.9.10). It is made anew, at once where no other copy could lag.
//   J9. One consumer or stream that cannot be swept keeps none of the others, nor the trimming: the first fault is thrown at the end.

import type { JetStreamManager } from '@nats-io/jetstream';
import { steadyNow } from '../process/clock.js';
import {
  ApiError,
  consumersOf,
  lastMessage,
  purge,
  stepDown,
  streamInfo,
  subjectsOf,
  type ConsumerState,
} from './api.js';
import type { OnQueueEvent } from './events.js';
import type { Link } from './link.js';
import type { SweepState, Swept } from './queue.js';
import type { Requests } from './requests.js';
import type { ConsumerWanted } from './streams.js';
import { parseWorkSubject, workStream } from './subjects.js';
import type { Trimmer } from './trim.js';

export interface JanitorParts {
  readonly link: Link;
  readonly requests: Requests;
  readonly jsm: JetStreamManager;
  readonly trimmer: Pick<Trimmer, 'trim'>;
  readonly consumers: readonly ConsumerWanted[];
  /** Copies of each stream. Of one alone there is none that lags, so what it says of itself is so. */
  readonly replicas: number;
  /** J1: more than twice the consumers' ack_wait. */
  readonly settleMs: number;
  readonly onEvent: OnQueueEvent;
}

/** What was seen of a suspicious consumer, and since when. */
interface Suspicion {
  readonly picture: string;
  readonly sinceMs: number;
}

export class Janitor {
  private readonly suspicions = new Map<string, Suspicion>();
  private lossesSeen: number;
  /** Consumers to look at without waiting, because a server may have been restarted. */
  private readonly restarted = new Set<string>();

  constructor(private readonly parts: JanitorParts) {
    this.lossesSeen = parts.link.losses();
  }

  async sweep(state: SweepState): Promise<readonly Swept[]> {
    const losses = this.parts.link.losses();
    if (losses !== this.lossesSeen) {
      this.lossesSeen = losses;
      for (const { stream, config } of this.parts.consumers) this.restarted.add(`${stream} ${config.durable_name}`);
    }
    const swept: Swept[] = [];
    const failures: unknown[] = [];
    for (const stream of Object.values(workStream)) {
      await this.sweepStream(stream, state, swept, failures).catch((error: unknown) => failures.push(error));
    }
    for (const row of swept) this.parts.onEvent({ kind: 'swept', ...row });
    await this.parts.trimmer.trim(state).catch((error: unknown) => failures.push(error));
    if (failures.length > 0) throw failures[0];
    return swept;
  }

  private async sweepStream(
    stream: ConsumerWanted['stream'],
    known: SweepState,
    swept: Swept[],
    failures: unknown[],
  ): Promise<void> {
    const ours = this.parts.consumers.filter((wanted) => wanted.stream === stream);
    if (ours.length === 0) return;
    const consumers = new Map((await consumersOf(this.parts.requests, stream)).map((one) => [one.name, one]));
    const { state } = await streamInfo(this.parts.requests, stream);
    const accounted = [...consumers.values()].reduce((sum, c) => sum + c.num_pending + c.num_ack_pending, 0);
    for (const wanted of ours) {
      const consumer = consumers.get(wanted.config.durable_name);
      const key = `${stream} ${wanted.config.durable_name}`;
      try {
        if (!consumer) {
          await this.create(wanted, 'created');
          continue;
        }
        await this.sweepBlind(wanted, consumer, `${key} blind`, state.last_seq);
        const quiet = consumer.num_pending === 0 && (consumer.num_ack_pending > 0 || state.messages > 0);
        const row = quiet
          ? await this.sweepQuiet(wanted, consumer, key, known)
          : await this.sweepBusy(wanted, consumer, key, state.messages > accounted);
        if (row) swept.push(row);
      } catch (error) {
        failures.push(error);
      }
    }
  }

  /** J6. */
  private async sweepBlind(
    wanted: ConsumerWanted,
    { num_pending: waiting, delivered }: ConsumerState,
    key: string,
    lastSeq: number,
  ): Promise<void> {
    const { stream, config } = wanted;
    const isAhead = delivered.stream_seq > lastSeq;
    const newest =
      waiting > 0 || delivered.stream_seq === lastSeq
        ? undefined
        : await lastMessage(this.parts.requests, stream, config.filter_subject);
    if (!newest || (!isAhead && newest.seq <= delivered.stream_seq)) {
      this.suspicions.delete(key);
      return;
    }
    const isSure = isAhead && this.parts.replicas === 1;
    if (!isSure && !this.settled(key, String(delivered.consumer_seq))) return;
    this.suspicions.delete(key);
    if (isAhead) return this.recreate(wanted);
    try {
      await stepDown(this.parts.requests, stream, config.durable_name);
      this.tell(wanted, 'moved');
    } catch (error) {
      if (!(error instanceof ApiError)) throw error;
      await this.recreate(wanted);
    }
  }

  /** J1. */
  private async sweepQuiet(
    wanted: ConsumerWanted,
    consumer: ConsumerState,
    key: string,
    { busy, complete }: SweepState,
  ): Promise<Swept | undefined> {
    const held = await subjectsOf(this.parts.requests, wanted.stream, wanted.config.filter_subject);
    const messages = held.reduce((sum, row) => sum + row.messages, 0);
    const working = held.some(({ subject }) => busy.has(parseWorkSubject(subject)?.requestId ?? ''));
    if ((messages === 0 && consumer.num_ack_pending === 0) || working || !complete) {
      this.suspicions.delete(key);
      if (messages === 0) this.restarted.delete(key);
      return undefined;
    }
    const picture = [messages, consumer.num_ack_pending, consumer.delivered.consumer_seq].join(' ');
    const atOnce = this.restarted.has(key) && messages > consumer.num_ack_pending;
    if (!atOnce && !this.settled(key, picture)) return undefined;
    this.suspicions.delete(key);
    this.restarted.delete(key);
    await this.recreate(wanted);
    return {
      stream: wanted.stream,
      consumer: wanted.config.durable_name,
      orphans: Math.max(0, messages - consumer.num_ack_pending),
      phantoms: Math.max(0, consumer.num_ack_pending - messages),
    };
  }

  /** J2. `surplus`: the stream holds more than its consumers know of. */
  private async sweepBusy(
    wanted: ConsumerWanted,
    consumer: ConsumerState,
    key: string,
    surplus: boolean,
  ): Promise<Swept | undefined> {
    if (!surplus) {
      this.suspicions.delete(key);
      return undefined;
    }
    if (!this.settled(key, 'surplus')) return undefined;
    this.suspicions.delete(key);
    const purged = await purge(this.parts.requests, wanted.stream, {
      filter: wanted.config.filter_subject,
      seq: consumer.ack_floor.stream_seq + 1,
    });
    if (purged === 0) return undefined;
    return { stream: wanted.stream, consumer: wanted.config.durable_name, orphans: purged, phantoms: 0 };
  }

  /** True when the same picture has been there for settleMs. */
  private settled(key: string, picture: string): boolean {
    const now = steadyNow();
    const before = this.suspicions.get(key);
    if (before?.picture === picture) return now - before.sinceMs >= this.parts.settleMs;
    this.suspicions.set(key, { picture, sinceMs: now });
    return this.parts.settleMs <= 0;
  }

  private async recreate(wanted: ConsumerWanted): Promise<void> {
    await this.parts.jsm.consumers.delete(wanted.stream, wanted.config.durable_name);
    await this.create(wanted, 'recreated');
  }

  private async create(wanted: ConsumerWanted, action: 'created' | 'recreated'): Promise<void> {
    await this.parts.jsm.consumers.add(wanted.stream, wanted.config);
    this.tell(wanted, action);
  }

  private tell({ stream, config }: ConsumerWanted, action: 'created' | 'recreated' | 'moved'): void {
    this.parts.onEvent({ kind: 'topology', what: `consumer ${config.durable_name} of ${stream}`, action });
  }
}
