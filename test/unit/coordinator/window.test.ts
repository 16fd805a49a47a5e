import { expect, test } from 'vitest';
import { Dispatcher } from '../../../src/coordinator/dispatch.js';
import { windowOf } from '../../../src/coordinator/window.js';
import { limits } from '../../../src/limits.js';

const fleet = (slots: number, coordinators = 1) => ({
  fleet: () => ({ engines: Math.ceil(slots / 64), slots, busyRatio: 0 }),
  coordinators: () => Array.from({ length: coordinators }, (_, at) => `coordinator-${at}`),
});

test('by itself the window is a share of the slots and a quarter more, within what admission lets in', () => {
  const auto = { dispatchSamplesMax: 'auto', samplesInFlightMax: 100_000 } as const;
  expect(windowOf(auto, fleet(64_000))).toBe(80_000);
  expect(windowOf(auto, fleet(64_000, 4))).toBe(20_000);
  expect(windowOf(auto, fleet(192_000))).toBe(100_000);
  expect(windowOf(auto, fleet(0, 0))).toBe(limits.dispatchSamplesMin);
  expect(windowOf({ ...auto, samplesInFlightMax: 50 }, fleet(64_000))).toBe(50);
});

test('a window that was set does not move', () => {
  expect(windowOf({ dispatchSamplesMax: 10, samplesInFlightMax: 100 }, fleet(64_000))).toBe(10);
});

test('a dispatcher whose window grows sends what waited at its next turn', () => {
  let window = 2;
  const dispatcher = new Dispatcher(() => window, { class: { interactive: 8, rl: 4, batch: 1 }, tenant: {} });
  const account = dispatcher.open('a', 'rl');
  let sent = 0;
  for (let at = 0; at < 10; at++) account.submit(1, () => sent++);
  expect(sent).toBe(2);
  window = 6;
  account.settle(1);
  expect(sent).toBe(7);
  expect(dispatcher.out).toBe(6);
});
