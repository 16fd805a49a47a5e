import { describe, expect, it } from 'vitest';
import { makeFailedSample, makeSample } from '../../../src/grm/make-sample.js';
import { provenance } from '../../support/judgement.js';

describe('a sample', () => {
  const text = 'Specific Criteria:\nTruth\nAnalysis:\nB is right.\nScores: \\boxed{9, 5}';

  it('carries its scores in both orders, its parts and where it came from', () => {
    const from = provenance({ permutation: [1, 0], seed: 99, worker: 'w', engine: 'e', model: 'm' });
    expect(makeSample(3, text, from)).toEqual({
      kind: 'scored',
      index: 3,
      text,
      principles: 'Truth',
      critique: 'B is right.',
      shownScores: [9, 5],
      scores: [5, 9],
      ...from,
    });
  });

  it('P7: that cannot be read is invalid, with its reason and its whole text', () => {
    const three = makeSample(0, text, provenance({ permutation: [2, 0, 1] }));
    expect(three).toMatchObject({ kind: 'invalid', reason: 'wrong_count', text, critique: 'B is right.', index: 0 });
    expect(three).not.toHaveProperty('scores');
    const cut = makeSample(0, 'Analysis:\nB', provenance({ finishReason: 'length' }));
    expect(cut).toMatchObject({ kind: 'invalid', reason: 'truncated' });
  });

  it('P7: that no engine gave is invalid too', () => {
    const from = provenance();
    expect(makeFailedSample(5, 'dead_letter', 'died 5 times', from)).toEqual({
      kind: 'invalid',
      index: 5,
      reason: 'dead_letter',
      detail: 'died 5 times',
      text: '',
      principles: '',
      critique: '',
      ...from,
    });
  });
});
