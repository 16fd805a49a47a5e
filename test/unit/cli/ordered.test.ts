import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { Ordered } from '../../../src/cli/ordered.js';

const never = new AbortController().signal;

/** Whether it has resolved by now. */
async function isSettled(promise: Promise<unknown>): Promise<boolean> {
  const pending = Symbol('pending');
  await new Promise((resolve) => setImmediate(resolve));
  return (await Promise.race([promise, Promise.resolve(pending)])) !== pending;
}

describe('ordered', () => {
  it('O1: gives each value once, in order, however they come', async () => {
    const order = fc.nat(40).chain((count) => fc.shuffledSubarray([...Array(count).keys()], { minLength: count }));
    await fc.assert(
      fc.asyncProperty(order, fc.nat(5), async (numbers, first) => {
        const given: [number, number][] = [];
        const ordered = new Ordered<number>(first, { aheadMax: 100, bytesMax: 1e9 }, (value, at) =>
          given.push([value, at]),
        );
        for (const number of [...numbers].sort((a, b) => a - b)) await ordered.admit(first + number, 1, never);
        for (const number of numbers) ordered.put(first + number, number * 10, 1);
        expect(given).toEqual(numbers.map((_, at) => [at * 10, first + at]));
        expect(ordered.next).toBe(first + numbers.length);
      }),
    );
  });

  it('O2: holds back rows that are too far ahead', async () => {
    const ordered = new Ordered<string>(0, { aheadMax: 2, bytesMax: 1e9 }, () => undefined);
    expect(await ordered.admit(0, 1, never)).toBe(true);
    expect(await ordered.admit(1, 1, never)).toBe(true);
    const third = ordered.admit(2, 1, never);
    ordered.put(1, 'b', 1);
    expect(await isSettled(third)).toBe(false);
    ordered.put(0, 'a', 1);
    expect(await third).toBe(true);
  });

  it('O2: holds back bytes, open and held, but never the row due next', async () => {
    const ordered = new Ordered<string>(0, { aheadMax: 100, bytesMax: 100 }, () => undefined);
    expect(await ordered.admit(0, 1_000, never)).toBe(true);
    const second = ordered.admit(1, 10, never);
    expect(await isSettled(second)).toBe(false);
    ordered.put(0, 'a', 5);
    expect(await second).toBe(true);
    expect(await ordered.admit(2, 80, never)).toBe(true);
    // Its answer weighs more than its question did.
    ordered.put(2, 'c', 95);
    const fourth = ordered.admit(3, 10, never);
    expect(await isSettled(fourth)).toBe(false);
    ordered.put(1, 'b', 5);
    expect(await fourth).toBe(true);
  });

  it('lets nobody wait once the signal aborts', async () => {
    const stop = new AbortController();
    const ordered = new Ordered<string>(0, { aheadMax: 1, bytesMax: 100 }, () => undefined);
    await ordered.admit(0, 1, stop.signal);
    const waits = ordered.admit(1, 1, stop.signal);
    stop.abort();
    expect(await waits).toBe(false);
    expect(await ordered.admit(0, 1, stop.signal)).toBe(false);
  });
});
