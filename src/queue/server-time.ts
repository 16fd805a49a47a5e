// Server time: the clock of the NATS server as this process knows it. Every instant that crosses from one process to another is told in it,
// so that no clock of ours matters.
//
//   C1. Between two readings it goes on at the pace of the steady clock: a step of the system's clock changes nothing.
//   C2. A reading is right within half of its round trip. One that agrees with what is known replaces it where it is more exact, for what is
//       known grows less exact with time. One that contradicts it holds at once: the server's clock was set, another server leads, or this
//       machine slept.
//   C3. Before the first reading it is the system's own clock, and `state` says so: whoever works by it takes no work until then.

import type { Clock } from '../process/clock.js';

export interface Reading {
  /** What the server's clock showed, milliseconds since the Unix epoch, ... */
  readonly serverMs: number;
  /** ... when our steady clock showed this, ... */
  readonly steadyMs: number;
  /** ... give or take. */
  readonly errorMs: number;
}

export type ClockState =
  | { readonly kind: 'unread'; readonly why: string }
  /** NATS does not let this user read its clock: our own is all there is. */
  | { readonly kind: 'denied'; readonly why: string }
  /** `skewMs`: this machine's clock less the server's. */
  | { readonly kind: 'read'; readonly skewMs: number; readonly errorMs: number };

export interface ServerTimeParts {
  readonly base: Pick<Clock, 'steadyNow' | 'after'>;
  /** The system's clock, milliseconds since the Unix epoch. */
  readonly systemNow: () => number;
}

/** Quartz is off by less than 100 parts in a million, and NTP slews by 500 at the most. */
const driftRatio = 0.0005;

export class ServerTime implements Clock {
  /** Server's clock less our steady one. */
  #offsetMs: number;
  #known: { readonly errorMs: number; readonly atMs: number } | undefined;
  #trouble: Exclude<ClockState, { kind: 'read' }> = { kind: 'unread', why: 'it has not been asked for yet' };

  constructor(private readonly parts: ServerTimeParts) {
    this.#offsetMs = parts.systemNow() - parts.base.steadyNow();
  }

  /** Whole milliseconds: names are made of it. */
  now(): number {
    return Math.round(this.parts.base.steadyNow() + this.#offsetMs);
  }

  steadyNow(): number {
    return this.parts.base.steadyNow();
  }

  after(delayMs: number, run: () => void): () => void {
    return this.parts.base.after(delayMs, run);
  }

  /** C2. */
  take({ serverMs, steadyMs, errorMs }: Reading): void {
    const offsetMs = serverMs - steadyMs;
    const knownErrorMs = this.#errorMs();
    const agrees = Math.abs(offsetMs - this.#offsetMs) <= knownErrorMs + errorMs;
    if (agrees && errorMs >= knownErrorMs) return;
    this.#offsetMs = offsetMs;
    this.#known = { errorMs, atMs: steadyMs };
  }

  /** A reading failed. What is known stays. */
  failed(trouble: Exclude<ClockState, { kind: 'read' }>): void {
    this.#trouble = trouble;
  }

  state(): ClockState {
    if (!this.#known) return this.#trouble;
    return { kind: 'read', skewMs: this.systemLessServerMs(), errorMs: this.#errorMs() };
  }

  /** This machine's clock less the server's, as far as that is known. */
  systemLessServerMs(): number {
    return Math.round(this.parts.systemNow() - this.now());
  }

  /** How far the system's clock is ahead of the steady one: it changes when somebody sets the clock, and when the machine slept. */
  systemAheadMs(): number {
    return this.parts.systemNow() - this.parts.base.steadyNow();
  }

  #errorMs(): number {
    if (!this.#known) return Infinity;
    return this.#known.errorMs + driftRatio * Math.max(0, this.parts.base.steadyNow() - this.#known.atMs);
  }
}

/**
 * Why a process with such a clock takes no work; undefined when it may. The deadlines would be right all the same: but a machine that is so
 * far off has a clock that was never set, and what it says in logs, and of certificates, is wrong.
 */
export function clockRefusal(state: ClockState, skewMsMax: number): string | undefined {
  switch (state.kind) {
    case 'unread':
      return `the time of NATS is not known: ${state.why}`;
    case 'denied':
      return undefined;
    case 'read':
      if (Math.abs(state.skewMs) <= skewMsMax) return undefined;
      return `this machine's clock is ${skewText(state.skewMs)} NATS's, and more than ${spanText(skewMsMax)} is not worked with: set it (NTP)`;
  }
}

/** "3.2 s ahead of", "1.0 h behind" */
export function skewText(skewMs: number): string {
  return `${spanText(Math.abs(skewMs))} ${skewMs < 0 ? 'behind' : 'ahead of'}`;
}

function spanText(ms: number): string {
  if (ms < 1_000) return `${Math.round(ms)} ms`;
  if (ms < 120_000) return `${(ms / 1_000).toFixed(1)} s`;
  if (ms < 2 * 3_600_000) return `${(ms / 60_000).toFixed(1)} min`;
  return ms < 48 * 3_600_000 ? `${(ms / 3_600_000).toFixed(1)} h` : `${(ms / 86_400_000).toFixed(1)} days`;
}
