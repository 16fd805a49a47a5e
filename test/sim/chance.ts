// Chance: everything random in a simulation, from its seed. Each part of a simulation draws from a stream of its own, so that one more draw
// in one part leaves the others as they were.

import { deriveSeed, uint32Stream } from '../../src/grm/seed.js';

export interface Chance {
  /** 0 <= x < 1. */
  ratio(): number;
  /** A whole number min..max. */
  whole(min: number, max: number): number;
  /** True in `share` of the cases. */
  is(share: number): boolean;
  of<T>(items: readonly T[]): T;
}

export function chanceOf(seed: number, part: string): Chance {
  const next = uint32Stream(deriveSeed(part, seed));
  const ratio = (): number => next() / 2 ** 32;
  const whole = (min: number, max: number): number => min + Math.floor(ratio() * (max - min + 1));
  return {
    ratio,
    whole,
    is: (share) => ratio() < share,
    of: (items) => {
      const item = items[whole(0, items.length - 1)];
      if (item === undefined) throw new RangeError('nothing to choose from');
      return item;
    },
  };
}
