import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { deriveSeed, sampleSeed, seededShuffle, uint32Stream } from '../../../src/grm/seed.js';

const uint32Max = 0xffff_ffff;

describe('seeds', () => {
  it('P3: derive the same numbers on every machine and in every version (golden)', () => {
    expect([deriveSeed(''), deriveSeed('request-1', 'tie'), deriveSeed('request-1', 'sample', 42)])
      .toMatchInlineSnapshot(`
      [
        1457101805,
        810955833,
        4154902553,
      ]
    `);
    expect([0, 1, 2].map((index) => sampleSeed('request-1', 42, index))).toMatchInlineSnapshot(`
      [
        3580930824,
        3718910507,
        723841176,
      ]
    `);
    expect(seededShuffle([0, 1, 2, 3, 4, 5], 99)).toMatchInlineSnapshot(`
      [
        2,
        4,
        1,
        0,
        5,
        3,
      ]
    `);
  });

  it('derive uint32s that depend on every part and on the joints between them', () => {
    fc.assert(
      fc.property(fc.string(), fc.string(), fc.string(), (a, b, c) => {
        const seed = deriveSeed(a, b, c);
        expect(Number.isInteger(seed) && seed >= 0 && seed <= uint32Max).toBe(true);
        if (b !== '') expect(deriveSeed(a + b, c)).not.toBe(deriveSeed(a, b, c));
        if (b !== '') expect(deriveSeed(a, b + c)).not.toBe(deriveSeed(a, b, c));
      }),
    );
    expect(deriveSeed('ab', 'c')).not.toBe(deriveSeed('a', 'bc'));
    expect(deriveSeed('a', 1, 2)).not.toBe(deriveSeed('a', 12));
  });

  it('never give two samples of a request the same seed, nor one that engines read as "random"', () => {
    fc.assert(
      fc.property(fc.string(), fc.nat(uint32Max), (requestId, planSeed) => {
        const seeds = Array.from({ length: 128 }, (_, index) => sampleSeed(requestId, planSeed, index));
        expect(new Set(seeds).size).toBe(128);
        for (const seed of seeds) expect(Number.isInteger(seed) && seed > 0 && seed < uint32Max).toBe(true);
      }),
    );
    expect(sampleSeed('r', 1, 0)).not.toBe(sampleSeed('r', 2, 0));
    expect(sampleSeed('r', 1, 0)).not.toBe(sampleSeed('s', 1, 0));
  });

  it('spread: shuffles put every item in every place about equally often', () => {
    const counts = Array.from({ length: 4 }, () => [0, 0, 0, 0]);
    for (let seed = 0; seed < 4_000; seed += 1) {
      for (const [place, item] of seededShuffle([0, 1, 2, 3], seed).entries()) counts[place]![item]! += 1;
    }
    // 1000 expected, standard deviation 27: six of them.
    for (const count of counts.flat()) expect(Math.abs(count - 1_000)).toBeLessThan(165);
  });

  it('shuffle a copy and lose nothing', () => {
    fc.assert(
      fc.property(fc.array(fc.integer()), fc.nat(uint32Max), (items, seed) => {
        const before = [...items];
        const shuffled = seededShuffle(items, seed);
        expect(items).toEqual(before);
        expect([...shuffled].sort()).toEqual([...items].sort());
        expect(seededShuffle(items, seed)).toEqual(shuffled);
      }),
    );
  });

  it('stream uint32s that repeat for the same seed', () => {
    const [one, two] = [uint32Stream(5), uint32Stream(5)];
    const drawn = Array.from({ length: 1_000 }, () => one());
    expect(Array.from({ length: 1_000 }, () => two())).toEqual(drawn);
    expect(new Set(drawn).size).toBe(1_000);
  });
});
