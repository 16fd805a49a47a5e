import fc from 'fast-check';
import { expect, test } from 'vitest';
import { Hedging, type HedgeSettings } from '../../../src/coordinator/hedging.js';
import { limits } from '../../../src/limits.js';

const settings: HedgeSettings = { extraRatio: 0.05, percentile: 0.9, floorMs: 100, observedMin: 10 };

test('H1 (P4): samples asked for again are never more than their share, whatever the order, and no burst is above the bound', () => {
  const steps = fc.array(fc.record({ asked: fc.nat(500), again: fc.integer({ min: 1, max: 8 }) }), { maxLength: 200 });
  fc.assert(
    fc.property(steps, (list) => {
      const hedging = new Hedging(settings);
      let asked = 0;
      let again = 0;
      for (const each of list) {
        hedging.asked(each.asked);
        asked += each.asked;
        if (hedging.take(each.again)) again += each.again;
        expect(again).toBeLessThanOrEqual(asked * settings.extraRatio + 1e-6);
      }
      let burst = 0;
      while (hedging.take(1)) burst++;
      expect(burst).toBeLessThanOrEqual(limits.hedgeSamplesMax);
    }),
  );
});

test('H2: nothing is late before enough was seen; then what is beyond the percentile, and never below the floor', () => {
  const hedging = new Hedging(settings);
  for (let i = 1; i < settings.observedMin; i++) {
    hedging.came(1_000);
    expect(hedging.lateMs()).toBeUndefined();
  }
  hedging.came(1_000);
  expect(hedging.lateMs()).toBe(1_000);
  for (let i = 0; i < 1_000; i++) hedging.came(i < 950 ? 1_000 : 9_000);
  expect(hedging.lateMs()).toBe(1_000);
  for (let i = 0; i < 200; i++) hedging.came(9_000);
  expect(hedging.lateMs()).toBe(9_000);
  for (let i = 0; i < 2 * limits.hedgeObservedMax; i++) hedging.came(5);
  expect(hedging.lateMs()).toBe(settings.floorMs);
});

test('a share of 0: nothing is ever late', () => {
  const hedging = new Hedging({ ...settings, extraRatio: 0 });
  for (let i = 0; i < 100; i++) hedging.came(1_000);
  hedging.asked(10_000);
  expect(hedging.lateMs()).toBeUndefined();
  expect(hedging.take(1)).toBe(false);
});
