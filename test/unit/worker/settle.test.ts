import fc from 'fast-check';
import { expect, test } from 'vitest';
import { limits } from '../../../src/limits.js';
import { Events } from '../../../src/observe/events.js';
import type { Delivery } from '../../../src/queue/queue.js';
import type { WorkerContext } from '../../../src/worker/context.js';
import { backoffMs, inTurn, isLastTry, quarantine } from '../../../src/worker/settle.js';
import { virtualClock } from '../../support/virtual-clock.js';

test('X8, M1: every delivery after the first begins one part further on, round and round', () => {
  const firsts = [2, 3, 4, 5].map((deliveries) => inTurn(['a', 'b', 'c'], deliveries).join(''));
  expect(firsts).toEqual(['abc', 'bca', 'cab', 'abc']);
});

test('back-off: grows with the deliveries, is jittered by half, bounded, and waits as long as it was asked to', () => {
  const unit = fc.double({ min: 0, max: 1, maxExcluded: true, noNaN: true });
  fc.assert(
    fc.property(
      fc.integer({ min: 1, max: 1_000 }),
      unit,
      fc.integer({ min: 0, max: 100_000 }),
      (deliveries, r, asked) => {
        const ms = backoffMs(deliveries, () => r, asked);
        const step = Math.min(15_000, 250 * 2 ** (deliveries - 1));
        expect(Number.isInteger(ms)).toBe(true);
        expect(ms).toBeLessThanOrEqual(15_000);
        expect(ms).toBeGreaterThanOrEqual(Math.min(15_000, Math.max(asked, Math.floor(step / 2))));
      },
    ),
  );
  expect(backoffMs(1, () => 0)).toBe(125);
  expect(backoffMs(3, () => 0.5)).toBe(750);
});

test('the last try is the one of limits.deliveriesMax', () => {
  expect([1, limits.deliveriesMax - 1, limits.deliveriesMax, 99].map(isLastTry)).toEqual([false, false, true, true]);
});

test('P5: quarantine writes the history, answers, and only then removes the delivery', async () => {
  const order: string[] = [];
  const clock = virtualClock(42);
  const events = new Events();
  events.on('delivery.dead', ({ reason }) => void order.push(`event ${reason}`));
  const context = {
    nodeId: 'w',
    clock,
    events,
    dead: {
      put: async (letter: unknown) => {
        await Promise.resolve();
        order.push(`dead ${JSON.stringify(letter)}`);
      },
    },
  } as unknown as WorkerContext;
  const delivery = { deliveries: 5, term: () => void order.push('term') } as unknown as Delivery<unknown>;
  const unit = { requestId: 'r', stage: 'sample', unit: 3, samples: [6] } as const;
  const answer = async (): Promise<void> => {
    await Promise.resolve();
    order.push('answer');
  };
  await quarantine(delivery, unit, 'why', answer, context);
  const letter = { ...unit, reason: 'why', deliveries: 5, worker: 'w', diedAtMs: 42 };
  expect(order).toEqual([`dead ${JSON.stringify(letter)}`, 'answer', 'term', 'event why']);

  order.length = 0;
  const failing = (): Promise<void> => Promise.reject(new Error('NATS is away'));
  await expect(quarantine(delivery, unit, 'why', failing, context)).rejects.toThrow('NATS is away');
  expect(order).not.toContain('term');
});
