// Permute: the order in which each sample sees the responses.
//
// Judges favour places, so every response must stand in every place equally often. Random orders do that only on average; Latin squares do it
// exactly, at every multiple of n samples.
//
//   O1. Within a square, any n consecutive samples show each response in each place exactly once.
//   O2. Every prefix of the samples is balanced: counts of (response, place) differ by at most one inside a square.
//   O3. `permutations(n, k, seed)` is a prefix of `permutations(n, k + 1, seed)`: drawing more samples changes none already planned.
//   O4. Few distinct orders: two for n = 2; n while k <= 4n; n more for each further 4n samples.
//
// The squares are Williams designs ("Experimental designs balanced for the estimation of residual effects of treatments", 1949): each row is a
// zig-zag 0, 1, n-1, 2, n-2, ... shifted by the row's number. For even n one square has every ordered pair of neighbours exactly once, and
// row r + n/2 is row r reversed: rows are taken in that pairing, so that already two samples see opposite orders. For odd n no such
// square exists in general; there the second square mirrors the first, and the two together are balanced for neighbours.
//
// The trade-off: a square uses n of the n! orders. Fewer orders mean that more samples share one whole prompt, which engines then evaluate once; more
// orders mean more diversity. Four samples per order is where we change to the next square.

import { deriveSeed, seededShuffle } from './seed.js';

const samplesPerOrder = 4;

/** The Williams zig-zag of 0..n-1. */
function zigzag(n: number): number[] {
  return Array.from({ length: n }, (_, place) => (place % 2 === 1 ? (place + 1) / 2 : (n - place / 2) % n));
}

function square(n: number, number: number, seed: number): readonly (readonly number[])[] {
  // For odd n squares come in pairs under one labelling: a square and its mirror.
  const mirrored = n % 2 === 1 && number % 2 === 1;
  const labelling = n % 2 === 1 ? number - (number % 2) : number;
  const label = seededShuffle(
    Array.from({ length: n }, (_, response) => response),
    deriveSeed('square', seed, n, labelling),
  );
  const half = Math.ceil(n / 2);
  const row0 = mirrored ? zigzag(n).reverse() : zigzag(n);
  return Array.from({ length: n }, (_, turn) => {
    const shift = turn % 2 === 0 ? turn / 2 : (turn - 1) / 2 + half;
    return row0.map((entry) => label[(entry + shift) % n]!);
  });
}

/**
 * One permutation per sample, by sample index: `permutation[place]` is the index of the response shown in that place.
 * Samples with the same order of the same square share one array.
 */
export function permutations(n: number, k: number, seed: number): readonly (readonly number[])[] {
  const squares: (readonly (readonly number[])[])[] = [];
  return Array.from({ length: k }, (_, index) => {
    // n = 2 has two orders in all: a second square would add none and could put the same order twice in a row.
    const number = n <= 2 ? 0 : Math.floor(index / (samplesPerOrder * n));
    squares[number] ??= square(n, number, seed);
    return squares[number][index % n]!;
  });
}
