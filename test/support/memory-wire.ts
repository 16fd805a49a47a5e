// The wire of the queue model: how one process reaches the server, and what the weather does to what crosses it.

import { FaultError, fault } from '../../src/fault.js';
import { limits } from '../../src/limits.js';
import type { Clock } from '../../src/process/clock.js';
import type { Follower } from '../../src/queue/queue.js';
import type { ControlHub } from './memory-control.js';
import type { MemoryStream } from './memory-stream.js';
import type { Handed, MemoryWork, Settling } from './memory-work.js';

/** One crossing of the wire. `refused`: nothing happened; `unanswered`: it happened and the caller does not learn it. Both are told as queue_unavailable. */
export type Crossing =
  | { readonly kind: 'ok'; readonly toMs?: number; readonly backMs?: number }
  | { readonly kind: 'refused' | 'unanswered'; readonly afterMs?: number };

/** What may go wrong between a client and the server. Each is asked once per crossing, so a seeded weather replays. Absent: all is well, at once. */
export interface Weather {
  readonly call?: (client: string, what: string) => Crossing;
  /** Whether a read comes to a replica that does not have the message yet. */
  readonly stale?: (client: string, what: string) => boolean;
  /** A notice to one follower or listener: the delays after which it arrives; none = it is lost, two = it comes twice. */
  readonly notice?: (client: string, what: string) => readonly number[];
  /** An ack, nak, term or renewal: the delay after which it arrives; undefined = it is lost. */
  readonly settle?: (client: string, how: Settling) => number | undefined;
}

/** What the server did with a message of a stream, and for whom. `changed`: a message was replaced by another; `missed`: a replica did not have it yet. */
export interface Seen {
  readonly client: string;
  readonly how: 'stored' | 'changed' | 'purged' | 'read' | 'missed';
  readonly subject: string;
  /** Absent when it is gone, or was not there. */
  readonly bytes?: Uint8Array;
}

export interface Follow {
  readonly wire: Wire;
  readonly follower: Follower;
}

/** What is on the server's side; `up` is the weather's. */
export interface Server {
  readonly clock: Clock;
  readonly weather: Weather;
  readonly pullExpiresMs: number;
  readonly requests: MemoryStream;
  readonly results: MemoryStream;
  readonly verdicts: MemoryStream;
  readonly templates: MemoryStream;
  readonly dead: MemoryStream;
  readonly work: MemoryWork;
  /** A writer that is refused in a lane goes on without having read what is there: for tests that must find out. */
  readonly blind: boolean;
  readonly hub: ControlHub;
  /** By request. */
  readonly followers: Map<string, Set<Follow>>;
  up: boolean;
  /** Whose call the server is at. */
  client: string;
  readonly hearers: Set<(state: 'connected' | 'disconnected') => void>;
}

/** What the real client rides out before it gives up (Q4). */
const patienceMs = {
  read: limits.queueCallMs * limits.queueCallTriesMax,
  write: limits.publishForMs,
};
/** What a dead process waits for: a promise of its own, because one for all would keep everybody who ever waited. */
export const never = (): Promise<never> => new Promise<never>(() => undefined);

/** One process's way to the server. */
export class Wire {
  #dead = false;

  constructor(
    readonly client: string,
    readonly server: Server,
    /** What comes to the process goes through here; a process that stands still takes it later. */
    readonly enter: (run: () => void) => void = (run) => run(),
  ) {}

  get clock(): Clock {
    return this.server.clock;
  }

  kill(): void {
    this.#dead = true;
  }

  get dead(): boolean {
    return this.#dead;
  }

  async call<T>(what: string, act: () => T): Promise<T> {
    const { weather } = this.server;
    await this.#whenUp(what);
    const crossing = weather.call?.(this.client, what) ?? { kind: 'ok' };
    if (crossing.kind === 'refused') {
      await this.#pass(crossing.afterMs);
      throw unavailable(what);
    }
    if (crossing.kind === 'ok' && crossing.toMs !== undefined) await this.#travel(crossing.toMs);
    this.server.client = this.client;
    const result = act();
    await this.#pass(crossing.kind === 'ok' ? crossing.backMs : crossing.afterMs);
    if (crossing.kind === 'unanswered') throw unavailable(what);
    return result;
  }

  notice(what: string, arrive: () => void): void {
    const { weather, clock } = this.server;
    for (const delayMs of weather.notice?.(this.client, what) ?? [0]) {
      const deliver = (): void => {
        this.enter(() => {
          if (!this.#dead) arrive();
        });
      };
      if (delayMs > 0) clock.after(delayMs, deliver);
      else queueMicrotask(deliver);
    }
  }

  settle(handed: Handed, how: Settling, nakDelayMs: number): void {
    const { weather, clock } = this.server;
    if (this.#dead) return;
    const delayMs = weather.settle ? weather.settle(this.client, how) : 0;
    if (delayMs === undefined) return;
    if (delayMs > 0) clock.after(delayMs, () => handed.settle(how, nakDelayMs));
    else handed.settle(how, nakDelayMs);
  }

  async #whenUp(what: string): Promise<void> {
    const { clock, hearers } = this.server;
    const isUp = (): boolean => this.server.up;
    if (isUp()) return;
    const boundMs = what.startsWith('put') || what === 'accept' ? patienceMs.write : patienceMs.read;
    await new Promise<void>((resolve) => {
      const end = (): void => {
        cancel();
        hearers.delete(end);
        this.enter(resolve);
      };
      const cancel = clock.after(boundMs, end);
      hearers.add(end);
    });
    if (!isUp()) throw unavailable(what);
  }

  /** The way to the server. */
  async #travel(ms: number): Promise<void> {
    if (ms > 0) await new Promise<void>((resolve) => void this.server.clock.after(ms, resolve));
    if (this.#dead) await never();
  }

  /** The way back. A dead process never sees the other end. */
  async #pass(ms = 0): Promise<void> {
    const { clock } = this.server;
    await new Promise<void>((resolve) => {
      if (ms > 0) clock.after(ms, () => this.enter(resolve));
      else this.enter(resolve);
    });
    if (this.#dead) await never();
  }
}

export function unavailable(what: string): FaultError {
  return new FaultError(fault('queue_unavailable', `NATS does not answer ${what}`));
}
