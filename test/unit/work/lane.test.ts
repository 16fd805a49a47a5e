import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { limits } from '../../../src/limits.js';
import { someJudge } from '../../support/work-values.js';
import { firstOf, indexesOf, laneNumber, laneOf, lanePrefix, lanesOf } from '../../../src/work/lane.js';
import { planShards } from '../../../src/work/plan.js';
import { plan } from '../../support/judgement.js';
import { aMetaTask, aRecord } from '../../support/work-values.js';

const counts = fc.integer({ min: 1, max: limits.responsesMax });

function recordOf(n: number, k: number) {
  const content = { messages: [], responses: Array.from({ length: n }, (_, i) => `response ${i}`), principles: [] };
  return aRecord('r1', { content, plan: plan({ k }) });
}

describe('lanes', () => {
  test('A2: lanes are neighbours, in order, and none holds more than it may', () => {
    const lanes = lanesOf(
      recordOf(3, limits.kMax),
      Array.from({ length: limits.kMax }, (_, index) => index),
    );
    expect([...lanes.values()].flat()).toEqual(Array.from({ length: limits.kMax }, (_, index) => index));
    for (const indexes of lanes.values()) expect(indexes.length).toBeLessThanOrEqual(limits.laneSamplesMax);
  });

  test('the usual requests have few lanes', () => {
    expect(lanesOf(recordOf(2, 8), [0, 1, 2, 3, 4, 5, 6, 7]).size).toBe(1);
    expect(new Set(Array.from({ length: 32 }, (_, index) => laneNumber(index))).size).toBe(4);
  });

  test('A1: whatever is planned of a request, in whatever shards, is in the lane that its index says', () => {
    const cases = fc
      .tuple(counts, fc.integer({ min: 1, max: 48 }))
      .chain(([n, k]) =>
        fc.tuple(
          fc.constant(recordOf(n, k)),
          fc.subarray(Array.from({ length: k }, (_, i) => i)),
          fc.integer({ min: 1, max: 8 }),
        ),
      );
    fc.assert(
      fc.property(cases, ([record, indexes, samplesMax]) => {
        const context = { deadlineAtMs: 9, nowMs: 5, samplesMax, inline: false, run: 'c-1' };
        for (const { samples, lane } of planShards(record, indexes, context)) {
          for (const { index } of samples) expect(laneOf(record, index)).toBe(lane);
        }
      }),
    );
  });

  test('A3: another content under the same id, another template, another judge and another way of drawing have other lanes', () => {
    const record = { ...recordOf(2, 8), judge: someJudge };
    const { judge: _judge, ...unnamed } = record;
    const others = [
      unnamed,
      { ...record, judge: { ...someJudge, id: 'b1b2c3d4e5f60718' } },
      { ...record, plan: { ...record.plan, temperature: record.plan.temperature + 0.1 } },
      { ...record, nonce: `${record.nonce}x` },
      { ...record, plan: { ...record.plan, templateHash: 'f'.repeat(64) } },
    ];
    for (const other of others) {
      expect(laneOf(other, 0)).not.toBe(laneOf(record, 0));
      expect(laneOf(other, 0).startsWith(lanePrefix(record))).toBe(false);
    }
    expect(laneOf(record, 5).startsWith(lanePrefix(record))).toBe(true);
  });
});

test('a meta task is named by its lowest index and told apart by all of them', () => {
  const task = (...indexes: number[]) => aMetaTask('r1', 0, { items: indexes.map((index) => ({ index })) });
  expect(firstOf(task(6, 2, 4))).toBe(2);
  expect(indexesOf(task(0, 2))).not.toBe(indexesOf(task(0, 2, 4)));
});
