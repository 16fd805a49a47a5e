import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { planShards, resolvePlan, shardSamples, votesByMeta, type PlanDefaults } from '../../../src/work/plan.js';
import type { RequestRecord } from '../../../src/work/shard.js';
import { limits } from '../../../src/limits.js';
import { voteMethods } from '../../../src/grm/query.js';
import { plan } from '../../support/judgement.js';
import { aRecord } from '../../support/work-values.js';

const defaults: PlanDefaults = {
  k: 8,
  temperature: 0.5,
  topP: 1,
  maxTokens: 1_024,
  vote: 'auto',
  quorumRatio: 0.5,
  timeBudgetMs: 100_000,
};
const server = { metaServing: true, templateHash: 'hash' };

describe('resolvePlan', () => {
  test('defaults, with a meta RM and without', () => {
    expect(resolvePlan({}, defaults, server)).toEqual({
      k: 8,
      vote: 'meta_topk',
      temperature: 0.5,
      topP: 1,
      maxTokens: 1_024,
      quorum: 4,
      timeBudgetMs: 100_000,
      templateHash: 'hash',
      meta: true,
      seed: 0,
    });
    expect(resolvePlan({}, defaults, { ...server, metaServing: false })).toMatchObject({ vote: 'sum', meta: false });
  });

  test('a rule to stop by: the caller, else the server, else none', () => {
    const stop = (options: object, more: object = {}) => resolvePlan(options, { ...defaults, ...more }, server).stop;
    expect(resolvePlan({ stop: 'none' }, { ...defaults, stop: 'confident' }, server)).not.toHaveProperty('stop');
    expect(stop({ stop: 'outcome_fixed', stopError: 0.1 })).toEqual({ rule: 'outcome_fixed' });
    expect(stop({ stop: 'confident' })).toEqual({ rule: 'confident', error: 0.02 });
    expect(stop({ stopError: 0.2 }, { stop: 'confident', stopError: 0.05 })).toEqual({ rule: 'confident', error: 0.2 });
    expect(stop({}, { stop: 'confident', stopError: 0.05 })).toEqual({ rule: 'confident', error: 0.05 });
  });

  test('what the caller says wins', () => {
    const said = {
      k: 5,
      kMeta: 2,
      vote: 'median',
      temperature: 1,
      topP: 0.9,
      maxTokens: 7,
      quorum: 3,
      timeBudgetMs: 9,
      seed: 4,
      meta: true,
    } as const;
    expect(resolvePlan(said, defaults, server)).toEqual({ ...said, templateHash: 'hash' });
  });

  test('one sample is greedy and asks no meta RM unless told to', () => {
    expect(resolvePlan({ k: 1 }, defaults, server)).toMatchObject({ temperature: 0, vote: 'sum', meta: false });
    expect(resolvePlan({ k: 1, meta: true, temperature: 0.3 }, defaults, server)).toMatchObject({
      temperature: 0.3,
      vote: 'meta_topk',
      meta: true,
    });
  });

  test('meta false never leaves a vote that needs meta rewards', () => {
    for (const vote of ['auto', ...voteMethods] as const) {
      const resolved = resolvePlan({ meta: false }, { ...defaults, vote }, server);
      expect(votesByMeta(resolved.vote)).toBe(false);
      expect(resolved.meta).toBe(false);
    }
  });

  test('k_meta and quorum never exceed k, which may be a default that the door did not know', () => {
    expect(resolvePlan({ kMeta: 100, quorum: 100 }, defaults, server)).toMatchObject({ k: 8, kMeta: 8, quorum: 8 });
    expect(resolvePlan({ k: 1 }, { ...defaults, quorumRatio: 0 }, server).quorum).toBe(1);
  });
});

describe('shardSamples', () => {
  const fleet = (engines: number, busyRatio: number, slots = engines * 64) => ({ engines, slots, busyRatio });

  test('an idle fleet gets a shard per engine, a busy or unknown one whole shards', () => {
    expect(shardSamples(8, fleet(8, 0), 8)).toBe(1);
    expect(shardSamples(8, fleet(3, 0.2), 8)).toBe(3);
    expect(shardSamples(8, fleet(3, 0.5), 8)).toBe(8);
    expect(shardSamples(32, fleet(0, 0), 8)).toBe(8);
    expect(shardSamples(4, fleet(1, 0), 8)).toBe(4);
  });

  test('no shard has more samples than an engine has slots', () => {
    expect(shardSamples(8, fleet(1, 0, 1), 8)).toBe(1);
    expect(shardSamples(8, fleet(4, 0.9, 12), 8)).toBe(3);
    // Nobody has told of slots yet.
    expect(shardSamples(8, fleet(2, 1, 0), 8)).toBe(8);
  });

  test('of a fleet too large for shards of one sample, what may be out at once fills every slot', () => {
    fc.assert(
      fc.property(
        fc.integer({ min: 2, max: 8 * limits.ackPendingMax }),
        fc.double({ min: 0, max: 2, noNaN: true }),
        (slots, busy) => {
          const size = shardSamples(32, { engines: Math.ceil(slots / 64) + 1, slots, busyRatio: busy }, 8);
          expect(size * limits.ackPendingMax).toBeGreaterThanOrEqual(slots);
        },
      ),
    );
  });

  test('always within 1..samplesMax', () => {
    fc.assert(
      fc.property(
        fc.integer({ min: 1, max: 128 }),
        fc.nat(100),
        fc.nat(10_000_000),
        fc.double({ min: 0, max: 2, noNaN: true }),
        fc.integer({ min: 1, max: 8 }),
        (k, engines, slots, busyRatio, max) => {
          const size = shardSamples(k, { engines, slots, busyRatio }, max);
          expect(size).toBeGreaterThanOrEqual(1);
          expect(size).toBeLessThanOrEqual(Math.min(k, max));
        },
      ),
    );
  });
});

