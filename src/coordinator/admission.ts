// Admission: bounds what one coordinator holds, so that overload sheds with a retry delay and memory stays flat (promise P4).
//
//   A1. Admitted requests, samples and bytes never exceed their bounds; a lone request is admitted whatever its size (it fits limits.ts),
//       and so is a lone one of those that were accepted before and are taken up again: what fills the bounds may be waiting for it.
//       With adaptive k, A4 says how many samples a request counts for.
//   A2. Every ticket is given back exactly once.
//   A3. A flow (class and tenant) holds of each bound at most its weight times what nobody holds, the smallest class weighing 1. So whoever
//       floods leaves something free, and those who hold less find it. When all flood, each holds by its weight, and what one of them
//       finishes makes room for its own next request. After Choudhury and Hahne, "Dynamic queue length thresholds" (1998).
//   A4. A request with adaptive k counts for as much of its k as those before it drew on the average, at least adaptiveShareMin of it, and
//       for what it asks for as soon as that is more. So what is held exceeds the bound only by what requests ask for beyond the
//       average, nothing is admitted meanwhile, and it is never more than 1 / adaptiveShareMin times the bound.

import { fault, type Fault } from '../fault.js';
import type { Class } from '../grm/query.js';
import type { Clock } from '../process/clock.js';
import type { DispatchWeights } from './dispatch.js';

export interface AdmissionBounds {
  readonly requestsMax: number;
  readonly samplesMax: number;
  readonly bytesMax: number;
}

export interface Ticket {
  /** A4: the request has asked for so many of its samples by now. */
  asked(samples: number): void;
  /** A4: its rule ended drawing, or all k are there, when it had asked for so many. */
  drew(samples: number): void;
  release(): void;
}

/** What is not so with every request. */
export interface Claim {
  /** It was accepted before, and is taken up again. */
  readonly resumed?: boolean;
  /** Its drawing may end before all samples are asked for. */
  readonly adaptive?: boolean;
}

export type Admitted =
  | { readonly kind: 'admitted'; readonly ticket: Ticket }
  | { readonly kind: 'refused'; readonly why: 'samples' | 'bytes' | 'draining'; readonly fault: Fault };

/** Of k, however little those before it drew. */
const adaptiveShareMin = 0.25;
/** Weight of the newest request in the mean share that was drawn. */
const adaptiveShareGain = 0.05;

type Load = Record<'requests' | 'samples' | 'bytes', number>;

export class Admission {
  readonly #load = nothing();
  /** Of flows that hold something. */
  readonly #flows = new Map<string, Load>();
  readonly #max: Readonly<Load>;
  /** Of those taken up again. */
  #resumed = 0;
  #draining = false;
  /** Exponentially weighted mean of the time between two finished requests, milliseconds: what a shed caller is told to wait for. */
  #finishEveryMs = 100;
  #lastFinishAtMs: number | undefined;
  /** A4: exponentially weighted mean, of requests with adaptive k. Before the first ones tell, they count in full. */
  #adaptiveShare = 1;

  constructor(
    bounds: AdmissionBounds,
    private readonly clock: Clock,
    private readonly weights: DispatchWeights,
  ) {
    this.#max = { requests: bounds.requestsMax, samples: bounds.samplesMax, bytes: bounds.bytesMax };
  }

  get load(): Readonly<Load> {
    return { ...this.#load };
  }

  drain(): void {
    this.#draining = true;
  }

  /** @param k samples of the request, all of them */
  admit(k: number, bytes: number, tenant: string, klass: Class, { resumed, adaptive }: Claim = {}): Admitted {
    if (this.#draining) {
      return {
        kind: 'refused',
        why: 'draining',
        fault: fault('draining', 'this coordinator is draining; retry at another', { retryAfterMs: 200 }),
      };
    }
    const load = this.#load;
    let samples = adaptive ? Math.max(1, Math.round(k * Math.max(adaptiveShareMin, this.#adaptiveShare))) : k;
    const max = this.#max;
    const name = `${klass}/${tenant}`;
    const flow = this.#flows.get(name) ?? nothing();
    const weight = this.#weightOf(tenant, klass);
    const fits = (what: keyof Load, more: number): boolean =>
      load[what] + more <= max[what] && flow[what] + more <= weight * (max[what] - load[what]);
    const lone = load.requests === 0 || (resumed === true && this.#resumed === 0);
    const words = (what: keyof Load): string =>
      `${load[what]} ${what} in flight, ${flow[what]} of them of this tenant and class, at most ${max[what]} in all`;
    if (!lone && !fits('requests', 1)) return this.#refuse('samples', words('requests'));
    if (!lone && !fits('samples', samples)) return this.#refuse('samples', words('samples'));
    if (!lone && !fits('bytes', bytes)) return this.#refuse('bytes', words('bytes'));
    const add = (sign: 1 | -1): void => {
      for (const each of [load, flow]) {
        each.requests += sign;
        each.samples += sign * samples;
        each.bytes += sign * bytes;
      }
    };
    add(1);
    if (resumed) this.#resumed++;
    this.#flows.set(name, flow);
    let held = true;
    return {
      kind: 'admitted',
      ticket: {
        asked: (by) => {
          const more = by - samples;
          if (!held || more <= 0) return;
          samples += more;
          load.samples += more;
          flow.samples += more;
        },
        drew: (by) => {
          if (adaptive) this.#adaptiveShare += adaptiveShareGain * (by / k - this.#adaptiveShare);
        },
        release: () => {
          if (!held) throw new Error('admission: a ticket was given back twice (A2)');
          held = false;
          add(-1);
          if (resumed) this.#resumed--;
          if (flow.requests === 0) this.#flows.delete(name);
          this.#noteFinish();
        },
      },
    };
  }

  /** A3. */
  #weightOf(tenant: string, klass: Class): number {
    const { class: ofClass, tenant: ofTenant } = this.weights;
    return (ofClass[klass] * (ofTenant[tenant] ?? 1)) / Math.min(...Object.values(ofClass));
  }

  #refuse(why: 'samples' | 'bytes', words: string): Admitted {
    const retryAfterMs = Math.round(Math.min(30_000, Math.max(50, this.#finishEveryMs * 4)));
    return { kind: 'refused', why, fault: fault('overloaded', `the coordinator is full: ${words}`, { retryAfterMs }) };
  }

  #noteFinish(): void {
    const now = this.clock.steadyNow();
    if (this.#lastFinishAtMs !== undefined)
      this.#finishEveryMs += 0.1 * (now - this.#lastFinishAtMs - this.#finishEveryMs);
    this.#lastFinishAtMs = now;
  }
}

function nothing(): Load {
  return { requests: 0, samples: 0, bytes: 0 };
}
