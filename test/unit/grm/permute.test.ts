import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { permutations } from '../../../src/grm/permute.js';

const shape = { n: fc.integer({ min: 1, max: 16 }), k: fc.integer({ min: 1, max: 128 }), seed: fc.nat(0xffff_ffff) };

function distinct(orders: readonly (readonly number[])[]): number {
  return new Set(orders.map((order) => order.join())).size;
}

/** counts[place][response] */
function placeCounts(orders: readonly (readonly number[])[], n: number): number[][] {
  const counts = Array.from({ length: n }, () => new Array<number>(n).fill(0));
  for (const order of orders) for (const [place, response] of order.entries()) counts[place]![response]! += 1;
  return counts;
}

describe('permutations', () => {
  it('are permutations, one per sample, the same for the same seed', () => {
    fc.assert(
      fc.property(fc.record(shape), ({ n, k, seed }) => {
        const orders = permutations(n, k, seed);
        expect(orders).toHaveLength(k);
        for (const order of orders)
          expect([...order].sort((a, b) => a - b)).toEqual(Array.from({ length: n }, (_, i) => i));
        expect(permutations(n, k, seed)).toEqual(orders);
      }),
    );
  });

  it('O1: over any n consecutive samples of a square every response stands in every place once', () => {
    fc.assert(
      fc.property(fc.record(shape), ({ n, k, seed }) => {
        const orders = permutations(n, k, seed);
        for (let from = 0; from + n <= k; from += 1) {
          if (n > 2 && Math.floor(from / (4 * n)) !== Math.floor((from + n - 1) / (4 * n))) continue;
          expect(
            placeCounts(orders.slice(from, from + n), n)
              .flat()
              .every((count) => count === 1),
          ).toBe(true);
        }
      }),
      { numRuns: 60 },
    );
  });

  it('O2: every prefix is balanced', () => {
    fc.assert(
      fc.property(fc.record(shape), ({ n, seed }) => {
        const orders = permutations(n, 4 * n, seed);
        for (let length = 1; length <= orders.length; length += 1) {
          const counts = placeCounts(orders.slice(0, length), n).flat();
          expect(Math.max(...counts) - Math.min(...counts)).toBeLessThanOrEqual(n === 1 ? 0 : 1);
        }
      }),
      { numRuns: 60 },
    );
  });

  it('O2: every multiple of n samples is perfectly balanced, across squares too', () => {
    fc.assert(
      fc.property(fc.record({ ...shape, n: fc.integer({ min: 1, max: 9 }) }), ({ n, seed }) => {
        const orders = permutations(n, 128, seed);
        for (let length = n; length <= 128; length += n) {
          expect(new Set(placeCounts(orders.slice(0, length), n).flat())).toEqual(new Set([length / n]));
        }
      }),
      { numRuns: 40 },
    );
  });

  it('for even n, two neighbouring samples see opposite orders', () => {
    for (const n of [2, 4, 6, 8, 16]) {
      const orders = permutations(n, n, 11);
      for (let pair = 0; pair < n; pair += 2) expect(orders[pair + 1]).toEqual([...orders[pair]!].reverse());
    }
  });

  it('balance neighbours: each ordered pair stands side by side once per square (even n) or twice per two squares (odd n)', () => {
    fc.assert(
      fc.property(fc.integer({ min: 3, max: 16 }), fc.nat(0xffff_ffff), (n, seed) => {
        const all = permutations(n, 8 * n, seed);
        const orders = n % 2 === 0 ? all.slice(0, n) : [...all.slice(0, n), ...all.slice(4 * n, 5 * n)];
        const pairs = new Map<string, number>();
        for (const order of orders) {
          for (let place = 1; place < n; place += 1) {
            const pair = `${order[place - 1]!}-${order[place]!}`;
            pairs.set(pair, (pairs.get(pair) ?? 0) + 1);
          }
        }
        expect(pairs.size).toBe(n * (n - 1));
        expect(new Set(pairs.values())).toEqual(new Set([n % 2 === 0 ? 1 : 2]));
      }),
      { numRuns: 60 },
    );
  });

  it('O3: more samples change none already planned', () => {
    fc.assert(
      fc.property(fc.record(shape), ({ n, k, seed }) => {
        expect(permutations(n, 128, seed).slice(0, k)).toEqual(permutations(n, k, seed));
      }),
      { numRuns: 60 },
    );
  });

  it('O4: few distinct orders, and samples of one square share the array', () => {
    expect(permutations(1, 5, 3)).toEqual([[0], [0], [0], [0], [0]]);
    expect(distinct(permutations(2, 128, 3))).toBe(2);
    expect(distinct(permutations(4, 16, 3))).toBe(4);
    expect(distinct(permutations(4, 3, 3))).toBe(3);
    expect(distinct(permutations(4, 17, 3))).toBeGreaterThan(4);
    expect(distinct(permutations(8, 33, 3))).toBe(9);
    expect(distinct(permutations(3, 24, 3))).toBe(6);
    const orders = permutations(4, 8, 3);
    expect(orders[4]).toBe(orders[0]);
  });

  it('depend on the seed', () => {
    expect(
      new Set(Array.from({ length: 20 }, (_, seed) => JSON.stringify(permutations(4, 4, seed)))).size,
    ).toBeGreaterThan(10);
    expect(new Set(Array.from({ length: 20 }, (_, seed) => permutations(2, 1, seed)[0]![0])).size).toBe(2);
  });
});
