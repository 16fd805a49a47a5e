// Sweep: simulates seeds one after the other, and says what is wrong with those that fail.

import { expect } from 'vitest';
import { report, simulate, told } from './simulate.js';
import { seedsOfTheSuite, type Asked } from './seeds.js';

/** Failures that one run tells of; the first is the one to look at. */
const toldMax = 5;

/**
 * Simulates every seed from 1 on whose remainder by `shares` is `share`: the files of this folder run side by side.
 * @param asked one seed alone is simulated in the first share, with its trace
 */
export async function sweep(asked: Asked, share: number, shares: number): Promise<void> {
  const { seed, seeds } = asked;
  if (seed !== undefined) {
    if (share > 0) return;
    const simulated = await simulate(seed);
    console.log(told(simulated));
    expect(simulated.complaints, report(simulated)).toEqual([]);
    return;
  }
  const startedAtMs = Date.now();
  const failures: string[] = [];
  let failed = 0;
  for (let each = 1 + share; each <= seeds; each += shares) {
    const simulated = await simulate(each);
    if (simulated.complaints.length === 0) continue;
    failed++;
    if (failures.length < toldMax) failures.push(report(simulated));
  }
  if (seeds !== seedsOfTheSuite) {
    console.log(`share ${share + 1} of ${shares} of ${seeds} seeds: ${failed} failed, ${Date.now() - startedAtMs} ms`);
  }
  expect(failed, failures.join('\n')).toBe(0);
}
