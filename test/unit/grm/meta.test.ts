import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { keepByMeta, keptByDefault, metaWeights, rankByMeta } from '../../../src/grm/meta.js';

const ranked = (...metaRewards: number[]) => metaRewards.map((metaReward, index) => ({ index, metaReward }));
const indexes = (samples: readonly { index: number }[]) => samples.map((sample) => sample.index);

describe('what the meta RM keeps', () => {
  it('keeps half of the valid samples, rounded up, at least one', () => {
    expect([0, 1, 2, 3, 4, 5, 8, 32].map(keptByDefault)).toEqual([1, 1, 1, 2, 2, 3, 4, 16]);
  });

  it('ranks by meta reward, then by index', () => {
    expect(indexes(rankByMeta(ranked(0.5, 2, -3, 2, 0.5)))).toEqual([1, 3, 0, 4, 2]);
  });

  it('keeps the best by rule or by number', () => {
    const samples = ranked(-15.7781, 1.3126, 1.6739);
    expect(indexes(keepByMeta(samples, undefined))).toEqual([2, 1]);
    expect(indexes(keepByMeta(samples, 1))).toEqual([2]);
    expect(indexes(keepByMeta(samples, 3))).toEqual([2, 1, 0]);
    expect(indexes(keepByMeta(samples, 99))).toEqual([2, 1, 0]);
    expect(keepByMeta([], undefined)).toEqual([]);
  });

  it('counts valid samples without a meta reward in the rule', () => {
    expect(indexes(keepByMeta(ranked(1, 2, 3), undefined, 8))).toEqual([2, 1, 0]);
    expect(indexes(keepByMeta(ranked(1, 2, 3), undefined, 4))).toEqual([2, 1]);
  });

  it('does not depend on the order given, nor changes it', () => {
    const some = fc.array(fc.integer({ min: -3, max: 3 }), { maxLength: 20 }).map((all) => ranked(...all));
    fc.assert(
      fc.property(some, fc.option(fc.integer({ min: 1, max: 20 }), { nil: undefined }), (samples, kMeta) => {
        const before = [...samples];
        expect(keepByMeta([...samples].reverse(), kMeta)).toEqual(keepByMeta(samples, kMeta));
        expect(samples).toEqual(before);
      }),
    );
  });
});

describe('weights', () => {
  it('are the softmax of the rewards', () => {
    expect(metaWeights([0, 0])).toEqual([0.5, 0.5]);
    const [low, high] = metaWeights([0, Math.log(3)]);
    expect(low).toBeCloseTo(0.25, 12);
    expect(high).toBeCloseTo(0.75, 12);
    expect(metaWeights([])).toEqual([]);
  });

  it('sum to 1 and never overflow', () => {
    fc.assert(
      fc.property(
        fc.array(fc.double({ min: -1e300, max: 1e300, noNaN: true }), { minLength: 1, maxLength: 128 }),
        (rewards) => {
          expect(metaWeights(rewards).reduce((sum, weight) => sum + weight, 0)).toBeCloseTo(1, 9);
        },
      ),
    );
  });
});
