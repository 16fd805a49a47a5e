// Janitor: clears what a killed nats-server leaves in the work queues (platform.md 1.3.1) and makes room in the ledger before it is full.
//
// An orphan is a message that its consumer has acknowledged and the stream still holds; it is never delivered again and counts against
// the queue's bounds. A phantom is a pending ack of a message that is gone; it freezes the ack floor and keeps autoscaling awake.
//
//   J1. A durable is made anew only while nothing of it waits and no live node works on any request in it, and after the same picture was
//       seen for `settleMs`, or at once after a lost connection. A task delivered twice by that is harmless: the ledger decides (P2).
//   J2. Under load only messages at or below the ack floor are removed: those are acknowledged by definition.
//   J3. Trimming never passes `oldestOpenAtMs`, and requests go before their verdicts, so that no finished request looks unfinished.

import type { JetStreamManager } from '@nats-io/jetstream';
import { consumersOf, purge, streamInfo, subjectsOf, type ConsumerState, type StreamState } from './api.js';
import type { OnQueueEvent } from './events.js';
import type { Link } from './link.js';
import type { Swept } from './queue.js';
import type { Clock } from './clock.js';
import type { Requests } from './requests.js';
import type { ConsumerWanted } from './streams.js';
import { parseWorkSubject, workStream } from './subjects.js';

export interface JanitorParts {
  readonly link: Link;
  readonly requests: Requests;
  readonly jsm: JetStreamManager;
  readonly clock: Clock;
  readonly consumers: readonly ConsumerWanted[];
  /** J1: more than twice the consumers' ack_wait. */
  readonly settleMs: number;
  /** J3: kept besides what is open. */
  readonly trimMarginMs: number;
  readonly onEvent: OnQueueEvent;
}

export interface SweepState {
  readonly busy: ReadonlySet<string>;
  readonly oldestOpenAtMs: number;
}

/** What was seen of a suspicious consumer, and since when. */
interface Suspicion {
  readonly picture: string;
  readonly sinceMs: number;
}

