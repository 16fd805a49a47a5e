// Tally: what the verdicts of a run come to, and which of them say little.

import type { Verdict } from '../grm/verdict.js';
import { oneLine } from './printable.js';

/** Below it more than one kept sample in four took another response for the best. */
export const agreementDoubtfulBelow = 0.75;
const namesMax = 10;

export class Tally {
  #valid = 0;
  readonly #doubtful: string[] = [];

  note(name: string, verdict: Verdict): void {
    if (verdict.kind === 'invalid') return;
    this.#valid += 1;
    // A single response has nothing to agree on.
    if (verdict.tie || (verdict.agreement ?? 1) < agreementDoubtfulBelow) this.#doubtful.push(name);
  }

  get doubtful(): number {
    return this.#doubtful.length;
  }

  text(): string {
    const named = this.#doubtful.slice(0, namesMax).map((name) => oneLine(name, 40));
    if (this.#doubtful.length > namesMax) named.push(`and ${this.#doubtful.length - namesMax} more`);
    const rule = `a tie, or less than ${agreementDoubtfulBelow * 100}% of the kept samples agree on the best response`;
    return `${this.#doubtful.length} of ${this.#valid} verdicts are in doubt (${rule})${named.length > 0 ? `: ${named.join(', ')}` : ''}`;
  }
}
