// Puller: takes tasks from one pool's three classes, urgent ones first, never more than its owner has room for.
//
// A pull first looks what is there now, class by class in order of urgency (one round trip each). Only when nothing is there it parks a
// pull on every class, under a subscription of its own, and takes it back when the first task came: the subscription is drained, and
// the server forgets pulls whose inbox is gone. So no claim outlives the call that made it, but for what was on its way.
//
//   L1. What arrives after its pull had returned is given out first by the next pull, or to somebody else after limits.pullHeldMs.
//   L2. A pull ends: parked no longer than limits.pullExpiresMs plus a grace, whatever the server does or does not answer.
//   L3. No busy loop: while NATS or the consumer is away a pull takes at least a growing pause.

import type { Msg, Subscription } from '@nats-io/transport-node';
import { setTimeout as sleep } from 'node:timers/promises';
import { classes, type Class } from '../grm/query.js';
import { limits } from '../limits.js';
import { JetStreamDelivery, type SendAck } from './delivery.js';
import type { OnQueueEvent } from './events.js';
import type { Link } from './link.js';
import type { Delivery, Puller } from './queue.js';
import { nanos } from './streams.js';
import { consumerName } from './subjects.js';

export interface PullerParts<T> {
  readonly link: Link;
  readonly sendAck: SendAck;
  readonly onEvent: OnQueueEvent;
  readonly stream: string;
  readonly pool: string;
  readonly decode: (bytes: Uint8Array) => T;
  /** A parked pull's life. */
  readonly expiresMs: number;
}

/**
 * One "what is there now" on one class; there is one at a time, because a task comes under its own subject and does not say which
 * request it answers. Only the server's words about a request carry the request's inbox.
 */
interface Look<T> {
  readonly inbox: string;
  readonly max: number;
  readonly came: Delivery<T>[];
  end(how: 'served' | 'empty' | 'trouble', reason?: string): void;
}

const encoder = new TextEncoder();
let pullers = 0;

export class JetStreamPuller<T> implements Puller<T> {
  private looking: Look<T> | undefined;
  private readonly inbox: string;
  private readonly lookSubscription: Subscription;
  /** L1. */
  private held: { readonly delivery: Delivery<T>; readonly timer: NodeJS.Timeout }[] = [];
  /** The last parked pull being taken back. */
  private takenBack: Promise<void> = Promise.resolve();
  private last: Promise<unknown> = Promise.resolve();
  private next = 0;
  private pauseMs = 0;
  private closed = false;
  private abortCurrent: () => void = () => undefined;

  constructor(private readonly parts: PullerParts<T>) {
    this.inbox = `${parts.link.inbox}.p${(pullers++).toString(36)}`;
    this.lookSubscription = parts.link.nc.subscribe(`${this.inbox}.l.*`, {
      callback: (error, msg) => {
        if (!error) this.hearLook(msg);
      },
    });
  }

  /** Calls run one after the other. */
  pull(max: number, signal: AbortSignal): Promise<readonly Delivery<T>[]> {
    const run = this.last.then(async () => {
      // Not AbortSignal.any: the owner's signal lives as long as the process and would gather one dependent per pull.
      const stop = new AbortController();
      const abort = (): void => {
        stop.abort();
      };
      if (signal.aborted || this.closed) return [];
      signal.addEventListener('abort', abort);
      this.abortCurrent = abort;
      try {
        return await this.pullNow(max, stop.signal);
      } finally {
        signal.removeEventListener('abort', abort);
      }
    });
    this.last = run.catch(() => undefined);
    return run;
  }

  async close(): Promise<void> {
    if (this.closed) return;
    this.closed = true;
    this.abortCurrent();
    await this.last;
    await this.takenBack;
    await within(this.lookSubscription.drain());
    this.handBack();
  }

  private async pullNow(max: number, signal: AbortSignal): Promise<readonly Delivery<T>[]> {
    if (max < 1) return [];
    if (this.pauseMs > 0) await sleep(this.pauseMs, undefined, { signal }).catch(() => undefined);
    if (!this.parts.link.connected()) {
      const there = await this.parts.link.whenConnected(this.parts.expiresMs, signal);
      if (!there) return [];
    }
    await this.takenBack;
    const got = this.takeHeld(max);
    for (const cls of classes) {
      if (got.length >= max || signal.aborted) break;
      const came = await this.look(cls, max - got.length);
      if (came === 'trouble') break;
      got.push(...came);
    }
    if (got.length === 0 && this.pauseMs === 0 && !signal.aborted) got.push(...(await this.park(max, signal)));
    if (!signal.aborted) return got;
    for (const delivery of got) delivery.nak(0);
    this.handBack();
    return [];
  }

