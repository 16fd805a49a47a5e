// The simulator's parts: heap, loop, station, engine, figures.

import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import type { DrawJob, DrawResult } from '../../../src/engine/engine.js';
import { SimEngine } from '../../../bench/scale/engine.js';
import { jain, quantile, shares } from '../../../bench/scale/figures.js';
import { Heap } from '../../../bench/scale/heap.js';
import { Loop } from '../../../bench/scale/loop.js';
import { station } from '../../../bench/scale/station.js';
import { smallScenario } from '../../support/scale.js';

describe('heap', () => {
  it('gives back by time, then by order', () => {
    fc.assert(
      fc.property(fc.array(fc.integer({ min: 0, max: 9 })), (times) => {
        const heap = new Heap<{ at: number; order: number }>();
        const pushed = times.map((at, order) => ({ at, order }));
        for (const item of pushed) heap.push(item);
        const popped = pushed.map(() => heap.pop());
        expect(popped).toEqual(pushed.toSorted((a, b) => a.at - b.at || a.order - b.order));
        expect(heap.pop()).toBeUndefined();
      }),
    );
  });
});

describe('loop', () => {
  it('lets chains of promises settle between two events of one time', async () => {
    const loop = new Loop();
    const seen: string[] = [];
    loop.after(5, () => {
      void (async () => {
        for (let step = 0; step < 5; step++) await Promise.resolve();
        seen.push('first');
      })();
    });
    loop.after(5, () => seen.push('second'));
    const callOff = loop.after(6, () => seen.push('never'));
    callOff();
    await loop.run(() => false);
    expect(seen).toEqual(['first', 'second']);
    expect(loop.timeMs).toBe(5);
  });
});

describe('station', () => {
  it('works off what is booked one after the other, over its lanes', () => {
    const time = { timeMs: 0 };
    const two = station('x', time, 2);
    expect([two.book(10), two.book(10)]).toEqual([5, 10]);
    time.timeMs = 20;
    expect(two.book(10)).toBe(5);
    expect(two.bookedMs()).toBe(30);
  });
});

describe('engine', () => {
  const job = (indexes: readonly number[]): DrawJob => ({
    messages: [{ role: 'user', content: 'x' }],
    samples: indexes.map((index) => ({ index, seed: index })),
    temperature: 1,
    topP: 1,
    maxTokens: 1_000,
    deadlineAtMs: Infinity,
    priority: 0,
    requestId: 'r',
  });
  const open = (loop: Loop, slots: number): SimEngine => {
    const { sizes, judge } = { ...smallScenario().inputs, ...smallScenario() };
    const costs = { slots, stepBaseMs: 10, stepPerSequenceMs: 1, prefillTokensPerSecond: 1e12 };
    return new SimEngine('e', loop, costs, sizes, judge, 1, () => 0.5);
  };
  const never = new AbortController().signal;

  it('gives n sequences a token per base + n * perSequence; what finds no place waits', async () => {
    const loop = new Loop();
    const engine = open(loop, 4);
    const endsMs: number[] = [];
    void engine.draw(job([0, 1, 2, 3, 4, 5]), () => endsMs.push(loop.timeMs), never);
    await loop.run(() => false);
    // 100 tokens: four at 14 ms a token, then two at 12 ms.
    expect(endsMs.map(Math.round)).toEqual([1_400, 1_400, 1_400, 1_400, 2_600, 2_600]);
    expect(Math.round(engine.busySlotMs())).toBe(4 * 1_400 + 2 * 1_200);
  });

  it('a sequence that joins slows those that run', async () => {
    const loop = new Loop();
    const engine = open(loop, 4);
    const endsMs: number[] = [];
    void engine.draw(job([0]), () => endsMs.push(loop.timeMs), never);
    loop.after(550, () => void engine.draw(job([1]), () => endsMs.push(loop.timeMs), never));
    await loop.run(() => false);
    // 50 tokens at 11 ms, 50 at 12 ms together, then 50 alone.
    expect(endsMs.map(Math.round)).toEqual([1_150, 1_700]);
  });

  it('N1: reports each sample once, when it is cancelled too', async () => {
    const loop = new Loop();
    const engine = open(loop, 4);
    const results: DrawResult[] = [];
    const stop = new AbortController();
    void engine.draw(job([0, 1]), (result) => results.push(result), stop.signal);
    loop.after(100, () => stop.abort());
    await loop.run(() => false);
    expect(results.map(({ kind, index }) => `${kind} ${index}`)).toEqual(['cancelled 0', 'cancelled 1']);
  });
});

describe('figures', () => {
  it("Jain's index is 1 for equals and 1/n when one has all", () => {
    expect(jain([3, 3, 3])).toBeCloseTo(1, 12);
    expect(jain([5, 0, 0, 0])).toBeCloseTo(0.25, 12);
  });

  it('shares and quantiles', () => {
    const got = shares([
      { name: 'a', count: 30, weight: 1 },
      { name: 'b', count: 10, weight: 3 },
    ]);
    expect(got).toEqual([
      { name: 'a', share: 0.75, due: 0.25 },
      { name: 'b', share: 0.25, due: 0.75 },
    ]);
    expect(quantile([1, 2, 3, 4], 0.5)).toBe(3);
    expect(quantile([], 0.5)).toBeNaN();
  });
});
