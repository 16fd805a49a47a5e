// Again: what becomes of a request of long work whose time ended before its samples were there. Pure.
//
//   AG1. It is asked again, as the same request, with twice the time: the service goes on from the samples that are there.
//   AG2. What the judge said is final: a verdict that is invalid with all its samples there is never asked again.
//   AG3. It ends: after limits.againTriesMax tries, or when limits.againWithoutSampleMs brought no new sample.

import type { Fault, FaultKind } from '../fault.js';
import type { Verdict } from '../grm/verdict.js';
import { limits } from '../limits.js';

/** Faults that say only that the time, or the service, ended before the verdict. */
const timeFaults: ReadonlySet<FaultKind> = new Set([
  'deadline_exceeded',
  'overloaded',
  'draining',
  'clock_off',
  'queue_unavailable',
  'unreachable',
  'no_engine',
]);

export type Outcome =
  { readonly kind: 'verdict'; readonly verdict: Verdict } | { readonly kind: 'fault'; readonly fault: Fault };

/** Whether more time is all that it takes: no judge has said that there is no number (AG2). */
export function endedByTime(outcome: Outcome): boolean {
  if (outcome.kind === 'fault') return timeFaults.has(outcome.fault.kind);
  return outcome.verdict.kind === 'invalid' && outcome.verdict.missing !== undefined;
}

/** Samples that were there when the time ended. */
export function samplesOf(outcome: Outcome): number {
  if (outcome.kind === 'fault') return 0;
  const { k, missing } = outcome.verdict;
  return missing === undefined ? k : k - missing.notAsked - missing.waiting - missing.unfinished;
}

/** The tries of one request. */
export class Tries {
  #count = 1;
  #samples = 0;
  /** When the first try began, or one ended with more samples than any before it. */
  #newsAtMs: number;

  constructor(nowMs: number) {
    this.#newsAtMs = nowMs;
  }

  /** The one that runs, from 1. */
  get count(): number {
    return this.#count;
  }

  get newsAtMs(): number {
    return this.#newsAtMs;
  }

  /** Nothing could be drawn until now. */
  resumed(nowMs: number): void {
    this.#newsAtMs = nowMs;
  }

  /**
   * The time budget of the next try, milliseconds; undefined when there is none (AG3).
   * @param samples that were there when the last one ended
   * @param budgetMs that it had
   */
  next(samples: number, budgetMs: number, nowMs: number): number | undefined {
    if (samples > this.#samples) {
      this.#samples = samples;
      this.#newsAtMs = nowMs;
    }
    if (this.#count >= limits.againTriesMax || nowMs - this.#newsAtMs >= limits.againWithoutSampleMs) return undefined;
    this.#count++;
    return Math.min(limits.timeBudgetMsMax, 2 * budgetMs);
  }
}
