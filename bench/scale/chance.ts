// Chance: the random numbers of a simulation, from one seed.

import { deriveSeed } from '../../src/grm/seed.js';
import { seededRandom, type Random } from '../../services/fake-engine/random.js';

export function chanceOf(seed: number, ...parts: readonly (string | number)[]): Random {
  return seededRandom(deriveSeed('scale', seed, ...parts));
}

/** Standard normal (Box and Muller 1958). */
export function normal(random: Random): number {
  return Math.sqrt(-2 * Math.log(1 - random())) * Math.cos(2 * Math.PI * random());
}

/** @param median and the standard deviation of the logarithm; 0 gives the median */
export function lognormal(random: Random, median: number, sigma: number): number {
  return sigma === 0 ? median : median * Math.exp(sigma * normal(random));
}

/** @param mean of the time to the next of events that do not know of each other */
export function exponential(random: Random, mean: number): number {
  return -mean * Math.log(1 - random());
}
