// Puller: takes tasks from one pool's three classes, urgent ones first.
//
// A pull looks what is there now, class by class (one round trip each). Where nothing is, it leaves a claim: a parked request for one
// task. It returns when the first claim is served. The other classes' claims live on for a moment, and their tasks belong to the next
// pull: NATS has no way to take a claim back safely (when its inbox goes away, a task that is on its way is lost until ack_wait).
//
//   L1. Beyond what it returned a puller holds at most one task per class, and only of a class that was empty less than limits.pullClaimMs
//       ago. The next pull gives it out first; after limits.pullHeldMs without one it goes to somebody else, and after an abort at once.
//   L2. A pull ends within limits.pullExpiresMs and a few probes, whatever the server does or does not answer.
//   L3. No busy loop: while NATS or the consumer is away a pull takes at least a growing pause.

import type { Msg, Subscription } from '@nats-io/transport-node';
import { setTimeout as sleep } from 'node:timers/promises';
import { classes, type Class } from '../grm/query.js';
import { limits } from '../limits.js';
import { steadyNow } from '../process/clock.js';
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
  readonly times: PullTimes;
}

export interface PullTimes {
  /** How long a pull waits for its first task. */
  readonly expiresMs: number;
  readonly claimMs: number;
  readonly heldMs: number;
}

