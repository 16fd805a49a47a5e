// Retry: when the client tries again. Pure.
//
//   RT1. Only what the service calls UNAVAILABLE or RESOURCE_EXHAUSTED is tried again: then nothing was lost, and the same request is the
//        same request (by its key, or by the hash of its content and options), so no sample is paid for twice.
//   RT2. A delay that the server asked for is kept; without one the delay doubles from try to try. Both are jittered.
//   RT3. Tries end: an unreachable or draining service after `triesMax`, a shedding one at the deadline, which always exists.
//   RT4. `patienceMs` is the longest that the delays of those tries can last in all, so it can be told how long is left.

import { faults, type Fault } from '../fault.js';

export interface RetryPolicy {
  /** Tries of one call that finds the service UNAVAILABLE, the first included. */
  readonly triesMax: number;
  /** Before the second try; doubles from there. */
  readonly backoffMs: number;
  readonly backoffMsMax: number;
}

/** About a minute in all: a coordinator's restart, or a leader election of NATS. */
export const retryDefaults: RetryPolicy = { triesMax: 16, backoffMs: 100, backoffMsMax: 5_000 };

/** The delays that are still to come when so many tries have failed (RT4). */
export function patienceMs({ triesMax, backoffMs, backoffMsMax }: RetryPolicy, tries = 1): number {
  let sumMs = 0;
  for (let at = Math.max(1, tries); at < triesMax; at++) {
    const delayMs = backoffMs * 2 ** Math.min(at - 1, 30);
    if (delayMs >= backoffMsMax) return sumMs + (triesMax - at) * backoffMsMax;
    sumMs += delayMs;
  }
  return sumMs;
}

export type NextTry = { readonly kind: 'after'; readonly delayMs: number } | { readonly kind: 'never' };

const never: NextTry = { kind: 'never' };

/** `tries` are those that failed; `leftMs` is the time to the deadline; `random` gives [0, 1). */
export function nextTry(it: Fault, tries: number, leftMs: number, policy: RetryPolicy, random: () => number): NextTry {
  const { grpc } = faults[it.kind];
  if (grpc !== 'UNAVAILABLE' && grpc !== 'RESOURCE_EXHAUSTED') return never;
  if (grpc === 'UNAVAILABLE' && tries >= policy.triesMax) return never;
  const ownMs = Math.min(policy.backoffMsMax, policy.backoffMs * 2 ** Math.min(tries - 1, 30)) * (0.5 + random() / 2);
  const askedMs = (it.retryAfterMs ?? 0) * (1 + random() / 4);
  const delayMs = Math.max(ownMs, askedMs);
  return delayMs < leftMs ? { kind: 'after', delayMs } : never;
}
