// Tally: what the verdicts of a run come to, and which of them say little.

import type { Verdict } from '../grm/verdict.js';
import { oneLine } from './printable.js';

/**
 * Verdicts are in doubt where a quarter of the kept samples, or more, took another response for the best, or of all samples were invalid or missing.
 * Of the nano judge's verdicts about half of those in doubt are right, and nearly all of the others (docs/spct.md, section 5).
 */
const doubtfulShare = 0.25;
const namesMax = 10;

export class Tally {
  #valid = 0;
  readonly #doubtful: string[] = [];

  note(name: string, verdict: Verdict): void {
    if (verdict.kind === 'invalid') return;
    this.#valid += 1;
    // A single response has nothing to agree on.
    const disagree = 1 - (verdict.agreement ?? 1);
    const lost = 1 - verdict.kValid / (verdict.stopping?.kDrawn ?? verdict.k);
    if (verdict.tie || disagree >= doubtfulShare || lost >= doubtfulShare) this.#doubtful.push(name);
  }

  get doubtful(): number {
    return this.#doubtful.length;
  }

  text(): string {
    const named = this.#doubtful.slice(0, namesMax).map((name) => oneLine(name, 40));
    if (this.#doubtful.length > namesMax) named.push(`and ${this.#doubtful.length - namesMax} more`);
    const rule = `a tie, or ${doubtfulShare * 100}% or more of the kept samples disagree on the best response, or of all samples are invalid or missing`;
    return `${this.#doubtful.length} of ${this.#valid} verdicts are in doubt (${rule})${named.length > 0 ? `: ${named.join(', ')}` : ''}`;
  }
}
