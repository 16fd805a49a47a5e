// Determinism: a seed is the same history every time, to the last entry.

import { expect, test } from 'vitest';
import { simulate, told } from './simulate.js';

test('a seed replays: the same history twice', async () => {
  for (const seed of [1, 2, 3, 4, 5, 6, 7, 8]) expect(told(await simulate(seed))).toBe(told(await simulate(seed)));
});
