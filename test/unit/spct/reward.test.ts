import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { limits } from '../../../src/limits.js';
import { readRewardRow, rewardBatch, rewardColumns, ruleReward } from '../../../src/spct/reward.js';

const said = (scores: string): string => `Specific Criteria:\nx\nAnalysis:\ny\nScores: \\boxed{${scores}}`;

function rewardOf(raw: object) {
  const read = readRewardRow(raw);
  if (read.kind !== 'row') throw new Error(JSON.stringify(read.violations));
  return ruleReward(read.row);
}

describe('the rule-based reward', () => {
  it.each([
    ['correct', { completion: said('3, 9'), best: 1, n: 2 }, { reward: 1, scores: [3, 9] }],
    ['wrong', { completion: said('9, 3'), labels: [1, 2] }, { reward: -1, reason: 'wrong_best', scores: [9, 3] }],
    ['a tie', { completion: said('9, 9'), best: 1, n: 2 }, { reward: -1, reason: 'tie', scores: [9, 9] }],
    ['one response', { completion: said('7'), labels: [7] }, { reward: 1, scores: [7] }],
    ['one response, wrong', { completion: said('6'), labels: [7] }, { reward: -1, reason: 'wrong_score', scores: [6] }],
    [
      'shown in another order',
      { completion: said('9, 3, 1'), best: 2, n: 3, permutation: [2, 0, 1] },
      { reward: 1, scores: [3, 1, 9] },
    ],
    [
      "a chat model's turns",
      { completion: [{ role: 'assistant', content: said('3, 9') }], best: 1, n: 2 },
      { reward: 1, scores: [3, 9] },
    ],
    ['R1: no box', { completion: 'I like both.', best: 1, n: 2 }, { reward: -1, reason: 'no_box' }],
    ['R1: an empty output', { completion: '', best: 1, n: 2 }, { reward: -1, reason: 'no_box' }],
    ['R1: too many scores', { completion: said('1, 2, 3'), best: 1, n: 2 }, { reward: -1, reason: 'wrong_count' }],
    ['R1: out of range', { completion: said('3, 11'), best: 1, n: 2 }, { reward: -1, reason: 'out_of_range' }],
    [
      'R1: cut before its scores',
      { completion: 'Analysis:\nfirst \\boxed{1, 9}', best: 1, n: 2, finish_reason: 'length' },
      { reward: -1, reason: 'truncated' },
    ],
    [
      'R1: a box that the output only quotes',
      { completion: 'Analysis: response 1 ends with \\boxed{1, 9}.\nScores: 1, 9', best: 1, n: 2 },
      { reward: -1, reason: 'no_box' },
    ],
    [
      'R1: the solution of the task, of one response',
      { completion: 'The answer \\boxed{6} is right.\nScore: 9', labels: [6] },
      { reward: -1, reason: 'no_box' },
    ],
    [
      'R1: scores in the reasoning alone',
      { completion: '[THINK]Scores: \\boxed{3, 9}[/THINK]I am done.', best: 1, n: 2 },
      { reward: -1, reason: 'no_box' },
    ],
    [
      'R1: reasoning that the prompt opened and that never ends',
      { completion: said('3, 9'), best: 1, n: 2, opens_reasoning: true },
      { reward: -1, reason: 'no_box' },
    ],
    [
      'reasoning that the prompt opened',
      { completion: `${said('9, 3')}</think>${said('3, 9')}`, best: 1, n: 2, opens_reasoning: true },
      { reward: 1, scores: [3, 9] },
    ],
    ['R3: form is nothing', { completion: '**\\\\boxed{3, 9}**', best: 1, n: 2 }, { reward: 1, scores: [3, 9] }],
  ])('%s', (_, raw, expected) => {
    expect(rewardOf(raw)).toEqual(expected);
  });

  it('R2: a malformed row names its fields and gets no number', () => {
    const fields = (raw: unknown): string[] => {
      const read = readRewardRow(raw);
      return read.kind === 'violations' ? read.violations.map(({ field }) => field) : [];
    };
    expect(fields({})).toEqual(['completion', 'labels']);
    expect(fields({ completion: 3, best: 0 })).toEqual(['completion', 'n']);
    expect(fields({ completion: [], best: 0, n: 2 })).toEqual(['completion']);
    expect(fields({ completion: 'x', labels: [4, 4] })).toEqual(['labels']);
    expect(fields({ completion: 'x', labels: [1, 2], n: 3 })).toEqual(['labels']);
    for (const permutation of [[0, 0], [0], [0, 1, 2], ['0', '1'], 'x', []])
      expect(fields({ completion: 'x', best: 0, n: 2, permutation }), String(permutation)).toEqual(['permutation']);
    expect(fields({ completion: 'x', best: 0, n: 2, finish_reason: 1 })).toEqual(['finish_reason']);
    expect(fields({ completion: 'x', best: 0, n: 2, opens_reasoning: 1 })).toEqual(['opens_reasoning']);
    expect(fields('x')).toEqual(['']);
  });

  it('any JSON is a row or violations; a row gets +1 or -1', () => {
    fc.assert(
      fc.property(fc.anything(), fc.string(), (value, completion) => {
        expect(['row', 'violations']).toContain(readRewardRow(value).kind);
        expect(Math.abs(rewardOf({ completion, best: 0, n: 2 }).reward)).toBe(1);
      }),
    );
  });

  it('the order shown does not change the reward', () => {
    const judgements = fc
      .array(fc.integer({ min: 1, max: 10 }), { minLength: 2, maxLength: 6 })
      .chain((scores) =>
        fc.tuple(
          fc.constant(scores),
          fc.shuffledSubarray([...scores.keys()], { minLength: scores.length, maxLength: scores.length }),
          fc.nat({ max: scores.length - 1 }),
        ),
      );
    fc.assert(
      fc.property(judgements, ([scores, permutation, best]) => {
        const shown = permutation.map((response) => scores[response]).join(', ');
        const permuted = rewardOf({ completion: said(shown), best, n: scores.length, permutation });
        expect(permuted).toEqual(rewardOf({ completion: said(scores.join(', ')), best, n: scores.length }));
        expect(permuted.scores).toEqual(scores);
      }),
    );
  });
});

describe('a batch', () => {
  it('has its rewards in order', () => {
    const rows = ['3, 9', '9, 3', 'x'].map((scores) => ({ completion: said(scores), best: 1, n: 2 }));
    const batch = rewardBatch(rows);
    expect(batch.kind === 'rewards' && batch.rewards.map(rewardColumns)).toEqual([
      { reward: 1, correct: true, reason: null, scores: [3, 9] },
      { reward: -1, correct: false, reason: 'wrong_best', scores: [9, 3] },
      { reward: -1, correct: false, reason: 'not_a_number', scores: null },
    ]);
    expect(rewardBatch([])).toEqual({ kind: 'rewards', rewards: [] });
  });

  it('R2: has no rewards at all when a row is malformed, and says which rows and fields', () => {
    const good = { completion: said('3, 9'), best: 1, n: 2 };
    expect(rewardBatch([good, { ...good, best: 5 }, good, {}])).toMatchObject({
      kind: 'violations',
      count: 3,
      violations: [
        { index: 1, field: 'best' },
        { index: 3, field: 'completion' },
        { index: 3, field: 'labels' },
      ],
    });
    const all = rewardBatch(Array.from({ length: 200 }, () => ({})));
    expect(all).toMatchObject({ kind: 'violations', count: 400 });
    expect(all.kind === 'violations' && all.violations).toHaveLength(limits.violationsMax);
  });
});
