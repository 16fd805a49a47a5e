// A synchronous clock for the fake engine's scheduler: nothing happens until the test lets time pass, and then in order.
import type { Clock } from '../../services/fake-engine/clock.js';

export class SimulatedClock implements Clock {
  #nowMs = 0;
  #next = 0;
  readonly #due = new Map<number, { readonly atMs: number; readonly action: () => void }>();

  now(): number {
    return this.#nowMs;
  }

  after(delayMs: number, action: () => void): () => void {
    const id = this.#next++;
    this.#due.set(id, { atMs: this.#nowMs + Math.max(0, delayMs), action });
    return () => this.#due.delete(id);
  }

  /** Timers set and not yet due. */
  get pending(): number {
    return this.#due.size;
  }

  /** Lets time pass up to `untilMs`, or until nothing is left to happen. */
  run(untilMs = Infinity): void {
    for (;;) {
      const [first] = [...this.#due].sort(([a, x], [b, y]) => x.atMs - y.atMs || a - b);
      if (first === undefined || first[1].atMs > untilMs) break;
      this.#due.delete(first[0]);
      this.#nowMs = first[1].atMs;
      first[1].action();
    }
    if (Number.isFinite(untilMs)) this.#nowMs = Math.max(this.#nowMs, untilMs);
  }
}
