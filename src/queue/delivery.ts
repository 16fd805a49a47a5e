// Delivery: one message of a work queue in a worker's hands. Its reply subject is where acks go, and tells how often it was delivered.

import type { Msg } from '@nats-io/transport-node';
import { classes, type Class } from '../grm/query.js';
import type { OnQueueEvent } from './events.js';
import type { Delivery } from './queue.js';
import { nanos } from './streams.js';
import { parseWorkSubject } from './subjects.js';

/** Sends an ack; kept and sent again when NATS is away for a moment. */
export type SendAck = (reply: string, body: Uint8Array) => void;

const encoder = new TextEncoder();
const bodies = {
  ack: encoder.encode('+ACK'),
  nak: encoder.encode('-NAK'),
  working: encoder.encode('+WPI'),
  /** Bare: before 2.10.10 a reason makes the server ignore it. */
  term: encoder.encode('+TERM'),
};

export class JetStreamDelivery<T> implements Delivery<T> {
  readonly task: T | undefined;
  readonly label: string;
  readonly requestId: string;
  readonly class: Class;
  readonly deliveries: number;
  private settled = false;

  constructor(
    msg: Msg,
    decode: (bytes: Uint8Array) => T,
    private readonly sendAck: SendAck,
    onEvent: OnQueueEvent,
  ) {
    this.reply = msg.reply ?? '';
    this.deliveries = deliveriesOf(this.reply);
    this.label = `${msg.subject} (${msg.data.length} bytes)`;
    const parsed = parseWorkSubject(msg.subject);
    this.requestId = parsed?.requestId ?? '';
    this.class = classes.find((cls) => cls === parsed?.class) ?? 'batch';
    try {
      this.task = decode(msg.data);
    } catch (error) {
      const reason = error instanceof Error ? error.message : String(error);
      onEvent({ kind: 'undecodable', label: this.label, reason });
    }
  }

  private readonly reply: string;

  ack(): void {
    this.settle(bodies.ack);
  }

  nak(delayMs: number): void {
    if (delayMs <= 0) this.settle(bodies.nak);
    else this.settle(encoder.encode(`-NAK {"delay": ${Math.round(nanos(delayMs))}}`));
  }

  term(): void {
    this.settle(bodies.term);
  }

  working(): void {
    if (!this.settled) this.sendAck(this.reply, bodies.working);
  }

  /** The first settling counts: a timer that fires late must not undo an ack. */
  private settle(body: Uint8Array): void {
    if (this.settled) return;
    this.settled = true;
    this.sendAck(this.reply, body);
  }
}

/**
 * `$JS.ACK.<stream>.<consumer>.<deliveries>.<stream seq>.<consumer seq>.<time>.<pending>`; servers that know domains put
 * `<domain>.<account>` after ACK.
 */
function deliveriesOf(reply: string): number {
  const tokens = reply.split('.');
  return Number(tokens[tokens.length >= 11 ? 6 : 4] ?? 1) || 1;
}
