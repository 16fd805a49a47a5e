// Dispatch: lets shards into the work queue only as far as the window allows, in fair order. The queue behind it stays shallow, so
// the order is decided here at the last moment, and a burst of one tenant does not stand in front of all others.
//
//   D1. Samples sent and not yet answered stay below the window plus one shard.
//   D2. What a finished or cancelled request had sent is given back exactly once.
//   D3. What waits of requests that are over is at most as much as what waits of living ones, and prunedMin (promise P4): behind a
//       window that does not move, callers who come and go would pile up otherwise.

import type { Class } from '../grm/query.js';
import { FairQueue } from './fair.js';

export interface DispatchWeights {
  readonly class: Readonly<Record<Class, number>>;
  readonly tenant: Readonly<Record<string, number>>;
}

/** One request's account with the dispatcher. */
export interface Account {
  /** Queues a send of `cost` samples; `send` runs when it is due. */
  submit(cost: number, send: () => void): void;
  /** `samples` of what was sent were answered. */
  settle(samples: number): void;
  /** Gives back what is out; what still waits is dropped when its turn comes. */
  close(): void;
}

interface Waiting {
  readonly isOpen: () => boolean;
  readonly cost: number;
  readonly send: () => void;
}

const prunedMin = 1_024;

export class Dispatcher {
  readonly #queue = new FairQueue<Waiting>();
  #out = 0;
  /** Items in the queue whose account is closed. */
  #over = 0;
  #pumping = false;
  /** Samples that may be out now: it moves with the fleet. */
  readonly #window: () => number;

  constructor(
    windowSamples: number | (() => number),
    private readonly weights: DispatchWeights,
  ) {
    this.#window = typeof windowSamples === 'number' ? () => windowSamples : windowSamples;
  }

  get waiting(): number {
    return this.#queue.size;
  }

  /** Samples sent and not yet answered (D1). */
  get out(): number {
    return this.#out;
  }

  open(tenant: string, klass: Class): Account {
    const flow = `${klass}/${tenant}`;
    const weight = this.weights.class[klass] * (this.weights.tenant[tenant] ?? 1);
    let out = 0;
    let waiting = 0;
    let open = true;
    const giveBack = (samples: number): void => {
      const back = Math.min(samples, out);
      out -= back;
      this.#out -= back;
      this.#pump();
    };
    return {
      submit: (cost, send) => {
        if (!open) return;
        waiting++;
        this.#queue.push(flow, weight, cost, {
          isOpen: () => open,
          cost,
          send: () => {
            waiting--;
            out += cost;
            send();
          },
        });
        this.#pump();
      },
      settle: giveBack,
      close: () => {
        if (!open) return;
        open = false;
        this.#over += waiting;
        giveBack(out);
        this.#prune();
      },
    };
  }

  #pump(): void {
    // A send may give back what it needs no more: the loop that sends goes on with it.
    if (this.#pumping) return;
    this.#pumping = true;
    try {
      while (this.#queue.size > 0 && this.#out < this.#window()) {
        const next = this.#queue.pop();
        if (!next) return;
        if (!next.isOpen()) {
          this.#over--;
          continue;
        }
        this.#out += next.cost;
        next.send();
      }
    } finally {
      this.#pumping = false;
    }
  }

  /** D3. */
  #prune(): void {
    if (this.#over <= Math.max(prunedMin, this.#queue.size / 2)) return;
    this.#queue.prune((waiting) => waiting.isOpen());
    this.#over = 0;
  }
}
