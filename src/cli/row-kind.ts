// Row kind: what became of a row, told in its line and counted in the summary.
//
//   valid       it has rewards
//   invalid     the judge gave no number: final
//   unfinished  only time, or the service, ended it: no judge has said that there is no number
//   failed      it cannot be scored as it is, or somebody cancelled it

import { fault, faults, type FaultKind } from '../fault.js';
import { endedByTime } from '../rpc/again.js';
import { rowHead } from './row-line.js';
import type { Answer } from './score.js';

export const rowClasses = ['valid', 'invalid', 'unfinished', 'failed'] as const;
export type RowClass = (typeof rowClasses)[number];

export interface RowKind {
  readonly is: RowClass;
  /** "" for a valid one. */
  readonly reason: string;
  /** The same command tries it again. */
  readonly again: boolean;
}

export function kindOfAnswer(answer: Answer): RowKind {
  switch (answer.kind) {
    case 'verdict': {
      const { verdict } = answer;
      if (verdict.kind === 'valid') return { is: 'valid', reason: '', again: false };
      const again = endedByTime(answer);
      return { is: again ? 'unfinished' : 'invalid', reason: verdict.reason, again };
    }
    case 'fault': {
      const { kind } = answer.fault;
      const again = faults[kind].disposition !== 'terminal';
      return { is: endedByTime(answer) ? 'unfinished' : 'failed', reason: kind, again };
    }
    case 'unreadable':
      return { is: 'failed', reason: 'unreadable', again: false };
  }
}

/** What says the kind of a row: of a verdict (render.ts), and of a row without one (score.ts). */
const marks =
  /"agreement":[^,"]+,"invalid_reason":(?:null|"(?<invalid>\w+)")|"rewards":null,"error":\{"kind":"(?<error>\w+)"/g;

/** Of a row that an earlier run wrote, by its beginning. What the row carries over, which may be rows too, stands before: the last mark counts. */
export function kindOfRow(head: string): RowKind {
  const again = rowHead.exec(head)?.[3] !== undefined;
  const { invalid, error } = [...head.matchAll(marks)].at(-1)?.groups ?? {};
  if (error !== undefined) {
    const byTime = isFault(error) && endedByTime({ kind: 'fault', fault: fault(error, '') });
    return { is: byTime ? 'unfinished' : 'failed', reason: error, again: again || byTime };
  }
  if (invalid === undefined) return { is: 'valid', reason: '', again: false };
  // Earlier versions did not say what only time had ended; this reason says it.
  const byTime = again || invalid === 'quorum_not_met';
  return { is: byTime ? 'unfinished' : 'invalid', reason: invalid, again: byTime };
}

function isFault(word: string): word is FaultKind {
  return Object.hasOwn(faults, word);
}

/** How many rows are of each kind. */
export class RowCounts {
  readonly #counts = new Map<RowClass, Map<string, number>>();
  #again = 0;

  /** That the same command tries again. */
  get again(): number {
    return this.#again;
  }

  note({ is, reason, again }: RowKind, by: 1 | -1 = 1): void {
    if (again) this.#again += by;
    let reasons = this.#counts.get(is);
    if (!reasons) this.#counts.set(is, (reasons = new Map<string, number>()));
    const count = (reasons.get(reason) ?? 0) + by;
    if (count === 0) reasons.delete(reason);
    else reasons.set(reason, count);
  }

  of(is: RowClass): number {
    return [...(this.#counts.get(is)?.values() ?? [])].reduce((sum, count) => sum + count, 0);
  }

  /** Rows without rewards. */
  lost(): Readonly<Record<Exclude<RowClass, 'valid'>, number>> {
    return { invalid: this.of('invalid'), unfinished: this.of('unfinished'), failed: this.of('failed') };
  }

  /** `{"no_valid_sample": 2}`, the most frequent first. */
  reasons(is: RowClass): Readonly<Record<string, number>> {
    return Object.fromEntries([...(this.#counts.get(is) ?? [])].sort((a, b) => b[1] - a[1]));
  }

  /** "3 invalid (2 no_valid_sample, 1 quorum_not_met)". */
  text(is: RowClass): string {
    const reasons = Object.entries(this.reasons(is)).map(([reason, count]) => `${count} ${reason}`);
    return `${this.of(is)} ${is}${reasons.length > 0 && is !== 'valid' ? ` (${reasons.join(', ')})` : ''}`;
  }
}