  private async look(cls: Class, max: number): Promise<readonly Delivery<T>[] | 'trouble'> {
    const inbox = `${this.inbox}.l.${(this.next++).toString(36)}`;
    const came: Delivery<T>[] = [];
    const outcome = await new Promise<{ how: 'served' | 'empty' | 'trouble'; reason: string }>((resolve) => {
      const end = (how: 'served' | 'empty' | 'trouble', reason = ''): void => {
        clearTimeout(timer);
        this.looking = undefined;
        resolve({ how, reason });
      };
      const timer = setTimeout(end, limits.pullProbeMs, 'trouble', 'no answer');
      this.looking = { inbox, max, came, end };
      this.request(cls, { batch: max, no_wait: true }, inbox);
    });
    if (outcome.how !== 'trouble') {
      this.pauseMs = 0;
      return came;
    }
    // When the server answers again, what it had been asked for comes first: then nothing of this look is under way any more.
    await within(this.parts.link.nc.flush());
    this.trouble(`${consumerName(this.parts.pool, cls)}: ${outcome.reason}`);
    return came.length > 0 ? came : 'trouble';
  }

  private hearLook(msg: Msg): void {
    const look = this.looking;
    const ended = statusOf(msg);
    if (ended === undefined) {
      const delivery = this.deliver(msg);
      if (!look) {
        this.hold(delivery);
        return;
      }
      look.came.push(delivery);
      if (look.came.length === look.max) look.end('served');
    } else if (look?.inbox !== msg.subject) {
      // Of an earlier look, whose batch was full or whose time was over.
    } else if (ended.code === 404 || ended.code === 408) {
      look.end('empty');
    } else {
      look.end('trouble', `${ended.code} ${ended.words}`);
    }
  }

  /** Waits on all classes at once; resolves with what came in the turn of the first task. */
  private async park(max: number, signal: AbortSignal): Promise<readonly Delivery<T>[]> {
    const { link, expiresMs } = this.parts;
    const inbox = `${this.inbox}.k${(this.next++).toString(36)}`;
    const came: Delivery<T>[] = [];
    let open: number = classes.length;
    let returned = false;
    let refused = '';
    let wake: () => void = () => undefined;
    const woken = new Promise<void>((resolve) => {
      wake = resolve;
    });
    const subscription = link.nc.subscribe(`${inbox}.*`, {
      callback: (error, msg) => {
        if (error) return;
        const ended = statusOf(msg);
        if (ended === undefined) {
          const delivery = this.deliver(msg);
          if (returned || came.length >= max) this.hold(delivery);
          else came.push(delivery);
          wake();
          return;
        }
        open -= 1;
        if (ended.code !== 408 && ended.code !== 404) refused = `${ended.code} ${ended.words}`;
        if (open === 0) wake();
      },
    });
    const batch = Math.max(1, Math.floor(max / classes.length));
    for (const cls of classes) this.request(cls, { batch, expires: nanos(expiresMs) }, `${inbox}.${cls}`);
    const timer = setTimeout(wake, expiresMs + limits.pullGraceMs);
    signal.addEventListener('abort', wake);
    const unwatch = link.onChange(wake); // L2: a lost connection has lost the parked pulls
    await woken;
    returned = true;
    clearTimeout(timer);
    signal.removeEventListener('abort', wake);
    unwatch();
    this.takenBack = within(subscription.drain());
    if (came.length === 0 && refused !== '') this.trouble(refused);
    if (signal.aborted) await this.takenBack;
    return came;
  }

  private request(cls: Class, body: object, reply: string): void {
    const subject = `$JS.API.CONSUMER.MSG.NEXT.${this.parts.stream}.${consumerName(this.parts.pool, cls)}`;
    try {
      this.parts.link.nc.publish(subject, encoder.encode(JSON.stringify(body)), { reply });
    } catch {
      // The connection closed in this turn: the timer ends the wait.
    }
  }

  private deliver(msg: Msg): Delivery<T> {
    const { decode, sendAck, onEvent } = this.parts;
    return new JetStreamDelivery(msg, decode, sendAck, onEvent);
  }

  private hold(delivery: Delivery<T>): void {
    const timer = setTimeout(() => {
      this.held = this.held.filter((one) => one.delivery !== delivery);
      delivery.nak(0);
    }, limits.pullHeldMs);
    this.held.push({ delivery, timer });
  }

  private takeHeld(max: number): Delivery<T>[] {
    const order = (cls: Class): number => classes.indexOf(cls);
    this.held.sort((a, b) => order(a.delivery.class) - order(b.delivery.class));
    return this.held.splice(0, max).map(({ delivery, timer }) => {
      clearTimeout(timer);
      return delivery;
    });
  }

  private handBack(): void {
    for (const delivery of this.takeHeld(this.held.length)) delivery.nak(0);
  }

  private trouble(reason: string): void {
    this.pauseMs = Math.min(limits.pullBackoffMsMax, Math.max(50, this.pauseMs * 2));
    this.parts.onEvent({ kind: 'pull_trouble', stream: this.parts.stream, pool: this.parts.pool, reason });
  }
}

/** A message without payload is the server speaking of the pull: a task is never empty. */
function statusOf(msg: Msg): { code: number; words: string } | undefined {
  if (msg.data.length > 0) return undefined;
  const { headers } = msg;
  return headers && headers.code > 0 ? { code: headers.code, words: headers.description } : undefined;
}

/** A drain or flush that a stalled server may hold up, but not for ever. */
async function within(act: Promise<void>): Promise<void> {
  await Promise.race([act.catch(() => undefined), sleep(limits.pullProbeMs, undefined, { ref: false })]);
}
