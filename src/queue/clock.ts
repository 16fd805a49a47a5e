// Clock: how far the server's clock is from ours, read off the time stamp of a message stored for that purpose.

import type { Link } from './link.js';
import type { Publisher } from './publisher.js';
import type { Requests } from './requests.js';
import { subjects } from './subjects.js';

/** Clocks drift by well under a millisecond in this time. */
const keepMs = 30_000;

export class Clock {
  private known: { readonly skewMs: number; readonly atMs: number } | undefined;

  constructor(
    private readonly link: Link,
    private readonly requests: Requests,
    private readonly publisher: Publisher,
  ) {}

  /** Server less ours, milliseconds; at most `keepMs` old. */
  async skewMs(): Promise<number> {
    if (this.known && Date.now() - this.known.atMs < keepMs) return this.known.skewMs;
    return this.measure();
  }

  /** Half of the round trip is the error. */
  async measure(): Promise<number> {
    const subject = subjects.clock(this.link.id);
    const beforeMs = Date.now();
    await this.publisher.publish(subject, new Uint8Array(1));
    const afterMs = Date.now();
    const msg = await this.requests.call(`$JS.API.DIRECT.GET.KV_GRM_CLUSTER.${subject}`);
    const storedAtMs = Date.parse(msg.headers?.get('Nats-Time-Stamp') ?? '');
    // Gone already (a very short lease), or from a replica that lags behind: no measurement is better than a wrong one.
    if (Number.isNaN(storedAtMs)) return this.known?.skewMs ?? 0;
    this.known = { skewMs: storedAtMs - (beforeMs + afterMs) / 2, atMs: Date.now() };
    return this.known.skewMs;
  }
}
