import fc from 'fast-check';
import { expect, test } from 'vitest';
import { etaSeconds, secondsFor } from '../../../bench/ahead.js';
import { measurements } from '../../../bench/measurements.js';

const timed = (usualSeconds: number, budgetSeconds: number) => ({ name: 'one', usualSeconds, budgetSeconds });

test('a whole run fits ten minutes: the budgets are no more, and none is below what it takes', () => {
  expect(measurements.reduce((sum, { budgetSeconds }) => sum + budgetSeconds, 0)).toBeLessThanOrEqual(600);
  for (const { name, usualSeconds, budgetSeconds } of measurements) {
    expect(budgetSeconds, name).toBeGreaterThan(usualSeconds);
  }
});

test('whatever each takes of its time, all together take no more than there is, and the next one has at least its own part of it', () => {
  const plan = fc.array(
    fc.record({ budget: fc.integer({ min: 1, max: 100 }), used: fc.double({ min: 0, max: 1, noNaN: true }) }),
    {
      minLength: 1,
      maxLength: 8,
    },
  );
  fc.assert(
    fc.property(plan, fc.integer({ min: 1, max: 1_000 }), (each, total) => {
      const all = each.map(({ budget }) => timed(1, budget));
      const budgets = all.reduce((sum, { budgetSeconds }) => sum + budgetSeconds, 0);
      let left = total;
      each.forEach(({ budget, used }, at) => {
        const seconds = secondsFor(all[at]!, all.slice(at + 1), left);
        expect(seconds).toBeGreaterThanOrEqual((total * budget) / budgets - 1e-6);
        left -= seconds * used;
        expect(left).toBeGreaterThanOrEqual(-1e-6);
      });
    }),
  );
});

test('the time left is what is usual, at the pace of what is done', () => {
  const next = timed(20, 40);
  const rest = [timed(30, 60)];
  expect(etaSeconds([], next, 5, rest)).toBe(45);
  expect(etaSeconds([{ usualSeconds: 10, tookSeconds: 20 }], next, 5, rest)).toBe(95);
  // One that takes longer than usual may end at any moment.
  expect(etaSeconds([], next, 100, rest)).toBe(30);
});
