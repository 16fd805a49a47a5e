// The schedule of a seed is always the same, and no kind of fault is left out.

import { expect, test } from 'vitest';
import { limits } from '../../src/limits.js';
import { faultKinds, isPartition, scheduleOf, type FaultKind } from './schedule.js';

const pace = { durationMs: 120_000, everyMs: 1_000, forMsMax: 5_000 };

test('a seed gives one schedule, and another seed another', () => {
  expect(scheduleOf(7, pace)).toEqual(scheduleOf(7, pace));
  expect(scheduleOf(8, pace)).not.toEqual(scheduleOf(7, pace));
});

test('every kind strikes before any strikes twice, in time, and for no longer than asked', () => {
  for (let seed = 1; seed <= 50; seed++) {
    const strikes = scheduleOf(seed, pace);
    const kinds = strikes.map(({ kind }) => kind);
    expect(new Set(kinds.slice(0, faultKinds.length))).toEqual(new Set(faultKinds));
    expect(new Set(kinds.slice(faultKinds.length, 2 * faultKinds.length))).toEqual(new Set(faultKinds));
    for (const { atMs, kind, forMs, pick } of strikes) {
      expect(atMs).toBeLessThan(pace.durationMs);
      expect(forMs).toBeGreaterThan(0);
      expect(forMs).toBeLessThanOrEqual(pace.forMsMax + (isPartition(kind) ? limits.leaseMs : 0));
      expect(pick).toBeLessThan(1);
    }
    expect(strikes.map(({ atMs }) => atMs)).toEqual(strikes.map(({ atMs }) => atMs).sort((a, b) => a - b));
  }
});

test('a partition outlives the lease of whoever it cuts off', () => {
  const partitions = scheduleOf(3, pace).filter(({ kind }) => isPartition(kind));
  expect(new Set(partitions.map(({ kind }) => kind)).size).toBe(4);
  for (const { forMs } of partitions) expect(forMs).toBeGreaterThan(limits.leaseMs);
});

test('where a machine does not allow some kinds, their blows are left out and all others stay what and when they are', () => {
  const barred = new Set<FaultKind>(['disk full', 'partition nats']);
  for (let seed = 1; seed <= 50; seed++) {
    const all = scheduleOf(seed, pace);
    const allowed = scheduleOf(seed, pace, barred);
    expect(allowed.length).toBeLessThan(all.length);
    expect(allowed).toEqual(all.filter(({ kind }) => !barred.has(kind)));
    expect(scheduleOf(seed, pace, barred)).toEqual(allowed);
  }
});
