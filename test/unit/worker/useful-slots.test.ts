// Useful slots: the rule on what an engine says, and the rule against the fake engine's own scheduler in virtual time.

import { describe, expect, it } from 'vitest';
import { PrefixCache } from '../../../services/fake-engine/prefix-cache.js';
import { Scheduler } from '../../../services/fake-engine/scheduler.js';
import type { EngineGauges } from '../../../src/engine/engine.js';
import { limits } from '../../../src/limits.js';
import { Events } from '../../../src/observe/events.js';
import { learnSlots, UsefulSlots } from '../../../src/worker/useful-slots.js';
import { SimulatedClock } from '../../support/simulated-clock.js';
import { virtualClock } from '../../support/virtual-clock.js';

const gauges = (running: number, waiting: number, kvCacheUsageRatio = 0.2): EngineGauges => ({
  running,
  waiting,
  kvCacheUsageRatio,
});

describe('the rule', () => {
  it('U2: falls to what runs and an eighth, at the second crowded reading', () => {
    const useful = new UsefulSlots(64);
    useful.read(64, gauges(16, 48));
    expect(useful.limit).toBe(64);
    useful.read(64, gauges(16, 48));
    expect(useful.limit).toBe(18);
    // What was taken too much drains: it still waits, and costs no more.
    useful.read(40, gauges(16, 24));
    expect(useful.limit).toBe(18);
    useful.read(18, gauges(16, 2));
    expect(useful.limit).toBe(18);
  });

  it('U2: a shard that has just come is no crowd', () => {
    const useful = new UsefulSlots(64);
    for (let i = 0; i < 10; i++) {
      useful.read(64, gauges(56, 8));
      useful.read(64, gauges(64, 0));
    }
    expect(useful.limit).toBe(64);
  });

  it('U2: of an engine that others use too, ours is our part', () => {
    const useful = new UsefulSlots(64);
    for (let i = 0; i < 2; i++) useful.read(32, gauges(16, 48));
    expect(useful.limit).toBe(9);
  });

  it('U1 U4: grows by an eighth while all is taken and nothing waits, up to what is configured', () => {
    const useful = new UsefulSlots(32);
    for (let i = 0; i < 2; i++) useful.read(32, gauges(4, 28));
    expect(useful.limit).toBe(5);
    useful.read(3, gauges(3, 0));
    expect(useful.limit).toBe(5);
    const seen: number[] = [];
    for (let i = 0; i < 20; i++) {
      useful.read(useful.limit, gauges(useful.limit, 0));
      seen.push(useful.limit);
    }
    expect(seen.slice(0, 4)).toEqual([6, 7, 8, 9]);
    expect(seen.at(-1)).toBe(32);
  });

  it('U3: a full cache takes an eighth away; never below 1', () => {
    const useful = new UsefulSlots(8);
    useful.read(8, gauges(8, 0, 0.99));
    expect(useful.limit).toBe(7);
    for (let i = 0; i < 20; i++) useful.read(8, gauges(1, 0, 1));
    expect(useful.limit).toBe(1);
  });

  it('U5: a started engine begins at what is configured', () => {
    const useful = new UsefulSlots(64);
    for (let i = 0; i < 2; i++) useful.read(64, gauges(4, 60));
    useful.restart();
    expect(useful.limit).toBe(64);
  });
});

