import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { balance, type Labelled } from '../../../src/spct/balance.js';

const rows = fc
  .array(fc.record({ label: fc.constantFrom(0, 1), split: fc.constantFrom('train', 'validation', 'test') }), {
    maxLength: 60,
  })
  .map((all) => all.map((each, at) => ({ ...each, key: `row ${at}` })));

function classes(all: readonly Labelled[]): [number, number] {
  const ones = all.filter(({ label }) => label === 1).length;
  return [all.length - ones, ones];
}

describe('balance', () => {
  it('B1, B2, B4: down makes the training classes equal and touches nothing else', () => {
    fc.assert(
      fc.property(rows, fc.nat(), (all, seed) => {
        const shares = balance(all, 'down', seed);
        const kept = all.filter((_, at) => shares[at]!.kept);
        const others = (list: readonly Labelled[]): Labelled[] => list.filter(({ split }) => split !== 'train');
        expect(others(kept)).toEqual(others(all));
        const train = (list: readonly Labelled[]) => classes(list.filter(({ split }) => split === 'train'));
        const before = train(all);
        const smaller = Math.min(...before);
        expect(train(kept)).toEqual(smaller === 0 ? before : [smaller, smaller]);
      }),
    );
  });

  it('B2: which rows go does not depend on their order', () => {
    fc.assert(
      fc.property(rows, fc.nat(), (all, seed) => {
        const keptOf = (list: readonly Labelled[]): string[] => {
          const shares = balance(list, 'down', seed);
          return list
            .filter((_, at) => shares[at]!.kept)
            .map(({ key }) => key)
            .sort();
        };
        expect(keptOf(all.toReversed())).toEqual(keptOf(all));
      }),
    );
  });

  it('B1, B3, B4: weights keep every row, weigh the classes alike, and have mean 1', () => {
    fc.assert(
      fc.property(rows, (all) => {
        const shares = balance(all, 'weight', 0);
        expect(shares.every(({ kept }) => kept)).toBe(true);
        const sums = [0, 0];
        all.forEach(({ label, split }, at) => {
          if (split === 'train') sums[label]! += shares[at]!.weight;
          else expect(shares[at]!.weight).toBe(1);
        });
        const [zeros, ones] = classes(all.filter(({ split }) => split === 'train'));
        if (zeros > 0 && ones > 0) {
          expect(sums[0]).toBeCloseTo((zeros + ones) / 2, 6);
          expect(sums[1]).toBeCloseTo((zeros + ones) / 2, 6);
        } else expect(sums).toEqual([zeros, ones]);
      }),
    );
  });

  it('none changes nothing', () => {
    expect(balance([{ key: 'a', label: 1, split: 'train' }], 'none', 0)).toEqual([{ kept: true, weight: 1 }]);
  });
});
