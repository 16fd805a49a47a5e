// Admission: bounds what one coordinator holds, so that overload sheds with a retry delay and memory stays flat (promise P4).
//
//   A1. Admitted requests, samples and bytes never exceed their bounds; a lone request is admitted whatever its size (it fits limits.ts).
//   A2. Every ticket is given back exactly once.

import { fault, type Fault } from '../fault.js';
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

export class Admission {
  #requests = 0;
  #samples = 0;
  #bytes = 0;
  #draining = false;
  /** Exponentially weighted mean of the time between two finished requests, milliseconds: what a shed caller is told to wait for. */
  #finishEveryMs = 100;
  #lastFinishAtMs: number | undefined;

  constructor(
    private readonly bounds: AdmissionBounds,
    private readonly clock: Clock,
  ) {}

  get load(): { requests: number; samples: number; bytes: number } {
    return { requests: this.#requests, samples: this.#samples, bytes: this.#bytes };
  }

  drain(): void {
    this.#draining = true;
  }

  admit(samples: number, bytes: number): Admitted {
    if (this.#draining) {
      return {
        kind: 'refused',
        why: 'draining',
        fault: fault('draining', 'this coordinator is draining; retry at another', { retryAfterMs: 200 }),
      };
    }
    const empty = this.#requests === 0;
    const { requestsMax, samplesMax, bytesMax } = this.bounds;
    if (!empty && (this.#requests + 1 > requestsMax || this.#samples + samples > samplesMax)) {
      return this.#refuse(
        'samples',
        `${this.#samples} samples of ${this.#requests} requests in flight, at most ${samplesMax} of ${requestsMax}`,
      );
    }
    if (!empty && this.#bytes + bytes > bytesMax) {
      return this.#refuse('bytes', `${this.#bytes} bytes in flight, at most ${bytesMax}`);
    }
    this.#requests++;
    this.#samples += samples;
    this.#bytes += bytes;
    let held = true;
    return {
      kind: 'admitted',
      ticket: {
        release: () => {
          if (!held) throw new Error('admission: a ticket was given back twice (A2)');
          held = false;
          this.#requests--;
          this.#samples -= samples;
          this.#bytes -= bytes;
          this.#noteFinish();
        },
      },
    };
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
