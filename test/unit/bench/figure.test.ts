import { expect, test } from 'vitest';
import { figure, unfinished, type FigurePlan } from '../../../bench/figure.js';
import { measurements } from '../../../bench/measurements.js';
import { pageOf } from '../../../bench/page.js';

const plan: FigurePlan = { name: 'one', unit: '1/s', bar: { of: 'ratio', is: 'at least', limit: 0.9 } };

test('a figure is judged by its ratio to the ceiling, and not where it lies well above it', () => {
  expect(figure(plan, 95, 100)).toMatchObject({
    value: 95,
    ceiling: 100,
    ratio: 0.95,
    bar: 'ratio at least 0.9',
    met: true,
  });
  expect(figure(plan, 80, 100).met).toBe(false);
  expect(figure(plan, 136, 100).met).toBeNull();
  expect(figure(plan, 95, 100)).not.toHaveProperty('error');
  expect(figure({ name: 'two', unit: 'ms' }, 3)).toMatchObject({ ceiling: null, ratio: null, bar: null, met: null });
});

test('an unfinished figure has no number, and the page says why', () => {
  const none = unfinished(plan, 'its time was over after 3 s');
  expect(none).toMatchObject({ value: null, ceiling: null, ratio: null, bar: 'ratio at least 0.9', met: null });
  const page = pageOf(
    [
      {
        measurement: measurements[0]!,
        figures: [figure(plan, 95, 100), { ...none, name: 'two' }, figure({ ...plan, name: 'three' }, 95, 100, 0.5)],
      },
    ],
    'a machine',
    8,
  );
  expect(page).toMatch(/\| one +\| 95\.0 1\/s +\| 100 1\/s +\| 0\.95 +\| ratio at least 0\.9 +\| yes +\|/);
  expect(page).toMatch(/\| three +\| 95\.0 ± 0\.50 1\/s +\|/);
  expect(page).toMatch(/\| two +\| unfinished +\| +\| +\| ratio at least 0\.9 +\| +\|/);
  expect(page).toContain('Unfinished, because its time was over after 3 s: two.');
  expect(page).toContain('## What is not measured');
});

test('every figure has a name of its own', () => {
  const names = measurements.flatMap(({ figures }) => figures.map(({ name }) => name));
  expect(new Set(names).size).toBe(names.length);
});
