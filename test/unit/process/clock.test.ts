import { setTimeout as sleep } from 'node:timers/promises';
import { expect, test } from 'vitest';
import { steadyAfter, steadyAt, steadyNow, systemAt } from '../../../src/process/clock.js';
import { cutoff } from '../../../src/engine/openai-cutoff.js';

/** A system's clock that somebody sets; the returned function sets it back. */
function setClock(byMs: number): () => void {
  const real = Date.now;
  Date.now = () => real() + byMs;
  return () => (Date.now = real);
}

test('K1: a clock that is set moves neither what is left of a deadline nor what has passed', () => {
  const before = steadyNow();
  const wall = systemAt(before + 5_000) - Date.now();
  for (const byMs of [600_000, -600_000]) {
    const setBack = setClock(byMs);
    expect(steadyNow() - before).toBeLessThan(60_000);
    expect(steadyNow()).toBeGreaterThanOrEqual(before);
    // For a library that takes a Date: the same time from now on.
    expect(Math.abs(systemAt(before + 5_000) - Date.now() - wall)).toBeLessThan(60_000);
    const cut = cutoff([], before + 3_600_000);
    expect(cut.why).toBeUndefined();
    cut.dispose();
    setBack();
  }
});

test('K2: an instant of one clock is told by the other', () => {
  const clock = { now: () => 5_000, steadyNow: () => 17, after: steadyAfter };
  expect(steadyAt(clock, 5_250)).toBe(267);
  expect(steadyAt(clock, 4_000)).toBe(-983);
});

test('a delay of thirty days, longer than a timer of Node takes, does not fire at once; one without end never does', async () => {
  const fired: string[] = [];
  const warnings: Error[] = [];
  const warned = (warning: Error) => void warnings.push(warning);
  process.on('warning', warned);
  const days = 30 * 86_400_000;
  const ends = [
    steadyAfter(days, () => fired.push('30 days')),
    steadyAfter(Infinity, () => fired.push('never')),
    steadyAfter(1, () => fired.push('soon')),
  ];
  const cut = cutoff([], steadyNow() + days);
  cut.limit(days);
  await sleep(30);
  expect(fired).toEqual(['soon']);
  expect(cut.why).toBeUndefined();
  expect(warnings).toEqual([]);
  cut.dispose();
  for (const end of ends) end();
  process.off('warning', warned);
});
