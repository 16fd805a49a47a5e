import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { PrefixCache } from '../../../services/fake-engine/prefix-cache.js';
import { Scheduler, type SchedulerOptions, type SequenceSpec } from '../../../services/fake-engine/scheduler.js';
import { SimulatedClock } from '../../support/simulated-clock.js';

const machine: SchedulerOptions = {
  maxNumSeqs: 64,
  stepBaseMs: 10,
  stepPerSequenceMs: 0.5,
  prefillTokensPerSecond: 10_000,
  instant: false,
};

function setUp(options: Partial<SchedulerOptions> = {}, capacityBlocks = 10_000) {
  const clock = new SimulatedClock();
  const cache = new PrefixCache({ capacityBlocks, blockTokens: 16 });
  return { clock, cache, scheduler: new Scheduler({ ...machine, ...options }, cache, clock) };
}

const ends: string[] = [];
function sequence(more: Partial<SequenceSpec> = {}): SequenceSpec {
  return {
    promptKeys: [],
    promptTokens: 16,
    outputTokens: 100,
    priority: 0,
    heldMs: 0,
    onStart: () => undefined,
    onTokens: () => undefined,
    onEnd: (how) => ends.push(how),
    ...more,
  };
}

/** Tokens per simulated second with so many sequences at once. */
function throughput(concurrency: number, options: Partial<SchedulerOptions> = {}): number {
  const { clock, scheduler } = setUp(options);
  for (let at = 0; at < concurrency; at++) scheduler.submit(sequence());
  clock.run();
  return (concurrency * 100) / (clock.now() / 1000);
}

describe('continuous batching', () => {
  it('raises throughput with concurrency until the sequences own cost rules', () => {
    const [one, eight, sixtyFour] = [throughput(1), throughput(8), throughput(64)];
    expect(eight).toBeGreaterThan(4 * one);
    expect(sixtyFour).toBeGreaterThan(eight);
    expect(sixtyFour).toBeLessThan(1000 / machine.stepPerSequenceMs);
  });

  it('saturates at maxNumSeqs: twice the load takes twice the time', () => {
    expect(throughput(32, { maxNumSeqs: 16 })).toBeCloseTo(throughput(16, { maxNumSeqs: 16 }), -1);
  });

  it('lets a sequence join and leave between steps', () => {
    const { clock, scheduler } = setUp();
    const produced: Record<string, number> = {};
    const record = (name: string, outputTokens: number) =>
      sequence({ outputTokens, onTokens: (tokens) => (produced[name] = tokens) });
    scheduler.submit(record('long', 100));
    clock.run(200);
    scheduler.submit(record('short', 3));
    clock.run(300);
    expect(produced['short']).toBe(3);
    expect(produced['long']).toBeGreaterThan(3);
    expect(produced['long']).toBeLessThan(100);
    expect(scheduler.running).toBe(1);
  });

  it('charges only the prompt tokens that the cache does not hold', () => {
    const timeOf = (shared: boolean) => {
      const { clock, cache, scheduler } = setUp();
      for (let at = 0; at < 4; at++) {
        const promptKeys = cache.keysOf(`${shared ? 'same' : at} ${'x'.repeat(8000)}`);
        scheduler.submit(sequence({ promptKeys, promptTokens: 2000, outputTokens: 1 }));
      }
      clock.run();
      return clock.now();
    };
    expect(timeOf(true)).toBeLessThan(timeOf(false) / 2);
  });

  it('gives everything in one step of no time when instant', () => {
    const { clock, scheduler } = setUp({ instant: true });
    const seen: number[] = [];
    scheduler.submit(sequence({ onTokens: (tokens) => seen.push(tokens) }));
    clock.run();
    expect(seen).toEqual([100]);
    expect(clock.now()).toBe(0);
  });
});

describe('bounds', () => {
  it('S1: what does not fit the batch or the KV cache waits, by priority and then arrival', () => {
    const { clock, scheduler } = setUp({ maxNumSeqs: 1 });
    const order: string[] = [];
    const named = (name: string, priority: number) => sequence({ priority, onStart: () => order.push(name) });
    scheduler.submit(named('first', 5));
    scheduler.submit(named('late', 5));
    scheduler.submit(named('later', 5));
    scheduler.submit(named('urgent', 0));
    expect(scheduler.running).toBe(1);
    expect(scheduler.waiting).toBe(3);
    clock.run();
    expect(order).toEqual(['first', 'urgent', 'late', 'later']);
  });

  it('S1: a full KV cache makes sequences wait until blocks are free', () => {
    // 16 + 100 tokens are 8 blocks: two fit in 16.
    const { clock, cache, scheduler } = setUp({}, 16);
    for (let at = 0; at < 3; at++) scheduler.submit(sequence());
    clock.run(100);
    expect([scheduler.running, scheduler.waiting, cache.usageRatio]).toEqual([2, 1, 1]);
    clock.run();
    expect([scheduler.running, scheduler.waiting, cache.usageRatio]).toEqual([0, 0, 0]);
  });

  it('S2: every sequence ends exactly once, whatever is aborted when', () => {
    const step = fc.record({
      at: fc.nat(400),
      tokens: fc.integer({ min: 1, max: 30 }),
      abortAt: fc.option(fc.nat(400)),
      hang: fc.boolean(),
    });
    fc.assert(
      fc.property(fc.array(step, { maxLength: 20 }), (plan) => {
        const { clock, cache, scheduler } = setUp({ maxNumSeqs: 4 }, 12);
        const ended = plan.map(() => 0);
        plan.forEach(({ at, tokens, abortAt, hang }, index) => {
          let abort: (() => void) | undefined;
          clock.after(at, () => {
            const heldMs = hang ? Infinity : 0;
            const onEnd = () => (ended[index]! += 1);
            const onStart = () => expect(scheduler.running).toBeLessThanOrEqual(4);
            abort = scheduler.submit(sequence({ outputTokens: tokens, heldMs, onStart, onEnd }));
          });
          if (abortAt !== null) clock.after(abortAt, () => abort?.());
        });
        clock.run();
        scheduler.close();
        expect(ended).toEqual(plan.map(() => 1));
        expect(cache.usageRatio).toBe(0);
      }),
    );
  });

  it('S3: a held sequence keeps its place and costs no timer; a slow one goes on when its time has come', () => {
    const { clock, scheduler } = setUp();
    const abort = scheduler.submit(sequence({ heldMs: Infinity }));
    expect(clock.pending).toBe(0);
    expect(scheduler.running).toBe(1);
    abort();
    expect(scheduler.running).toBe(0);
    let firstTokenMs = 0;
    scheduler.submit(sequence({ heldMs: 5_000, onTokens: () => (firstTokenMs ||= clock.now()) }));
    clock.run();
    expect(firstTokenMs).toBeGreaterThanOrEqual(5_000);
    expect(scheduler.running).toBe(0);
  });
});
