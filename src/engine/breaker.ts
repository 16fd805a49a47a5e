// Breaker: whether an engine gets work. Pure: what happens comes as events, the time and the chance as parameters; engine/attribution.ts
// decides what happens, and makes the probes.
//
//   closed    broken -> open      busy, for the limits.breakerBusyMax-th time in a row -> open      succeeded -> closed, unharmed
//   open      due -> probing
//   probing   passed -> closed    failed -> open
//   whatever else a state hears changes nothing: work that was under way when it opened ends as it may
//
//   B1. An engine serves while its breaker is closed, and never otherwise.
//   B2. Only a probe that passed closes it.
//   B3. The wait before a probe doubles from breakerWaitMsMin to breakerWaitMsMax with each opening; jitter takes off up to half of it and never
//       adds. It is never shorter than what the engine asked for.
//   B4. Only work that succeeded makes the next wait the shortest again: an engine that passes its probes and fails its work is tried ever
//       less often.

import { limits } from '../limits.js';
import type { EngineTrouble } from './engine.js';

/** What keeps an engine from its work. */
export interface Outage {
  readonly cause: EngineTrouble;
  readonly reason: string;
  readonly retryAfterMs?: number;
}

export type Breaker =
  | { readonly kind: 'closed'; readonly openings: number; readonly busyInARow: number }
  | {
      readonly kind: 'open';
      readonly openings: number;
      readonly outage: Outage;
      /** Since when it serves nothing. */
      readonly sinceMs: number;
      readonly probeAtMs: number;
    }
  | { readonly kind: 'probing'; readonly openings: number; readonly outage: Outage; readonly sinceMs: number };

export type BreakerEvent =
  /** A sample or a text came back as it should. */
  | { readonly kind: 'succeeded' }
  /** The engine turned work away for now. */
  | { readonly kind: 'busy'; readonly outage: Outage }
  /** Work failed, and so did a probe. */
  | { readonly kind: 'broken'; readonly outage: Outage }
  | { readonly kind: 'due' }
  | { readonly kind: 'passed' }
  | { readonly kind: 'failed'; readonly outage: Outage };

/** `openings` of a breaker: since work last succeeded. */
export const closedBreaker: Breaker = { kind: 'closed', openings: 0, busyInARow: 0 };

/** @param chance 0..1, for the jitter */
export function nextBreaker(state: Breaker, event: BreakerEvent, nowMs: number, chance: number): Breaker {
  switch (state.kind) {
    case 'closed':
      if (event.kind === 'succeeded') return closedBreaker;
      if (event.kind === 'broken') return opened(state.openings + 1, event.outage, nowMs, nowMs, chance);
      if (event.kind !== 'busy') return state;
      if (state.busyInARow + 1 < limits.breakerBusyMax) return { ...state, busyInARow: state.busyInARow + 1 };
      return opened(state.openings + 1, event.outage, nowMs, nowMs, chance);
    case 'open':
      return event.kind === 'due' ? { ...withoutTime(state), kind: 'probing' } : state;
    case 'probing':
      if (event.kind === 'passed') return { kind: 'closed', openings: state.openings, busyInARow: 0 };
      if (event.kind === 'failed') return opened(state.openings + 1, event.outage, state.sinceMs, nowMs, chance);
      return state;
  }
}

function opened(openings: number, outage: Outage, sinceMs: number, nowMs: number, chance: number): Breaker {
  // 2 ** 31 milliseconds is past any bound; without this one the power would overflow.
  const fullMs = Math.min(limits.breakerWaitMsMax, limits.breakerWaitMsMin * 2 ** Math.min(openings - 1, 31));
  const waitMs = Math.max(Math.round(fullMs * (1 - chance / 2)), outage.retryAfterMs ?? 0);
  return { kind: 'open', openings, outage, sinceMs, probeAtMs: nowMs + waitMs };
}

function withoutTime({ openings, outage, sinceMs }: Extract<Breaker, { kind: 'open' }>) {
  return { openings, outage, sinceMs };
}
