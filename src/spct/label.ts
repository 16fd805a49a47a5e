// Label: what is known about an item, and the rule that decides whether scores agree with it (arXiv 2504.02495, section on rule-based RL).
//
//   L1. With two responses or more, scores are correct when the truly best response has a score strictly above every other. A tie is wrong.
//   L2. With one response they are correct when the score equals the label.
//   L3. Labels without one best response say nothing that the rule could use: the item is left out and counted, never guessed at.
//
// Rows spell a label in one way everywhere (items, training rows, reward rows): `labels`, a number per response, or `best`, the index of the best one.

import type { Findings } from '../coordinator/findings.js';
import { limits } from '../limits.js';

export type Label =
  | { readonly kind: 'best'; readonly n: number; readonly best: number }
  /** One response; `score` within 1..10. */
  | { readonly kind: 'score'; readonly n: 1; readonly score: number };

export const outcomes = ['correct', 'wrong_best', 'tie', 'wrong_score'] as const;
export type Outcome = (typeof outcomes)[number];

/** @param scores in the order of the label: the request's */
export function judge(scores: readonly number[], label: Label): Outcome {
  if (scores.length !== label.n) throw new RangeError(`${scores.length} scores for a label of ${label.n} responses`);
  if (label.kind === 'score') return scores[0] === label.score ? 'correct' : 'wrong_score';
  const own = scores[label.best]!;
  const other = Math.max(...scores.filter((_, response) => response !== label.best));
  return own > other ? 'correct' : own === other ? 'tie' : 'wrong_best';
}

/**
 * The label in one column that has the same type for every item: 1 for the best response and 0 for the others, or the score of a single one.
 * Readers that fix a column's type by the first rows (Hugging Face `load_dataset`) fail on one that is null there and a number later.
 */
export function labelsOf(label: Label): readonly number[] {
  if (label.kind === 'score') return [label.score];
  return Array.from({ length: label.n }, (_, response) => (response === label.best ? 1 : 0));
}

/** As records spell it: both keys are always there. */
export function labelColumns(label: Label): {
  readonly n: number;
  readonly best: number | null;
  readonly labels: readonly number[] | null;
} {
  return label.kind === 'best'
    ? { n: label.n, best: label.best, labels: null }
    : { n: 1, best: null, labels: [label.score] };
}

export type ReadLabel = Label | 'no_unique_best' | undefined;

const scoreRange = { holds: (value: number) => value >= 1 && value <= 10, words: 'a score 1..10' };
const anyNumber = { holds: () => true, words: 'a number' };

/**
 * Reads `labels` and `best` for n responses; undefined leaves what is wrong in `found`.
 * @param n undefined: as many as there are labels
 */
export function readLabel(
  raw: { readonly labels?: unknown; readonly best?: unknown },
  n: number | undefined,
  found: Findings,
): ReadLabel {
  const [labels, best] = [raw.labels ?? undefined, raw.best ?? undefined];
  if (labels !== undefined && best !== undefined) {
    found.add('best', found.shown(best), 'labels or best, not both');
    return undefined;
  }
  if (labels !== undefined) return fromLabels(labels, n, found);
  if (best === undefined) {
    found.add('labels', 'nothing', 'a number per response, or "best": the index of the best one');
    return undefined;
  }
  if (n === undefined) {
    found.add('n', 'nothing', 'the number of responses, which "best" alone does not tell');
    return undefined;
  }
  if (n === 1) {
    found.add('best', found.shown(best), 'labels: [score], for one response');
    return undefined;
  }
  const index = found.integer('best', best, 0, n - 1, ' (an index of responses)');
  return index === undefined ? undefined : { kind: 'best', n, best: index };
}

function fromLabels(raw: unknown, n: number | undefined, found: Findings): ReadLabel {
  const list = found.list1('labels', raw, limits.responsesMax, 'numbers');
  if (list === undefined) return undefined;
  if (n !== undefined && list.length !== n) {
    found.add('labels', `${list.length}`, `${n}: one per response`);
    return undefined;
  }
  const range = list.length === 1 ? scoreRange : anyNumber;
  const labels = list.map((each, at) => {
    if (each === null) found.add(`labels[${at}]`, 'nothing', range.words);
    return found.number(`labels[${at}]`, each, range);
  });
  const numbers = labels.filter((each) => each !== undefined);
  if (numbers.length < labels.length) return undefined;
  if (numbers.length === 1) return { kind: 'score', n: 1, score: numbers[0]! };
  const top = Math.max(...numbers);
  const best = numbers.indexOf(top);
  return numbers.lastIndexOf(top) === best ? { kind: 'best', n: numbers.length, best } : 'no_unique_best';
}