/** A worker that always has more to do, at the fake engine's scheduler: what it had in the engine, and its limit, after each reading. */
function saturate(clock: SimulatedClock, useful: UsefulSlots, maxNumSeqs: number, seconds: number) {
  const cache = new PrefixCache({ capacityBlocks: 1_000_000, blockTokens: 16 });
  const machine = { stepBaseMs: 10, stepPerSequenceMs: 0.5, prefillTokensPerSecond: 10_000, instant: false };
  const scheduler = new Scheduler({ ...machine, maxNumSeqs }, cache, clock);
  let taken = 0;
  let done = 0;
  let open = true;
  const fill = (): void => {
    while (open && taken < useful.limit) {
      taken++;
      scheduler.submit({
        promptKeys: [],
        promptTokens: 16,
        outputTokens: 50 + ((done * 37) % 100),
        priority: 0,
        heldMs: 0,
        onStart: () => undefined,
        onTokens: () => undefined,
        onEnd: (how) => {
          taken--;
          if (how === 'done') done++;
          clock.after(0, fill);
        },
      });
    }
  };
  fill();
  const seen: { limit: number; waiting: number }[] = [];
  const endMs = clock.now() + seconds * 1_000;
  while (clock.now() < endMs) {
    clock.run(clock.now() + limits.learnEveryMs);
    useful.read(taken, { running: scheduler.running, waiting: scheduler.waiting });
    seen.push({ limit: useful.limit, waiting: scheduler.waiting });
    fill();
  }
  open = false;
  scheduler.close();
  return { seen, done };
}

describe('against the fake engine', () => {
  it.each([4, 16, 60])('a batch of %i is kept full, and little waits in the engine', (batch) => {
    const { seen } = saturate(new SimulatedClock(), new UsefulSlots(64), batch, 120);
    const settled = seen.slice(-20);
    for (const { limit, waiting } of settled) {
      expect(limit).toBeGreaterThanOrEqual(batch * 0.75);
      expect(limit).toBeLessThanOrEqual(Math.min(64, batch + 2 * Math.ceil(batch / 8) + 1));
      expect(waiting).toBeLessThanOrEqual(2 * Math.ceil(batch / 8) + 1);
    }
  });

  it('a server that comes back behind the same address with another batch is learned anew, up and down', () => {
    const clock = new SimulatedClock();
    const useful = new UsefulSlots(64);
    saturate(clock, useful, 8, 60);
    expect(useful.limit).toBeLessThanOrEqual(11);
    saturate(clock, useful, 32, 120);
    expect(useful.limit).toBeGreaterThanOrEqual(28);
    saturate(clock, useful, 4, 60);
    expect(useful.limit).toBeLessThanOrEqual(7);
  });

  it('costs no throughput: as many samples in the same time as with all slots given', () => {
    const learned = saturate(new SimulatedClock(), new UsefulSlots(64), 16, 120).done;
    const fixed = new UsefulSlots(64);
    fixed.read = () => undefined;
    const given = saturate(new SimulatedClock(), fixed, 16, 120).done;
    expect(learned).toBeGreaterThan(given * 0.95);
  });
});

describe('the readings', () => {
  it('U5 U6: follow the engine in the seat, tell of changes, and outlive an engine that says nothing', async () => {
    const clock = virtualClock();
    const events = new Events();
    const troubles: string[] = [];
    events.on('trouble', ({ where }) => void troubles.push(where));
    const [first, second] = [{ says: gauges(4, 60) }, { says: gauges(64, 0) }];
    let engine: { says: EngineGauges } | undefined = first;
    let fails = false;
    let changes = 0;
    const learning = learnSlots({
      seats: [{ name: 'e', configured: 64, current: () => engine }],
      gauges: (each) => (fails ? Promise.reject(new Error('away')) : Promise.resolve(each.says)),
      taken: () => 64,
      onChange: () => changes++,
      clock,
      events,
    });
    expect(learning.slots('e')).toBe(64);
    await clock.advance(3 * limits.learnEveryMs);
    expect(learning.slots('e')).toBe(5);
    fails = true;
    await clock.advance(3 * limits.learnEveryMs);
    expect(learning.slots('e')).toBe(5);
    expect(new Set(troubles)).toEqual(new Set(['gauges of e']));
    fails = false;
    engine = undefined;
    await clock.advance(2 * limits.learnEveryMs);
    engine = second;
    await clock.advance(2 * limits.learnEveryMs);
    expect(learning.slots('e')).toBe(64);
    expect(changes).toBe(2);
    learning.close();
    engine = first;
    await clock.advance(4 * limits.learnEveryMs);
    expect(learning.slots('e')).toBe(64);
  });
});
