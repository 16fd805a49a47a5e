// Clock: time as a parameter. The real ones here and in queue/server-time.ts; a virtual one drives the simulation.
//
//   K1. `after` and `steadyNow` are steady: a step of the system's clock (NTP, an operator, a resumed machine) moves neither.
//   K2. What lasts inside one process is measured with `steadyNow`. An instant that another process reads is told by `now`, which processes
//       of a cluster take from NATS.

export interface Clock {
  /** Milliseconds since the Unix epoch. It may be corrected, and then jumps. */
  now(): number;
  /** Milliseconds since some beginning, which differs from process to process. It only ever moves forward, at its own pace. */
  steadyNow(): number;
  /** Calls back once after `delayMs`; the returned function cancels it. */
  after(delayMs: number, run: () => void): () => void;
}

/** Longest delay that Node's timers take: a longer one would fire at once. */
const timerMsMax = 2 ** 31 - 1;

const beginMs = Date.now() - performance.now();

/** Milliseconds since the Unix epoch as the system's clock showed it when this process began: for durations and deadlines inside the process. */
export function steadyNow(): number {
  return Math.floor(beginMs + performance.now());
}

/** setTimeout for any delay. The returned function cancels it. */
export function steadyAfter(delayMs: number, run: () => void): () => void {
  let leftMs = Math.max(0, delayMs);
  let timer: NodeJS.Timeout | undefined;
  const arm = (): void => {
    const nowMs = Math.min(leftMs, timerMsMax);
    leftMs -= nowMs;
    timer = setTimeout(leftMs > 0 ? arm : run, nowMs);
  };
  // Without end: there is nothing to wait for.
  if (leftMs === Infinity) return () => undefined;
  arm();
  return () => clearTimeout(timer);
}

/** The clock of a process that shares no instant with others. */
export const systemClock: Clock = { now: steadyNow, steadyNow, after: steadyAfter };

/** The instant `atMs` of `clock.now`, told by `clock.steadyNow`. */
export function steadyAt(clock: Clock, atMs: number): number {
  return clock.steadyNow() + (atMs - clock.now());
}

/** An instant of `steadyNow`, told by the system's clock: for libraries that take a Date. */
export function systemAt(steadyMs: number): number {
  return Date.now() + (steadyMs - steadyNow());
}

/** Resolves after `delayMs`, or at once when `signal` aborts. Never rejects. */
export function sleep(clock: Pick<Clock, 'after'>, delayMs: number, signal?: AbortSignal): Promise<void> {
  if (signal?.aborted) return Promise.resolve();
  return new Promise((resolve) => {
    const wake = (): void => {
      cancel();
      signal?.removeEventListener('abort', wake);
      resolve();
    };
    const cancel = clock.after(delayMs, wake);
    signal?.addEventListener('abort', wake);
  });
}
