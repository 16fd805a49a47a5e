// Hedging: when a sample is late, and whether it may be asked for a second time, elsewhere (Dean and Barroso, "The tail at scale", 2013).
//
//   H1. Samples asked for again are at most `extraRatio` of those asked for; what was not used of it is kept up to limits.hedgeSamplesMax.
//   H2. Late is what takes longer than the percentile of the latest limits.hedgeObservedMax samples, and never less than the floor. Nothing is
//       late before `observedMin` samples have come.

import { limits } from '../limits.js';

export interface HedgeSettings {
  /** 0: never. */
  readonly extraRatio: number;
  /** 0..1, of the times between asking and having. */
  readonly percentile: number;
  readonly floorMs: number;
  readonly observedMin: number;
}

/** The percentile is counted anew after so many samples. */
const countedEvery = 16;

export class Hedging {
  readonly #latenciesMs: number[] = [];
  #observed = 0;
  #allowed = 0;
  #lateMs: number | undefined;

  constructor(private readonly settings: HedgeSettings) {}

  /** So many samples were asked for, and not as a hedge. */
  asked(samples: number): void {
    this.#allowed = Math.min(limits.hedgeSamplesMax, this.#allowed + samples * this.settings.extraRatio);
  }

  /** A sample came so long after it was asked for. */
  came(afterMs: number): void {
    this.#latenciesMs[this.#observed % limits.hedgeObservedMax] = afterMs;
    this.#observed++;
    if (this.#observed % countedEvery === 0 || this.#observed <= countedEvery) this.#lateMs = undefined;
  }

  /** H2: a sample that was asked for longer ago is late; undefined while nothing is. */
  lateMs(): number | undefined {
    const { extraRatio, percentile, floorMs, observedMin } = this.settings;
    if (extraRatio === 0 || this.#observed < observedMin) return undefined;
    this.#lateMs ??= Math.max(floorMs, quantile(this.#latenciesMs, percentile));
    return this.#lateMs;
  }

  /** H1: whether so many samples may be asked for again now. */
  allows(samples: number): boolean {
    return this.#allowed >= samples;
  }

  /** H1: true, and they are spent, when so many samples may be asked for again. */
  take(samples: number): boolean {
    if (!this.allows(samples)) return false;
    this.#allowed -= samples;
    return true;
  }
}

/** @param values at least one */
function quantile(values: readonly number[], ratio: number): number {
  const sorted = [...values].sort((a, b) => a - b);
  return sorted[Math.min(sorted.length - 1, Math.floor(ratio * sorted.length))]!;
}
