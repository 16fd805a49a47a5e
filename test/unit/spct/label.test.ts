import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { Findings } from '../../../src/coordinator/findings.js';
import { judge, labelColumns, labelsOf, readLabel, type Label } from '../../../src/spct/label.js';

const best = (n: number, index: number): Label => ({ kind: 'best', n, best: index });
const score = (value: number): Label => ({ kind: 'score', n: 1, score: value });

function read(raw: object, n?: number) {
  const found = new Findings();
  const label = readLabel(raw, n, found);
  return label ?? found.list().map(({ field, description }) => `${field}: ${description}`);
}

describe('the correctness rule', () => {
  it.each([
    ['L1: the best response is strictly above the others', [3, 9, 8], best(3, 1), 'correct'],
    ['L1: a tie with the best is wrong', [9, 9], best(2, 0), 'tie'],
    ['L1: a tie of the others does not matter', [7, 2, 2], best(3, 0), 'correct'],
    ['L1: another one is above', [9, 8], best(2, 1), 'wrong_best'],
    ['L1: fractions count', [8, 8.5], best(2, 1), 'correct'],
    ['L2: one response, the same score', [7], score(7), 'correct'],
    ['L2: one response, another score', [7], score(8), 'wrong_score'],
  ] as const)('%s', (_, scores, label, outcome) => {
    expect(judge(scores, label)).toBe(outcome);
  });

  it('L1: correct exactly when the best is the only one with the highest score, whatever the order', () => {
    const scores = fc.array(fc.integer({ min: 1, max: 10 }), { minLength: 2, maxLength: 8 });
    fc.assert(
      fc.property(scores, fc.nat(), (all, at) => {
        const index = at % all.length;
        const top = Math.max(...all);
        const alone = all[index] === top && all.filter((each) => each === top).length === 1;
        expect(judge(all, best(all.length, index)) === 'correct').toBe(alone);
        const reversed = [...all].reverse();
        expect(judge(reversed, best(all.length, all.length - 1 - index))).toBe(judge(all, best(all.length, index)));
      }),
    );
  });

  it('scores of another number of responses are a bug, not a judgement', () => {
    expect(() => judge([1, 2], best(3, 0))).toThrow('2 scores for a label of 3 responses');
  });
});

describe('reading labels', () => {
  it.each([
    ['a number per response', { labels: [0, 1.5, -2] }, 3, best(3, 1)],
    ['an index', { best: 1 }, 3, best(3, 1)],
    ['null counts as absent', { best: 0, labels: null }, 2, best(2, 0)],
    ['one response', { labels: [7] }, 1, score(7)],
    ['as many as there are labels', { labels: [1, 2] }, undefined, best(2, 1)],
    ['L3: a tie of the best', { labels: [2, 2, 1] }, 3, 'no_unique_best'],
  ] as const)('%s', (_, raw, n, label) => {
    expect(read(raw, n)).toEqual(label);
  });

  it.each([
    [{}, 2, ['labels: came nothing, expected a number per response, or "best": the index of the best one']],
    [{ labels: [1, 2], best: 1 }, 2, ['best: came 1, expected labels or best, not both']],
    [{ labels: [1] }, 2, ['labels: came 1, expected 2: one per response']],
    [{ labels: [11] }, 1, ['labels[0]: came 11, expected a score 1..10']],
    [
      { labels: [null, 'x', 3] },
      3,
      ['labels[0]: came nothing, expected a number', 'labels[1]: came "x", expected a number'],
    ],
    [{ best: 2 }, 2, ['best: came 2, expected a whole number 0..1 (an index of responses)']],
    [{ best: 0 }, 1, ['best: came 0, expected labels: [score], for one response']],
    [{ best: 0 }, undefined, ['n: came nothing, expected the number of responses, which "best" alone does not tell']],
    [{ labels: 'high' }, 2, ['labels: came "high", expected a list of 1..16 numbers']],
  ] as const)('%j of %j responses is refused', (raw, n, problems) => {
    expect(read(raw, n)).toEqual(problems);
  });

  it('reads what it writes', () => {
    for (const label of [best(4, 2), score(8.5)]) {
      const { n, ...columns } = labelColumns(label);
      expect(read(columns, n)).toEqual(label);
      expect(read({ labels: labelsOf(label) }, n)).toEqual(label);
    }
    expect(labelsOf(best(3, 1))).toEqual([0, 1, 0]);
    expect(labelsOf(score(7))).toEqual([7]);
  });
});
