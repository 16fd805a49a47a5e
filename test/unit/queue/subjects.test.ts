import fc from 'fast-check';
import { expect, test } from 'vitest';
import {
  consumerName,
  filters,
  parseLane,
  parseLeaseSubject,
  parseWorkSubject,
  roleOf,
  subjects,
  token,
} from '../../../src/queue/subjects.js';

test('subjects are spelled as the streams expect them', () => {
  expect(subjects.request('r1')).toBe('grm.req.r1');
  expect(subjects.append('res', 'r1', 'n0ncea0-2', 0)).toBe('grm.res.r1.n0ncea0-2-0');
  expect(subjects.append('mres', 'r1', 'n0ncea0-2', 7)).toBe('grm.mres.r1.n0ncea0-2-7');
  expect(subjects.voided('res', 'r1', 'n0ncea0-2', 7)).toBe('grm.void.res.r1.n0ncea0-2-7');
  expect(subjects.again('mres', 'r1', 'n0ncea0-2')).toBe('grm.out.mres.r1.n0ncea0-2-again');
  expect(subjects.verdict('r1')).toBe('grm.fin.r1');
  expect(subjects.shard('grm', 'rl', 'r1', 2)).toBe('grm.work.grm.rl.r1.2');
  expect(subjects.metaTask('meta', 'batch', 'r1', 2)).toBe('grm.meta.meta.batch.r1.2');
  expect(subjects.dead('r1', 'meta', 3)).toBe('grm.dead.r1.meta.3');
  expect(filters.out).toBe('grm.out.*.*.*');
  expect(filters.work('sample', 'grm', 'interactive')).toBe('grm.work.grm.interactive.*.*');
  expect(filters.withdraw('meta', 'r1')).toBe('grm.meta.*.*.r1.*');
  expect(consumerName('grm', 'rl')).toBe('grm-rl');
});

test('the subjects of a node hold its role, so that permissions can be given by it', () => {
  expect(subjects.lease('grm-worker-0a1b')).toBe('$KV.GRM_CLUSTER.lease.grm-worker.grm-worker-0a1b');
  expect(subjects.node('coordinator-0a1b')).toBe('grm.ctl.node.coordinator.coordinator-0a1b');
  expect(parseLeaseSubject(subjects.lease('meta-worker-0a1b'))).toBe('meta-worker-0a1b');
  // A worker that writes a coordinator's lease where it may write.
  expect(parseLeaseSubject('$KV.GRM_CLUSTER.lease.grm-worker.coordinator-0a1b')).toBeUndefined();
  expect(parseLeaseSubject('$KV.GRM_CLUSTER.lease.grm-worker-0a1b')).toBeUndefined();
  for (const name of ['a', 'a-b', '-a', 'a-', '-']) {
    expect(parseLeaseSubject(subjects.lease(name)), name).toBe(name);
    expect(roleOf(name)).not.toBe('');
  }
});

test('the lane in what is said of it; what versions before lanes wrote names none', () => {
  for (const unit of ['n0ncea0-2-0', 'n0ncea0-2-again']) expect(parseLane(unit)).toBe('n0ncea0-2');
  for (const unit of ['0', '127', '', '-1']) expect(parseLane(unit)).toBeUndefined();
});

test('what was spelled is read back', () => {
  expect(parseWorkSubject(subjects.shard('pool_1', 'batch', 'Re-q', 9))).toEqual({
    pool: 'pool_1',
    class: 'batch',
    requestId: 'Re-q',
  });
  expect(parseWorkSubject('grm.work.x')).toBeUndefined();
});

test('no id can widen a subject: whatever passes is one token without wildcards', () => {
  fc.assert(
    fc.property(fc.string({ unit: 'grapheme-ascii', maxLength: 140 }), (id) => {
      const safe = /^[A-Za-z0-9_-]+$/.test(id) && id.length <= 128;
      try {
        return token(id, 'id') === id && safe;
      } catch (error) {
        return error instanceof RangeError && !safe;
      }
    }),
    { numRuns: 300 },
  );
  for (const id of ['', '.', '*', '>', 'a.b', 'a b', 'a\n', '$', 'x'.repeat(129)]) {
    expect(() => subjects.request(id)).toThrow(RangeError);
  }
  for (const index of [-1, 0.5, NaN, Infinity])
    expect(() => subjects.append('res', 'r', 'l', index)).toThrow(RangeError);
});
