import { expect, test } from 'vitest';
import { limits } from '../../../src/limits.js';
import { nextTurn } from '../../../src/process/clock.js';
import { openCancellations } from '../../../src/worker/cancellations.js';
import { virtualClock } from '../../support/virtual-clock.js';

test('what was queued before the cancel is dropped, a retry of the same request is not, whatever the clocks within cancelSkewMs', async () => {
  const clock = virtualClock();
  const book = openCancellations(clock);
  await clock.advance(60_000);
  const now = clock.now();
  const before = nextTurn();
  expect(book.has('r', before, now)).toBe(false);
  book.cancel('r');
  const after = nextTurn();
  expect(book.has('r', after, now - limits.cancelSkewMs - 1)).toBe(true);
  expect(book.has('r', after, now - limits.cancelSkewMs)).toBe(false);
  expect(book.has('r', after, now)).toBe(false);
  expect(book.has('other', 0, 0)).toBe(false);
  // What was here before the notice is old, whenever it was queued: also when both came within one millisecond.
  expect(book.has('r', before, now)).toBe(true);
});

test('what runs is aborted, all of it and nothing else; what begins later is not', () => {
  const book = openCancellations(virtualClock());
  const [one, two, other] = [book.watch('r'), book.watch('r'), book.watch('other')];
  expect([...book.running()]).toEqual(['r', 'other']);
  expect(book.cancel('r')).toBe(true);
  expect([one, two, other].map(({ signal }) => signal.aborted)).toEqual([true, true, false]);
  expect(book.watch('r').signal.aborted).toBe(false);
});

test('what is done is forgotten', () => {
  const book = openCancellations(virtualClock());
  const [one, two] = [book.watch('r'), book.watch('r')];
  one.done();
  expect([...book.running()]).toEqual(['r']);
  two.done();
  two.done();
  expect([...book.running()]).toEqual([]);
  expect(book.cancel('r')).toBe(false);
  expect(one.signal.aborted).toBe(false);
});

test('P4: the memory of cancelled requests is bounded', async () => {
  const clock = virtualClock();
  const book = openCancellations(clock);
  for (let i = 0; i <= limits.cancelledMax; i++) book.cancel(`r${i}`);
  await clock.advance(60_000);
  expect(book.has('r0', 0, 0)).toBe(false);
  expect(book.has(`r${limits.cancelledMax}`, 0, 0)).toBe(true);
});
