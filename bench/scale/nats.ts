// NATS: what every exchange with nats-server costs it, counted and booked. One server (a cell of the simulation) has one; each stream has
// besides a lane of its own, because a stream stores one message after the other.
//
// A wait below `graceMs` is none: then what waits goes on at once, and no event is spent on it.

import type { NatsCosts } from './inputs.js';
import type { Loop } from './loop.js';
import { station, type Station } from './station.js';

export const streams = ['GRM_REQ', 'GRM_WORK', 'GRM_META', 'GRM_RES', 'GRM_FIN', 'KV_GRM_CLUSTER'] as const;
export type Stream = (typeof streams)[number];

/** What messages are for, in the report. */
export const purposes = ['samples', 'meta', 'requests', 'pulls', 'reads', 'leases', 'cancels'] as const;
export type Purpose = (typeof purposes)[number];

export interface Traffic {
  messages: number;
  bytes: number;
}

const graceMs = 1;
/** A pull, an ack, a reply without a body: subject and protocol. */
const smallBytes = 100;

export class SimNats {
  readonly cpu: Station;
  readonly streams: Readonly<Record<Stream, Station>>;
  readonly traffic = Object.fromEntries(purposes.map((each) => [each, { messages: 0, bytes: 0 }])) as Record<
    Purpose,
    Traffic
  >;
  /** Bytes stored, by stream: what is removed later counts too. */
  readonly storedBytes = Object.fromEntries(streams.map((each) => [each, 0])) as Record<Stream, number>;

  constructor(
    private readonly loop: Loop,
    private readonly costs: NatsCosts,
  ) {
    this.cpu = station('nats CPU', loop, costs.cores);
    this.streams = Object.fromEntries(streams.map((each) => [each, station(each, loop)])) as Record<Stream, Station>;
  }

  /**
   * Stores a message; resolves when the publisher has its ack. `notices` is how many hear of it besides.
   * @param then runs at that time too, before the publisher hears
   */
  store<T>(stream: Stream, purpose: Purpose, bytes: number, notices: number, then: () => T): Promise<T> {
    const { store, storeKiB, replicaFactor } = this.costs;
    const storing = ((store + (storeKiB * bytes) / 1024) * replicaFactor) / 1e3;
    this.storedBytes[stream] += bytes;
    const message = this.#messages(purpose, 2 + notices, bytes * (1 + notices) + smallBytes);
    const waitMs = Math.max(this.cpu.book(storing + message), this.streams[stream].book(storing));
    return this.#later(waitMs, then);
  }

  /** `count` direct reads or API calls at once, with `bytes` of answers in all. */
  read<T>(purpose: Purpose, count: number, bytes: number, then: () => T): Promise<T> {
    if (count === 0) return Promise.resolve().then(then);
    const message = this.#messages(purpose, 2 * count, bytes + 2 * smallBytes * count);
    return this.#later(this.cpu.book(message + (count * this.costs.read) / 1e3), then);
  }

  /** Tasks handed out in `looks` pulls; their acks are booked with them. */
  hand<T>(stream: Stream, looks: number, tasks: number, bytes: number, then: () => T): Promise<T> {
    // A look at an empty class is a request and a word; one that serves is a request and the tasks.
    const emptyLooks = tasks > 0 ? looks - 1 : looks;
    const messages = looks + emptyLooks + 2 * tasks;
    const message = this.#messages('pulls', messages, smallBytes * (messages - tasks) + bytes);
    const consume = (tasks * this.costs.consume) / 1e3;
    const waitMs = Math.max(this.cpu.book(message + consume), this.streams[stream].book(consume));
    return this.#later(waitMs + (looks - 1) * this.costs.rttMs, then);
  }

  /** Messages that nobody waits for. */
  say(purpose: Purpose, count: number, bytes: number): void {
    this.cpu.book(this.#messages(purpose, count, bytes * count));
  }

  #messages(purpose: Purpose, count: number, bytes: number): number {
    const traffic = this.traffic[purpose];
    traffic.messages += count;
    traffic.bytes += bytes;
    return (count * this.costs.message) / 1e3;
  }

  #later<T>(waitMs: number, then: () => T): Promise<T> {
    const inMs = waitMs + this.costs.rttMs;
    if (inMs < graceMs) return Promise.resolve().then(then);
    return new Promise((resolve) => this.loop.after(inMs, () => resolve(then())));
  }
}
