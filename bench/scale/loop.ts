// Loop: virtual time. Events run in the order of their times, and the promises that one sets off settle before the next, as in a process's
// own event loop. So the product's code runs in it as it is.
//
//   E1. Nothing depends on the machine: events at one time run in the order in which they were set.

import type { Clock } from '../../src/process/clock.js';
import { Heap, type Due } from './heap.js';

interface Event extends Due {
  run: (() => void) | undefined;
}

/** Any time will do: it is when the simulation starts, milliseconds since the Unix epoch. */
const startsAtMs = 1_700_000_000_000;

/** Events between two turns of the real event loop, which writes the progress and hears signals. */
const eventsPerTurn = 8_192;

const settled = Promise.resolve();

export class Loop implements Clock {
  readonly #heap = new Heap<Event>();
  #timeMs = 0;
  #order = 0;
  #events = 0;

  /** Since the start, milliseconds with fractions. */
  get timeMs(): number {
    return this.#timeMs;
  }

  /** Events that have run. */
  get events(): number {
    return this.#events;
  }

  /** Whole milliseconds, as Date.now gives them. */
  now(): number {
    return startsAtMs + Math.floor(this.#timeMs);
  }

  steadyNow(): number {
    return this.now();
  }

  after(delayMs: number, run: () => void): () => void {
    return this.at(this.#timeMs + Math.max(0, delayMs), run);
  }

  /** @param atMs since the start; the past counts as now */
  at(atMs: number, run: () => void): () => void {
    const event: Event = { at: Math.max(this.#timeMs, atMs), order: this.#order++, run };
    this.#heap.push(event);
    return () => (event.run = undefined);
  }

  /** Runs events until `isOver`, or until there is none. */
  run(isOver: () => boolean): Promise<void> {
    return new Promise((resolve, reject) => {
      const onward = (): void => {
        if (this.#events % eventsPerTurn === 0) setImmediate(turn);
        else process.nextTick(turn);
      };
      const turn = (): void => {
        try {
          if (isOver() || !this.#step()) {
            resolve();
            return;
          }
        } catch (error) {
          reject(error instanceof Error ? error : new Error(String(error)));
          return;
        }
        // The tick is set behind all microtasks of this event, those that they set off included. (queueMicrotask costs several times as much.)
        void settled.then(onward);
      };
      turn();
    });
  }

  #step(): boolean {
    for (let event = this.#heap.pop(); event !== undefined; event = this.#heap.pop()) {
      const { run } = event;
      if (run === undefined) continue;
      event.run = undefined;
      this.#timeMs = event.at;
      this.#events++;
      run();
      return true;
    }
    return false;
  }
}
