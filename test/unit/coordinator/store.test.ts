// Storing a verdict where another coordinator's may be first.

import { expect, test } from 'vitest';
import { storeVerdict } from '../../../src/coordinator/store.js';
import type { Ledger } from '../../../src/queue/queue.js';
import { memoryNats } from '../../support/memory-queue.js';
import { virtualClock } from '../../support/virtual-clock.js';
import { aVerdict } from '../../support/work-values.js';

/** The ledger of a cluster whose servers refuse a second verdict some time before they can read the first: `blind` reads find nothing. */
function setting(blind: number) {
  const clock = virtualClock();
  const { ledger } = memoryNats({ clock }).open('me');
  let reads = 0;
  const late: Pick<Ledger, 'putVerdict' | 'verdict'> = {
    putVerdict: (verdict) => ledger.putVerdict(verdict),
    verdict: (requestId) => (++reads <= blind ? Promise.resolve(undefined) : ledger.verdict(requestId)),
  };
  const store = (durationMs: number) =>
    clock.until(storeVerdict(aVerdict('r1', { durationMs }), { ledger: late as Ledger, clock }), 60_000);
  return { ledger, store, reads: () => reads };
}

test('P2: the second verdict is not told, though the first cannot be read yet', async () => {
  const { store, reads } = setting(4);
  expect((await store(1)).durationMs).toBe(1);
  expect((await store(2)).durationMs).toBe(1);
  expect(reads()).toBe(5);
});

test('a verdict that went meanwhile is stored again', async () => {
  const { ledger, store } = setting(1);
  await store(1);
  const second = store(2);
  await ledger.reopen('r1', new Map());
  expect((await second).durationMs).toBe(2);
  expect((await ledger.verdict('r1'))?.durationMs).toBe(2);
});

test('one that nobody can read does not hold its callers for ever', async () => {
  const { store } = setting(Infinity);
  await store(1);
  expect((await store(2)).durationMs).toBe(2);
});