/** A task that is held is not renewed: it may wait a sixth of the ack wait, so that whoever takes it can still lose a renewal. */
export function pullTimesFor(ackWaitMs: number): PullTimes {
  return {
    expiresMs: limits.pullExpiresMs,
    claimMs: limits.pullClaimMs,
    heldMs: Math.min(limits.pullHeldMs, ackWaitMs / 6),
  };
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

interface Claim {
  readonly inbox: string;
  readonly timer: NodeJS.Timeout;
}

const encoder = new TextEncoder();
let pullers = 0;

export class JetStreamPuller<T> implements Puller<T> {
  private readonly inbox: string;
  private readonly subscriptions: readonly Subscription[];
  private readonly unwatch: () => void;
  private looking: Look<T> | undefined;
  private readonly claims = new Map<Class, Claim>();
  /** L1. */
  private readonly held = new Map<Delivery<T>, NodeJS.Timeout>();
  private last: Promise<unknown> = Promise.resolve();
  private next = 0;
  private pauseMs = 0;
  private closed = false;
  /** Nobody is going to pull soon: what comes is handed on at once. */
  private resting = false;
  private abortCurrent: () => void = () => undefined;
  /** Called when a claim was served or ended. */
  private stir: () => void = () => undefined;

  constructor(private readonly parts: PullerParts<T>) {
    const { link } = parts;
    this.inbox = `${link.inbox}.p${(pullers++).toString(36)}`;
    this.subscriptions = [
      link.subscribe(`${this.inbox}.look.*`, (msg) => {
        this.hearLook(msg);
      }),
      link.subscribe(`${this.inbox}.claim.*`, (msg) => {
        this.hearClaim(msg);
      }),
    ];
    // A lost connection has lost what was asked on it.
    this.unwatch = link.onChange((state) => {
      if (state === 'connected') return;
      this.looking?.end('trouble', 'the connection is lost');
      for (const cls of [...this.claims.keys()]) this.endClaim(cls);
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

  /** Waits for its last claims to end (limits.pullClaimMs), so that none of their tasks is lost, and hands back what comes. */
  async close(): Promise<void> {
    if (this.closed) return;
    this.closed = true;
    this.resting = true;
    this.abortCurrent();
    await this.last;
    this.handBack();
    while (this.claims.size > 0) await new Promise<void>((stir) => (this.stir = stir));
    this.unwatch();
    await Promise.all(this.subscriptions.map((subscription) => within(subscription.drain())));
  }

  private async pullNow(max: number, signal: AbortSignal): Promise<readonly Delivery<T>[]> {
    if (max < 1) return [];
    if (this.pauseMs > 0) await sleep(this.pauseMs, undefined, { signal }).catch(() => undefined);
    const { link, times } = this.parts;
    if (!link.connected() && !(await link.whenConnected(times.expiresMs, signal))) return [];
    this.resting = false;
    const got = this.takeHeld(max);
    for (const cls of classes) {
      // With a claim out there is nothing to look for: a task would have come for it.
      if (this.claims.has(cls) || signal.aborted) continue;
      const room = max - got.length - this.claims.size;
      const wanted = got.length === 0 ? Math.max(1, room) : room;
      if (wanted < 1) break;
      if (!(await this.look(cls, wanted, got))) break;
    }
    if (got.length === 0 && this.pauseMs === 0 && !signal.aborted) got.push(...(await this.wait(max, signal)));
    if (!signal.aborted) return got;
    this.resting = true;
    for (const delivery of got) delivery.nak(0);
    this.handBack();
    return [];
  }

  /** Adds to `got` what is there now, up to `max`; false when the server did not answer as it should. */
  private async look(cls: Class, max: number, got: Delivery<T>[]): Promise<boolean> {
    const inbox = `${this.inbox}.look.${(this.next++).toString(36)}`;
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
    got.push(...came);
    if (outcome.how !== 'trouble') {
      this.pauseMs = 0;
      return true;
    }
    // When the server answers again, what it had been asked for comes first: then nothing of this look is under way any more.
    await within(this.parts.link.flush());
    this.trouble(`${consumerName(this.parts.pool, cls)}: ${outcome.reason}`);
    return false;
  }

  private hearLook(msg: Msg): void {
    const look = this.looking;
    const ended = statusOf(msg);
    if (ended === undefined) {
      const delivery = this.deliver(msg);
      if (!look) {
        this.hold(delivery); // of a look whose time was over
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

  /** Keeps a claim on every class until one is served; resolves with what came in that turn. */
  private async wait(max: number, signal: AbortSignal): Promise<readonly Delivery<T>[]> {
    const giveUpAt = steadyNow() + this.parts.times.expiresMs;
    const stir = (): void => {
      this.stir();
    };
    signal.addEventListener('abort', stir);
    const timer = setTimeout(stir, this.parts.times.expiresMs);
    while (this.held.size === 0 && this.pauseMs === 0 && !signal.aborted && steadyNow() < giveUpAt) {
      const stirred = new Promise<void>((resolve) => (this.stir = resolve));
      for (const cls of classes) if (!this.claims.has(cls)) this.claim(cls);
      await stirred;
      if (!this.parts.link.connected()) break;
    }
    clearTimeout(timer);
    signal.removeEventListener('abort', stir);
    return this.takeHeld(max);
  }

  private claim(cls: Class): void {
    const { claimMs } = this.parts.times;
    const inbox = `${this.inbox}.claim.${(this.next++).toString(36)}`;
    const timer = setTimeout(() => {
      this.endClaim(cls);
      this.trouble(`${consumerName(this.parts.pool, cls)}: a claim was never answered`);
    }, claimMs + limits.pullGraceMs);
    this.claims.set(cls, { inbox, timer });
    this.request(cls, { batch: 1, expires: nanos(claimMs) }, inbox);
  }

  private hearClaim(msg: Msg): void {
    const ended = statusOf(msg);
    if (ended === undefined) {
      const delivery = this.deliver(msg);
      this.hold(delivery);
      this.endClaim(delivery.class);
      return;
    }
    const cls = classes.find((one) => this.claims.get(one)?.inbox === msg.subject);
    if (cls === undefined) return; // served, or given up
    if (ended.code !== 408 && ended.code !== 404) {
      this.trouble(`${consumerName(this.parts.pool, cls)}: ${ended.code} ${ended.words}`);
    }
    this.endClaim(cls);
  }

  private endClaim(cls: Class): void {
    clearTimeout(this.claims.get(cls)?.timer);
    this.claims.delete(cls);
    this.stir();
  }

  private request(cls: Class, body: object, reply: string): void {
    const subject = `$JS.API.CONSUMER.MSG.NEXT.${this.parts.stream}.${consumerName(this.parts.pool, cls)}`;
    this.parts.link.publish(subject, encoder.encode(JSON.stringify(body)), { reply });
  }

  private deliver(msg: Msg): Delivery<T> {
    const { decode, sendAck, onEvent } = this.parts;
    return new JetStreamDelivery(msg, decode, sendAck, onEvent);
  }

  private hold(delivery: Delivery<T>): void {
    if (this.resting) {
      delivery.nak(0);
      return;
    }
    const timer = setTimeout(() => {
      this.held.delete(delivery);
      delivery.nak(0);
    }, this.parts.times.heldMs);
    this.held.set(delivery, timer);
  }

  private takeHeld(max: number): Delivery<T>[] {
    const urgency = (delivery: Delivery<T>): number => classes.indexOf(delivery.class);
    const taken = [...this.held.keys()].sort((a, b) => urgency(a) - urgency(b)).slice(0, max);
    for (const delivery of taken) {
      clearTimeout(this.held.get(delivery));
      this.held.delete(delivery);
    }
    return taken;
  }

  private handBack(): void {
    for (const delivery of this.takeHeld(this.held.size)) delivery.nak(0);
  }

  private trouble(reason: string): void {
    this.pauseMs = Math.min(limits.pullBackoffMsMax, Math.max(50, this.pauseMs * 2));
    this.parts.onEvent({ kind: 'pull_trouble', stream: this.parts.stream, pool: this.parts.pool, reason });
  }
}

/** A message without payload is the server speaking of the request: a task is never empty. */
function statusOf(msg: Msg): { code: number; words: string } | undefined {
  if (msg.data.length > 0) return undefined;
  const { headers } = msg;
  return headers && headers.code > 0 ? { code: headers.code, words: headers.description } : undefined;
}

/** A drain or flush that a stalled server may hold up, but not for ever. */
async function within(act: Promise<void>): Promise<void> {
  await Promise.race([act.catch(() => undefined), sleep(limits.pullProbeMs, undefined, { ref: false })]);
}
