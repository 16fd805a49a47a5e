// One signal for everything that may end a request early, which remembers the reason.
//
// Not AbortSignal.any: on Node 20 a signal composed from a long-lived one is kept by it for as long as that lives.

import { steadyAfter, steadyNow } from '../process/clock.js';

export type CutoffReason = 'cancelled' | 'deadline' | 'timeout';

export interface Cutoff {
  readonly signal: AbortSignal;
  /** Why the signal aborted; undefined while it has not. */
  readonly why: CutoffReason | undefined;
  /** Starts the clock of one attempt. */
  limit(timeoutMs: number): void;
  /** Lets go of the parents and the timers. */
  dispose(): void;
}

/** @param deadlineAtMs told by steadyNow */
export function cutoff(parents: readonly AbortSignal[], deadlineAtMs: number): Cutoff {
  const controller = new AbortController();
  const timers: (() => void)[] = [];
  let why: CutoffReason | undefined;
  const cut = (reason: CutoffReason) => {
    why ??= reason;
    controller.abort();
  };
  const arm = (delayMs: number, reason: CutoffReason) => {
    if (delayMs <= 0) cut(reason);
    else timers.push(steadyAfter(delayMs, () => cut(reason)));
  };
  const cancel = () => cut('cancelled');
  for (const parent of parents) {
    if (parent.aborted) cancel();
    else parent.addEventListener('abort', cancel, { once: true });
  }
  arm(deadlineAtMs - steadyNow(), 'deadline');
  return {
    signal: controller.signal,
    get why() {
      return why;
    },
    limit: (timeoutMs) => arm(timeoutMs, 'timeout'),
    dispose() {
      for (const end of timers) end();
      for (const parent of parents) parent.removeEventListener('abort', cancel);
    },
  };
}
