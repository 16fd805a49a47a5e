import fc from 'fast-check';
import { expect, test } from 'vitest';
import { Credit } from '../../../src/worker/credit.js';

test('K2: what was taken is given back exactly once', () => {
  const credit = new Credit();
  credit.setSlots(4);
  credit.take(3);
  credit.give(3);
  expect(() => credit.give(1)).toThrow('K2');
  expect(credit).toMatchObject({ slots: 4, taken: 0, free: 4 });
});

test('free is never negative and follows slots, takes and gives', () => {
  const acts = fc.array(
    fc.oneof(
      fc.record({ slots: fc.nat(64) }),
      fc.record({ take: fc.integer({ min: 1, max: 8 }) }),
      fc.constant('give' as const),
    ),
  );
  fc.assert(
    fc.property(acts, (list) => {
      const credit = new Credit();
      const held: number[] = [];
      let slots = 0;
      for (const act of list) {
        if (act === 'give') {
          const samples = held.pop();
          if (samples !== undefined) credit.give(samples);
        } else if ('take' in act) {
          credit.take(act.take);
          held.push(act.take);
        } else {
          slots = act.slots;
          credit.setSlots(slots);
        }
        const taken = held.reduce((sum, samples) => sum + samples, 0);
        expect(credit).toMatchObject({ taken, slots, free: Math.max(0, slots - taken) });
      }
    }),
  );
});

test('whenFree waits for a slot, whoever makes it; whenIdle for the last one', async () => {
  const credit = new Credit();
  const never = new AbortController().signal;
  const log: string[] = [];
  const free = credit.whenFree(never).then(() => log.push('free'));
  credit.take(2);
  credit.setSlots(2);
  await Promise.resolve();
  expect(log).toEqual([]);
  const idle = credit.whenIdle(never).then(() => log.push('idle'));
  credit.give(1);
  await free;
  expect(log).toEqual(['free']);
  credit.give(1);
  await idle;
  expect(log).toEqual(['free', 'idle']);
});

test('an abort ends a wait and leaves no listener behind', async () => {
  const credit = new Credit();
  const stop = new AbortController();
  const waiting = credit.whenFree(stop.signal);
  stop.abort();
  await waiting;
  expect(credit.free).toBe(0);
  await credit.whenFree(stop.signal);
});
