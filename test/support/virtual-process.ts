// One process in virtual time: a system clock of its own, which may be wrong and be set, the time that it works by, and a gate through which
// everything reaches it: timers, replies, notices.
//
//   stall    nothing of it runs; what comes meanwhile waits at the gate (SIGSTOP, a long pause of the machine)
//   resume   what waited runs, in its order
//   kill     nothing of it runs any more; what comes is lost (SIGKILL)

import type { Clock } from '../../src/process/clock.js';

export class VirtualProcess implements Clock {
  readonly #waiting: (() => void)[] = [];
  readonly #timers = new Set<() => void>();
  #state: 'runs' | 'stalled' | 'dead' = 'runs';
  #silentSinceMs: number | undefined;
  /** What it works by; absent: its system's clock. */
  time: Pick<Clock, 'now'> | undefined;

  constructor(
    private readonly world: Clock,
    /** Its system's clock less the world's, milliseconds. */
    public skewMs = 0,
  ) {}

  get state(): 'runs' | 'stalled' | 'dead' {
    return this.#state;
  }

  /** In the world's time; undefined while it runs. */
  get silentSinceMs(): number | undefined {
    return this.#silentSinceMs;
  }

  /** Timers that it has set and that have not fired. */
  get timers(): number {
    return this.#timers.size;
  }

  now(): number {
    return this.time?.now() ?? this.systemNow();
  }

  systemNow(): number {
    return this.world.now() + this.skewMs;
  }

  steadyNow(): number {
    return this.world.steadyNow();
  }

  after(delayMs: number, run: () => void): () => void {
    if (this.#state === 'dead') return () => undefined;
    const cancel = (): void => {
      this.#timers.delete(cancel);
      stop();
    };
    const stop = this.world.after(delayMs, () =>
      this.enter(() => {
        // It may have been cancelled by what ran before it at the gate.
        if (this.#timers.delete(cancel)) run();
      }),
    );
    this.#timers.add(cancel);
    return cancel;
  }

  /** Something comes from outside: runs now, when the process goes on, or never. */
  readonly enter = (run: () => void): void => {
    if (this.#state === 'runs' && this.#waiting.length === 0) run();
    else if (this.#state !== 'dead') this.#waiting.push(run);
  };

  stall(): void {
    if (this.#state !== 'runs') return;
    this.#state = 'stalled';
    this.#silentSinceMs = this.world.now();
  }

  resume(): void {
    if (this.#state !== 'stalled') return;
    this.#state = 'runs';
    this.#silentSinceMs = undefined;
    this.#next();
  }

  kill(): void {
    if (this.#state === 'dead') return;
    this.#state = 'dead';
    this.#silentSinceMs ??= this.world.now();
    for (const cancel of [...this.#timers]) cancel();
    this.#waiting.length = 0;
  }

  /** One after the other, so that the promises that one sets off settle before the next, as in an event loop. */
  #next(): void {
    if (this.#waiting.length === 0) return;
    this.world.after(0, () => {
      if (this.#state !== 'runs') return;
      this.#waiting.shift()?.();
      this.#next();
    });
  }
}
