// Supervision: whether and when a failed actor starts again. Pure.
//
//   S1. An actor that never stays up is started at most 1 + restartsMax times; restartsMax = -1 means without end.
//   S2. The wait doubles from backoffBaseMs to backoffCapMs; jitter takes off up to half of it and never adds.
//   S3. An actor that was alive for stableMs begins again with all its restarts and the shortest wait.
//   S4. The same actor's n-th wait is always the same; different actors wait differently, so a node's engines do not load models in step.

export interface RestartPolicy {
  /** Restarts after failures in a row; -1 for no end. */
  readonly restartsMax: number;
  readonly backoffBaseMs: number;
  readonly backoffCapMs: number;
  /** Alive for this long counts as recovered. */
  readonly stableMs: number;
}

export const restartDefaults = {
  backoffBaseMs: 1_000,
  backoffCapMs: 60_000,
  /** Ten health checks of ten seconds: longer than the longest back-off. */
  stableMs: 100_000,
} as const;

/** Failures in a row so far. */
export interface RestartHistory {
  readonly failures: number;
}

export const unharmed: RestartHistory = { failures: 0 };

export type Judgement =
  | { readonly kind: 'restart'; readonly delayMs: number; readonly history: RestartHistory }
  | { readonly kind: 'give_up'; readonly history: RestartHistory };

/** What to do after a failure. `aliveMs`: how long it had been alive; 0 when it did not come up. `seed`: the actor's id. */
export function judge(policy: RestartPolicy, history: RestartHistory, aliveMs: number, seed: string): Judgement {
  const failures = (aliveMs >= policy.stableMs ? 0 : history.failures) + 1;
  if (policy.restartsMax >= 0 && failures > policy.restartsMax) return { kind: 'give_up', history: { failures } };
  return { kind: 'restart', delayMs: backoffMs(policy, failures, seed), history: { failures } };
}

/** The wait before the restart that follows the `failures`-th failure in a row. */
export function backoffMs(policy: RestartPolicy, failures: number, seed: string): number {
  // 2 ** 31 milliseconds is past any cap; without this bound the power overflows to Infinity for an actor that fails for days.
  const full = Math.min(policy.backoffCapMs, policy.backoffBaseMs * 2 ** Math.min(failures - 1, 31));
  return Math.round(full * (1 - jitter(`${seed}:${failures}`) / 2));
}

/** A number in [0, 1) that depends on the text alone: FNV-1a, mixed once more because its low bits follow the last character. */
function jitter(text: string): number {
  let hash = 0x811c9dc5;
  for (let at = 0; at < text.length; at++) hash = Math.imul(hash ^ text.charCodeAt(at), 0x01000193);
  hash = Math.imul(hash ^ (hash >>> 16), 0x85ebca6b);
  hash = Math.imul(hash ^ (hash >>> 13), 0xc2b2ae35);
  return ((hash ^ (hash >>> 16)) >>> 0) / 2 ** 32;
}
