// One signal for everything that may end a request early, which remembers the reason.
//
// Not AbortSignal.any: on Node 20 a signal composed from a long-lived one is kept by it for as long as that lives.

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

/** The longest delay that setTimeout takes. */
const timerMsMax = 2_147_483_647;

export function cutoff(parents: readonly AbortSignal[], deadlineAtMs: number): Cutoff {
  const controller = new AbortController();
  const timers: NodeJS.Timeout[] = [];
  let why: CutoffReason | undefined;
  const cut = (reason: CutoffReason) => {
    why ??= reason;
    controller.abort();
  };
  const arm = (delayMs: number, reason: CutoffReason) => {
    if (delayMs <= 0) cut(reason);
    else if (delayMs <= timerMsMax) timers.push(setTimeout(() => cut(reason), delayMs));
  };
  const cancel = () => cut('cancelled');
  for (const parent of parents) {
    if (parent.aborted) cancel();
    else parent.addEventListener('abort', cancel, { once: true });
  }
  arm(deadlineAtMs - Date.now(), 'deadline');
  return {
    signal: controller.signal,
    get why() {
      return why;
    },
    limit: (timeoutMs) => arm(timeoutMs, 'timeout'),
    dispose() {
      for (const timer of timers) clearTimeout(timer);
      for (const parent of parents) parent.removeEventListener('abort', cancel);
    },
  };
}
