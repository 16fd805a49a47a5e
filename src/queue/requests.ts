// Requests: many requests in flight over one inbox subscription and one map. The library's own request costs three times as much
// (measured), and every ledger write and read passes here.
//
//   R1. `done` is called exactly once per request: with the reply, or with why there is none.
//   R2. A request ends within its time; a lost connection ends all at once.
//   R3. What the server refuses this user ends at once and is not tried again.

import { headers as newHeaders, type Msg, type MsgHdrs } from '@nats-io/transport-node';
import { setTimeout as sleep } from 'node:timers/promises';
import { fault, FaultError } from '../fault.js';
import { limits } from '../limits.js';
import { steadyNow } from '../process/clock.js';
import { deniedFault, type Denied, type Link } from './link.js';

export type Reply =
  | { readonly kind: 'message'; readonly msg: Msg }
  | { readonly kind: 'none'; readonly why: 'no_responders' | 'timeout' | 'disconnected' }
  | { readonly kind: 'denied'; readonly denied: Denied };

interface Waiting {
  readonly subject: string;
  readonly expiresAtMs: number;
  readonly done: (reply: Reply) => void;
}

const timeout: Reply = { kind: 'none', why: 'timeout' };
const noResponders: Reply = { kind: 'none', why: 'no_responders' };
const disconnected: Reply = { kind: 'none', why: 'disconnected' };
const tickMs = 50;
/** NATS counts headers into max_payload; ours hold one id, and the server's republishing adds four. */
const headerBytesMax = 1_024;
const empty = new Uint8Array(0);

export class Requests {
  private readonly waiting = new Map<string, Waiting>();
  private readonly prefix: string;
  private next = 0;
  private timer: NodeJS.Timeout | undefined;
  /** Our own inbox is refused: no answer can come. */
  private deaf: Denied | undefined;

  private constructor(private readonly link: Link) {
    this.prefix = `${link.inbox}.r.`;
  }

  static open(link: Link): Requests {
    const requests = new Requests(link);
    link.subscribe(`${requests.prefix}*`, (msg) => {
      requests.answer(msg);
    });
    link.onChange((state) => {
      requests.deaf = undefined;
      if (state === 'disconnected') requests.endAll(disconnected);
    });
    link.onDenied((denied) => {
      requests.hearDenied(denied);
    });
    return requests;
  }

  /** One try. */
  ask(subject: string, data: Uint8Array, timeoutMs: number, headers?: MsgHdrs): Promise<Reply> {
    this.assertFits(subject, data);
    if (!this.link.connected()) return Promise.resolve(disconnected);
    if (this.deaf) return Promise.resolve({ kind: 'denied', denied: this.deaf });
    return new Promise((done) => {
      const id = (this.next++).toString(36);
      this.waiting.set(id, { subject, expiresAtMs: steadyNow() + timeoutMs, done });
      this.timer ??= setInterval(() => {
        this.expire();
      }, tickMs);
      const reply = this.prefix + id;
      this.link.publish(subject, data, headers ? { reply, headers } : { reply });
    });
  }

  /** Repeats `ask` while NATS is away, up to limits.queueCallTriesMax; throws FaultError at the end (Q4): queue_unavailable, or permission_denied. */
  async call(subject: string, data: Uint8Array = empty): Promise<Msg> {
    for (let tries = 1; ; tries += 1) {
      const reply = await this.ask(subject, data, limits.queueCallMs);
      if (reply.kind === 'message') return reply.msg;
      if (reply.kind === 'denied') throw deniedFault(reply.denied);
      if (tries >= limits.queueCallTriesMax) {
        throw new FaultError(fault('queue_unavailable', `NATS did not answer ${subject}: ${reply.why}`));
      }
      if (reply.why === 'disconnected') await this.link.whenConnected(limits.queueCallMs);
      else if (reply.why === 'no_responders') await sleep(100 * 2 ** tries);
    }
  }

  /** Resolves once the server has handled what was sent before, or after limits.queueCallMs. */
  async flush(): Promise<void> {
    await Promise.race([
      this.link.flush().catch(() => undefined),
      sleep(limits.queueCallMs, undefined, { ref: false }),
    ]);
  }

  private assertFits(subject: string, data: Uint8Array): void {
    const bytesMax = (this.link.nc.info?.max_payload ?? limits.natsPayloadBytesMax) - headerBytesMax;
    if (data.length <= bytesMax) return;
    const words = `${subject}: ${data.length} bytes do not fit nats-server's max_payload; set it to 1 MiB or more`;
    throw new FaultError(fault('failed_precondition', words));
  }

  private answer(msg: Msg): void {
    const id = msg.subject.slice(this.prefix.length);
    const unanswered = msg.data.length === 0 && msg.headers?.code === 503;
    this.end(id, unanswered ? noResponders : { kind: 'message', msg });
  }

  private end(id: string, reply: Reply): void {
    const waiting = this.waiting.get(id);
    if (!waiting) return; // its time was over
    this.waiting.delete(id);
    waiting.done(reply);
  }

  private hearDenied(denied: Denied): void {
    const { operation, subject } = denied;
    if (operation === 'subscription') {
      if (subject !== `${this.prefix}*`) return;
      this.deaf = denied;
      this.endAll({ kind: 'denied', denied });
      return;
    }
    for (const [id, waiting] of this.waiting) if (waiting.subject === subject) this.end(id, { kind: 'denied', denied });
  }

  private expire(): void {
    const now = steadyNow();
    for (const [id, { expiresAtMs }] of this.waiting) if (expiresAtMs <= now) this.end(id, timeout);
    if (this.waiting.size > 0) return;
    clearInterval(this.timer);
    this.timer = undefined;
  }

  private endAll(reply: Reply): void {
    for (const id of [...this.waiting.keys()]) this.end(id, reply);
    clearInterval(this.timer);
    this.timer = undefined;
  }
}

export function messageIdHeader(id: string): MsgHdrs {
  const headers = newHeaders();
  headers.set('Nats-Msg-Id', id);
  return headers;
}
