// Admission: bounds what one coordinator holds, so that overload sheds with a retry delay and memory stays flat (promise P4).
//
//   A1. Admitted requests, samples and bytes never exceed their bounds; a lone request is admitted whatever its size (it fits limits.ts).
//   A2. Every ticket is given back exactly once.
//   A3. Half of each bound is kept for the classes by their weights: whatever floods the door in one class, another finds its part of that half
//       free. The rest is for who comes first, so one class alone may fill all but what is kept for the others.

import { fault, type Fault } from '../fault.js';
import { classes, type Class } from '../grm/query.js';
import type { Clock } from '../process/clock.js';

export interface AdmissionBounds {
  readonly requestsMax: number;
  readonly samplesMax: number;
  readonly bytesMax: number;
}

export interface Ticket {
  release(): void;
}

export type Admitted =
  | { readonly kind: 'admitted'; readonly ticket: Ticket }
  | { readonly kind: 'refused'; readonly why: 'samples' | 'bytes' | 'draining'; readonly fault: Fault };

type Load = Record<'requests' | 'samples' | 'bytes', number>;

/** A3: the part of a bound that is kept by class. */
const keptRatio = 0.5;

export class Admission {
  readonly #held: Readonly<Record<Class, Load>> = { interactive: nothing(), rl: nothing(), batch: nothing() };
  #draining = false;
  /** Exponentially weighted mean of the time between two finished requests, milliseconds: what a shed caller is told to wait for. */
  #finishEveryMs = 100;
  #lastFinishAtMs: number | undefined;

  constructor(
    private readonly bounds: AdmissionBounds,
    private readonly clock: Clock,
    /** Not all 0. */
    private readonly weights: Readonly<Record<Class, number>>,
  ) {}

  get load(): { requests: number; samples: number; bytes: number } {
    const sum = (what: keyof Load): number => classes.reduce((total, each) => total + this.#held[each][what], 0);
    return { requests: sum('requests'), samples: sum('samples'), bytes: sum('bytes') };
  }

  drain(): void {
    this.#draining = true;
  }

  admit(samples: number, bytes: number, klass: Class): Admitted {
    if (this.#draining) {
      return {
        kind: 'refused',
        why: 'draining',
        fault: fault('draining', 'this coordinator is draining; retry at another', { retryAfterMs: 200 }),
      };
    }
    const load = this.load;
    const empty = load.requests === 0;
    const { requestsMax, samplesMax, bytesMax } = this.bounds;
    const fits = (what: keyof Load, more: number, max: number): boolean =>
      load[what] + more + this.#keptForOthers(klass, what, max) <= max;
    if (!empty && !(fits('requests', 1, requestsMax) && fits('samples', samples, samplesMax))) {
      return this.#refuse(
        'samples',
        `${load.samples} samples of ${load.requests} requests in flight, at most ${samplesMax} of ${requestsMax}, some of them kept for other classes`,
      );
    }
    if (!empty && !fits('bytes', bytes, bytesMax)) {
      return this.#refuse(
        'bytes',
        `${load.bytes} bytes in flight, at most ${bytesMax}, some of them kept for other classes`,
      );
    }
    const mine = this.#held[klass];
    mine.requests++;
    mine.samples += samples;
    mine.bytes += bytes;
    let held = true;
    return {
      kind: 'admitted',
      ticket: {
        release: () => {
          if (!held) throw new Error('admission: a ticket was given back twice (A2)');
          held = false;
          mine.requests--;
          mine.samples -= samples;
          mine.bytes -= bytes;
          this.#noteFinish();
        },
      },
    };
  }

  /** A3: what the other classes have not used of what is kept for them. */
  #keptForOthers(klass: Class, what: keyof Load, max: number): number {
    const weightOfAll = classes.reduce((sum, each) => sum + this.weights[each], 0);
    return classes.reduce((sum, other) => {
      if (other === klass) return sum;
      const kept = Math.floor((max * keptRatio * this.weights[other]) / weightOfAll);
      return sum + Math.max(0, kept - this.#held[other][what]);
    }, 0);
  }

  #refuse(why: 'samples' | 'bytes', words: string): Admitted {
    const retryAfterMs = Math.round(Math.min(30_000, Math.max(50, this.#finishEveryMs * 4)));
    return { kind: 'refused', why, fault: fault('overloaded', `the coordinator is full: ${words}`, { retryAfterMs }) };
  }

  #noteFinish(): void {
    const now = this.clock.now();
    if (this.#lastFinishAtMs !== undefined)
      this.#finishEveryMs += 0.1 * (now - this.#lastFinishAtMs - this.#finishEveryMs);
    this.#lastFinishAtMs = now;
  }
}

function nothing(): Load {
  return { requests: 0, samples: 0, bytes: 0 };
}
