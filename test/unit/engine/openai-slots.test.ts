import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { Slots } from '../../../src/engine/openai-slots.js';

describe('slots', () => {
  it('go to the next in line, first come first served', async () => {
    const slots = new Slots(1);
    const { signal } = new AbortController();
    const order: number[] = [];
    await slots.take(signal);
    const waiting = [1, 2, 3].map(async (name) => {
      await slots.take(signal);
      order.push(name);
      slots.give();
    });
    expect(slots.waiting).toBe(3);
    slots.give();
    await Promise.all(waiting);
    expect(order).toEqual([1, 2, 3]);
    expect([slots.taken, slots.waiting]).toEqual([0, 0]);
  });

  it('are never more than the capacity, and all come back, whoever gives up waiting', async () => {
    const taker = fc.record({ holdTurns: fc.nat(5), abortTurn: fc.option(fc.nat(5)) });
    await fc.assert(
      fc.asyncProperty(fc.integer({ min: 1, max: 3 }), fc.array(taker, { maxLength: 12 }), async (capacity, takers) => {
        const slots = new Slots(capacity);
        const turns = async (count: number) => {
          for (let turn = 0; turn < count; turn++) await new Promise<void>((resolve) => setImmediate(resolve));
        };
        await Promise.all(
          takers.map(async ({ holdTurns, abortTurn }) => {
            const controller = new AbortController();
            if (abortTurn !== null) void turns(abortTurn).then(() => controller.abort());
            if (!(await slots.take(controller.signal))) return;
            expect(slots.taken).toBeLessThanOrEqual(capacity);
            await turns(holdTurns);
            slots.give();
          }),
        );
        expect([slots.taken, slots.waiting]).toEqual([0, 0]);
      }),
      { numRuns: 50 },
    );
  });
});