const records: fc.Arbitrary<RequestRecord> = fc
  .record({
    n: fc.integer({ min: 1, max: limits.responsesMax }),
    k: fc.integer({ min: 1, max: 48 }),
    seed: fc.nat({ max: 0xffff_ffff }),
    id: fc.stringMatching(/^r[0-9a-f]{8}$/),
  })
  .map(({ n, k, seed, id }) =>
    aRecord(id, {
      content: { messages: [], responses: Array.from({ length: n }, (_, i) => `response ${i}`), principles: [] },
      plan: plan({ k, seed }),
    }),
  );
const sizes = fc.integer({ min: 1, max: 8 });
const all = (record: RequestRecord): number[] => Array.from({ length: record.plan.k }, (_, index) => index);
const context = (samplesMax: number, nowMs = 5) => ({ deadlineAtMs: 9, nowMs, samplesMax, inline: true, run: 'c-1' });

/** What is drawn for each index: all that decides the text of a sample. */
function drawn(record: RequestRecord, samplesMax: number, indexes = all(record), nowMs = 5): Map<number, unknown> {
  return new Map(
    planShards(record, indexes, context(samplesMax, nowMs))
      .flatMap(({ samples, temperature, topP, maxTokens, templateHash, nonce, content }) =>
        samples.map(({ index, seed, permutation }): [number, unknown] => [
          index,
          { seed, permutation, temperature, topP, maxTokens, templateHash, nonce, content },
        ]),
      )
      .sort(([a], [b]) => a - b),
  );
}

describe('planShards', () => {
  test('P3: the same record gives the same samples, seeds and orders, whatever the shard size and the time', () => {
    fc.assert(
      fc.property(records, sizes, sizes, (record, one, other) => {
        expect(drawn(record, one)).toEqual(drawn(record, other, all(record), 777));
      }),
    );
  });

  test('P3: planning the rest gives each missing sample what the whole plan gave it', () => {
    const cases = records.chain((record) => fc.tuple(fc.constant(record), fc.subarray(all(record)), sizes));
    fc.assert(
      fc.property(cases, ([record, rest, size]) => {
        const whole = drawn(record, 8);
        expect(drawn(record, size, rest)).toEqual(new Map(rest.map((index) => [index, whole.get(index)])));
      }),
    );
  });

  test('every index once; no shard above its size; numbered from 0', () => {
    fc.assert(
      fc.property(records, sizes, (record, size) => {
        const shards = planShards(record, all(record), context(size));
        expect(shards.flatMap(({ samples }) => samples.map(({ index }) => index)).sort((a, b) => a - b)).toEqual(
          all(record),
        );
        expect(shards.map(({ shard }) => shard)).toEqual(shards.map((_, at) => at));
        for (const shard of shards) {
          expect(shard.samples.length).toBeLessThanOrEqual(size);
          for (const { permutation } of shard.samples) {
            expect([...permutation].sort((a, b) => a - b)).toEqual(record.content.responses.map((_, i) => i));
          }
        }
      }),
    );
  });

  test('samples that share an order stand together', () => {
    const record = aRecord('r1', { plan: plan({ k: 8 }) });
    const indexes = (size: number) =>
      planShards(record, all(record), context(size)).map(({ samples }) => samples.map(({ index }) => index));
    expect(record.content.responses).toHaveLength(2);
    expect(indexes(8)).toEqual([[0, 2, 4, 6, 1, 3, 5, 7]]);
    expect(indexes(4)).toEqual([
      [0, 2, 4, 6],
      [1, 3, 5, 7],
    ]);
    fc.assert(
      fc.property(records, sizes, (each, size) => {
        for (const { samples } of planShards(each, all(each), context(size))) {
          const orders = samples.map(({ permutation }) => permutation.join());
          const turns = orders.filter((order, at) => order !== orders[at - 1]);
          expect(turns).toEqual([...new Set(orders)]);
        }
      }),
    );
  });

  test('no two samples of a request share a seed', () => {
    fc.assert(
      fc.property(records, (record) => {
        const seeds = planShards(record, all(record), context(8)).flatMap(({ samples }) =>
          samples.map(({ seed }) => seed),
        );
        expect(new Set(seeds).size).toBe(seeds.length);
      }),
    );
  });

  test('content travels in the shard only when told to, and an index outside the plan is a bug', () => {
    const record = aRecord('r1');
    const [shard] = planShards(record, [0], { ...context(8), inline: false });
    expect(shard).not.toHaveProperty('content');
    expect(() => planShards(record, [record.plan.k], context(8))).toThrow(RangeError);
  });
});
