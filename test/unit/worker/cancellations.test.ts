import { expect, test } from 'vitest';
import { limits } from '../../../src/limits.js';
import { openCancellations } from '../../../src/worker/cancellations.js';

test('what is of the cancelled run is dropped, a retry of the same request is not, whenever the notice comes', () => {
  const book = openCancellations();
  const [first, second] = ['c-1', 'c-2'];
  expect(book.has('r', first)).toBe(false);
  const [old, retry] = [book.watch('r', first), book.watch('r', second)];
  expect(book.cancel('r', first)).toBe(true);
  expect([old, retry].map(({ signal }) => signal.aborted)).toEqual([true, false]);
  expect(book.has('r', first)).toBe(true);
  expect(book.has('r', second)).toBe(false);
  expect(book.has('other', first)).toBe(false);
  book.cancel('r', second);
  expect(book.has('r', first)).toBe(true);
});

test('without a run all that runs is aborted, nothing else, and nothing is remembered', () => {
  const book = openCancellations();
  const [one, two, other] = [book.watch('r', 'c-1'), book.watch('r', 'c-2'), book.watch('other', 'c-1')];
  expect([...book.running()]).toEqual(['r', 'other']);
  expect(book.cancel('r')).toBe(true);
  expect([one, two, other].map(({ signal }) => signal.aborted)).toEqual([true, true, false]);
  expect(book.watch('r', 'c-1').signal.aborted).toBe(false);
  expect(book.has('r', 'c-1')).toBe(false);
});

test('the signal follows `hurry` too, and says which it was', () => {
  const book = openCancellations();
  const hurry = new AbortController();
  const [one, two, done] = [1, 2, 3].map(() => book.watch('r', 'c-1', hurry.signal));
  done!.done();
  book.cancel('r', 'c-1');
  expect(one!.signal.reason).toBe('cancelled');
  const late = book.watch('r', 'c-2', hurry.signal);
  hurry.abort();
  expect(late.signal.reason).toBe('hurry');
  expect(two!.signal.reason).toBe('cancelled');
  expect(done!.signal.aborted).toBe(false);
  expect(book.watch('r', 'c-3', hurry.signal).signal.reason).toBe('hurry');
});

test('what is done is forgotten', () => {
  const book = openCancellations();
  const [one, two] = [book.watch('r', 'c-1'), book.watch('r', 'c-1')];
  one.done();
  expect([...book.running()]).toEqual(['r']);
  two.done();
  two.done();
  expect([...book.running()]).toEqual([]);
  expect(book.cancel('r', 'c-1')).toBe(false);
  expect(one.signal.aborted).toBe(false);
});

test('P4: the memory of cancelled runs is bounded', () => {
  const book = openCancellations();
  for (let i = 0; i <= limits.cancelledMax; i++) book.cancel('r', `c-${i}`);
  expect(book.has('r', 'c-0')).toBe(false);
  expect(book.has('r', `c-${limits.cancelledMax}`)).toBe(true);
});

test('a cancel of a run ends all its tasks, one of a task ends that task and its hedges; which task is here is known, and how often it was delivered', () => {
  const book = openCancellations();
  const [one, two, hedge] = ['c-1/0', 'c-1/1', 'c-1/1+'].map((task, at) => book.watch('r', task, undefined, 1 + at));
  const deliveries = ['c-1/0', 'c-1/1', 'c-1/2'].map((task) => book.deliveriesOf('r', task));
  expect([...deliveries, book.deliveriesOf('other', 'c-1/1')]).toEqual([1, 2, 0, 0]);
  book.cancel('r', 'c-1/1');
  expect([one, two, hedge].map((each) => each!.signal.aborted)).toEqual([false, true, true]);
  expect(['c-1/0', 'c-1/1', 'c-1/1++'].map((task) => book.has('r', task))).toEqual([false, true, true]);
  book.cancel('r', 'c-1');
  expect([one, two, hedge].map((each) => each!.signal.aborted)).toEqual([true, true, true]);
  expect(book.has('r', 'c-1/7')).toBe(true);
  expect(book.has('r', 'c-10/7')).toBe(false);
});