const ledgerStreams = ['GRM_REQ', 'GRM_RES', 'GRM_FIN'] as const;
/** Trimming starts above the first share of max_bytes and aims at the second. */
const pressure = { above: 0.7, aim: 0.5 } as const;
const encoder = new TextEncoder();

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
    for (const stream of Object.values(workStream)) swept.push(...(await this.sweepStream(stream, state.busy)));
    for (const row of swept) this.parts.onEvent({ kind: 'swept', ...row });
    await this.trim(state.oldestOpenAtMs);
    return swept;
  }

  private async sweepStream(stream: ConsumerWanted['stream'], busy: ReadonlySet<string>): Promise<readonly Swept[]> {
    const ours = this.parts.consumers.filter((wanted) => wanted.stream === stream);
    if (ours.length === 0) return [];
    const consumers = new Map((await consumersOf(this.parts.requests, stream)).map((one) => [one.name, one]));
    const { state } = await streamInfo(this.parts.requests, stream);
    const accounted = [...consumers.values()].reduce((sum, c) => sum + c.num_pending + c.num_ack_pending, 0);
    const swept: Swept[] = [];
    for (const wanted of ours) {
      const consumer = consumers.get(wanted.config.durable_name);
      const key = `${stream} ${wanted.config.durable_name}`;
      if (!consumer) {
        await this.create(wanted, 'created');
        continue;
      }
      const quiet = consumer.num_pending === 0 && (consumer.num_ack_pending > 0 || state.messages > 0);
      const row = quiet
        ? await this.sweepQuiet(wanted, consumer, key, busy)
        : await this.sweepBusy(wanted, consumer, key, state.messages > accounted);
      if (row) swept.push(row);
    }
    return swept;
  }

  /** J1. */
  private async sweepQuiet(
    wanted: ConsumerWanted,
    consumer: ConsumerState,
    key: string,
    busy: ReadonlySet<string>,
  ): Promise<Swept | undefined> {
    const held = await subjectsOf(this.parts.requests, wanted.stream, wanted.config.filter_subject);
    const messages = held.reduce((sum, row) => sum + row.messages, 0);
    const working = held.some(({ subject }) => busy.has(parseWorkSubject(subject)?.requestId ?? ''));
    if ((messages === 0 && consumer.num_ack_pending === 0) || working) {
      this.suspicions.delete(key);
      if (messages === 0) this.restarted.delete(key);
      return undefined;
    }
    const picture = [messages, consumer.num_ack_pending, consumer.delivered.consumer_seq].join(' ');
    const atOnce = this.restarted.has(key) && messages > consumer.num_ack_pending;
    if (!atOnce && !this.settled(key, picture)) return undefined;
    this.suspicions.delete(key);
    this.restarted.delete(key);
    await this.parts.jsm.consumers.delete(wanted.stream, wanted.config.durable_name);
    await this.create(wanted, 'recreated');
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
    const now = Date.now();
    const before = this.suspicions.get(key);
    if (before?.picture === picture) return now - before.sinceMs >= this.parts.settleMs;
    this.suspicions.set(key, { picture, sinceMs: now });
    return this.parts.settleMs <= 0;
  }

  private async create(wanted: ConsumerWanted, action: 'created' | 'recreated'): Promise<void> {
    await this.parts.jsm.consumers.add(wanted.stream, wanted.config);
    this.parts.onEvent({
      kind: 'topology',
      what: `consumer ${wanted.config.durable_name} of ${wanted.stream}`,
      action,
    });
  }

  /** J3. */
  private async trim(oldestOpenAtMs: number): Promise<void> {
    const infos = await Promise.all(
      ledgerStreams.map(async (name) => [name, await streamInfo(this.parts.requests, name)] as const),
    );
    const pressed = infos.filter(([, { bytesMax, state }]) => state.bytes > bytesMax * pressure.above);
    if (pressed.length === 0) return;
    const skewMs = await this.parts.clock.skewMs();
    const keepFromMs = Math.min(oldestOpenAtMs, Date.now()) + skewMs - this.parts.trimMarginMs;
    for (const [name, info] of pressed) {
      const upToMs = Math.min(keepFromMs, await this.aimMs(name, info));
      const streams = name === 'GRM_FIN' ? (['GRM_REQ', 'GRM_FIN'] as const) : ([name] as const);
      for (const stream of streams) await this.trimStream(stream, upToMs);
    }
  }

  /** Time of the message at which the stream is cut to reach its aim, if all messages were of one size. */
  private async aimMs(
    stream: string,
    { bytesMax, state }: { readonly bytesMax: number; readonly state: StreamState },
  ): Promise<number> {
    const drop = 1 - (bytesMax * pressure.aim) / state.bytes;
    const seq = state.first_seq + Math.floor((state.last_seq - state.first_seq) * drop);
    return (await this.messageAt(stream, seq))?.timeMs ?? 0;
  }

  private async trimStream(stream: string, upToMs: number): Promise<void> {
    const { state } = await streamInfo(this.parts.requests, stream);
    // The first sequence that is younger than upToMs; last_seq + 1 when none is.
    let low = state.first_seq;
    let high = state.last_seq + 1;
    while (low < high) {
      const middle = Math.floor((low + high) / 2);
      const message = await this.messageAt(stream, middle);
      if (!message) high = middle;
      else if (message.timeMs > upToMs) high = middle;
      else low = message.seq + 1;
    }
    if (low <= state.first_seq) return;
    const purged = await purge(this.parts.requests, stream, { seq: low });
    if (purged > 0) this.parts.onEvent({ kind: 'trimmed', stream, messages: purged });
  }

  /** The first message at or after `seq`. */
  private async messageAt(stream: string, seq: number): Promise<{ seq: number; timeMs: number } | undefined> {
    const body = encoder.encode(JSON.stringify({ seq, next_by_subj: '>' }));
    const { headers } = await this.parts.requests.call(`$JS.API.DIRECT.GET.${stream}`, body);
    const time = headers?.get('Nats-Time-Stamp') ?? '';
    return time === '' ? undefined : { seq: Number(headers?.get('Nats-Sequence')), timeMs: Date.parse(time) };
  }
}
