// Adaptive k in the reducer: where it stops depends on the samples alone.

import fc from 'fast-check';
import { expect, test } from 'vitest';
import type { Plan } from '../../../src/grm/query.js';
import type { Sample } from '../../../src/grm/sample.js';
import { seededShuffle } from '../../../src/grm/seed.js';
import { reachOf, stopCase, stopReason, nextLook } from '../../../src/grm/stop.js';
import { gather, missing, startGather, unranked, type Gather, type GatherEvent } from '../../../src/work/gather.js';
import type { MetaResult } from '../../../src/work/shard.js';
import { failed, plan, scored } from '../../support/judgement.js';

/** What the engines would say of all k samples, were they all asked. */
interface Story {
  readonly plan: Plan;
  readonly samples: readonly Sample[];
  readonly metas: readonly MetaResult[];
}

const stories: fc.Arbitrary<Story> = fc
  .record({
    k: fc.integer({ min: 2, max: 24 }),
    vote: fc.constantFrom('sum', 'majority', 'meta_topk', 'meta_weighted'),
    stop: fc.constantFrom({ rule: 'outcome_fixed' } as const, { rule: 'confident', error: 0.05 } as const),
    lead: fc.integer({ min: 0, max: 7 }),
    seed: fc.nat(),
  })
  .map(({ k, vote, stop, lead, seed }) => {
    const draw = seededShuffle([...Array(k * 4).keys()], seed);
    const meta = vote !== 'sum' && vote !== 'majority';
    const samples = Array.from({ length: k }, (_, index) => {
      const spread = draw[index]! % 4;
      return draw[index + k]! % 9 === 0 ? failed(index) : scored(index, [Math.min(10, 3 + lead), 1 + spread]);
    });
    const metas = samples.flatMap(({ kind, index }): MetaResult[] => {
      if (!meta || kind !== 'scored') return [];
      const base = { requestId: 'r', index, model: 'm', worker: 'w' };
      return draw[index + 2 * k]! % 9 === 0
        ? [{ kind: 'failed', ...base, failure: 'x' }]
        : [{ kind: 'ranked', ...base, metaReward: (draw[index + 3 * k]! % 20) / 4 }];
    });
    return { plan: plan({ k, vote, meta, stop }), samples, metas };
  });

function start({ plan: of }: Story): Gather {
  return startGather(of.k, of.meta, stopCase('r', of, 2));
}

/** Each round tells of everything twice in an order of its own, asked for or not, and asks ahead as far as `room` says, another in each round. */
function play(story: Story, seed: number, room = (_round: number): number => 0): Gather {
  const told: GatherEvent[] = [
    ...story.samples.map((sample): GatherEvent => ({ kind: 'samples', samples: [sample] })),
    ...story.metas.map((result): GatherEvent => ({ kind: 'metas', results: [result] })),
  ];
  let state = start(story);
  for (let round = 0; state.kind === 'gathering'; round++) {
    if (round > 20) throw new Error('it does not end');
    const reach = state.adaptive ? reachOf(state.adaptive.stop, state.k, state.reach, room(round)) : state.k;
    const asked: GatherEvent = { kind: 'asked', reach };
    state = [asked, ...seededShuffle([...told, ...told], seed + round)].reduce(gather, state);
  }
  return state;
}

/** Without a reducer: the samples wave by wave. */
function read({ plan: of, samples, metas }: Story): { upTo: number; why: string } {
  const rule = stopCase('r', of, 2)!;
  const rewards = new Map(
    metas.flatMap((each) => (each.kind === 'ranked' ? [[each.index, each.metaReward] as const] : [])),
  );
  for (let upTo = nextLook(rule.stop, of.k, 0); upTo < of.k; upTo = nextLook(rule.stop, of.k, upTo)) {
    const seen = new Map([...rewards].filter(([index]) => index < upTo));
    const why = stopReason(rule, samples.slice(0, upTo), seen);
    if (why !== undefined) return { upTo, why };
  }
  return { upTo: of.k, why: 'complete' };
}

test('G5 (P3): any order of arrival stops at the same sample for the same reason', () => {
  const reasons = new Set<string>();
  fc.assert(
    fc.property(stories, fc.nat(), (story, seed) => {
      const state = play(story, seed);
      const { upTo, why } = read(story);
      reasons.add(why);
      expect(state).toMatchObject({ kind: 'decided', upTo, why });
      expect([...state.samples.keys()].sort((a, b) => a - b)).toEqual([...Array(upTo).keys()]);
      expect(unranked(state).filter(() => story.plan.meta)).toEqual([]);
    }),
  );
  expect([...reasons].sort()).toEqual(['complete', 'confident', 'outcome_fixed']);
});

test('G5 (P3): however far ahead samples are asked for, the state that is decided is the same', () => {
  let dropped = 0;
  fc.assert(
    fc.property(stories, fc.nat(), fc.array(fc.nat(32), { minLength: 1 }), (story, seed, rooms) => {
      const { reach: _small, ...small } = play(story, seed);
      const { reach, ...ahead } = play(story, seed + 1, (round) => rooms[round % rooms.length]!);
      const order = <T>(results: ReadonlyMap<number, T>) => [...results].sort(([a], [b]) => a - b);
      const told = (state: typeof small) => ({ ...state, samples: order(state.samples), metas: order(state.metas) });
      expect(told(ahead)).toEqual(told(small));
      if (reach > ahead.upTo) dropped++;
    }),
  );
  expect(dropped).toBeGreaterThan(0);
});

test('G3: samples and missing ones add up to what is asked for; what is past it changes nothing', () => {
  fc.assert(
    fc.property(stories, fc.nat(32), (story, room) => {
      let state = start(story);
      if (state.adaptive) {
        const reach = reachOf(state.adaptive.stop, state.k, state.reach, room);
        state = gather(state, { kind: 'asked', reach });
        expect(gather(state, { kind: 'asked', reach: reach - 1 })).toBe(state);
      }
      for (const sample of story.samples) {
        const end = state.kind === 'decided' ? state.upTo : state.reach;
        expect(state.samples.size + missing(state).length).toBe(end);
        expect(state.upTo <= state.reach && state.reach <= state.k).toBe(true);
        if (state.kind === 'gathering' && sample.index >= state.reach)
          expect(gather(state, { kind: 'samples', samples: [sample] })).toBe(state);
        state = gather(state, { kind: 'samples', samples: [sample] });
      }
    }),
  );
});

test('without a rule, and for one response, all k are asked for at once', () => {
  expect(missing(startGather(5, false))).toHaveLength(5);
  const of = plan({ k: 5, stop: { rule: 'confident', error: 0.5 } });
  expect(missing(startGather(5, false, stopCase('r', of, 1)))).toHaveLength(5);
  expect(missing(startGather(5, false, stopCase('r', of, 2)))).toEqual([0, 1]);
});

test('a meta RM that is gone holds no wave up', () => {
  const of = plan({ k: 6, vote: 'meta_topk', meta: true, stop: { rule: 'outcome_fixed' } });
  let state = startGather(6, true, stopCase('r', of, 2));
  for (let index = 0; index < 4; index++) state = gather(state, { kind: 'samples', samples: [scored(index, [9, 2])] });
  expect(state).toMatchObject({ kind: 'gathering', upTo: 4 });
  state = gather(state, { kind: 'meta_gone' });
  // A missing sample might still be ranked, and would decide alone: nothing is fixed.
  expect(state).toMatchObject({ kind: 'gathering', upTo: 6, meta: 'gone' });
  for (let index = 4; index < 6; index++) state = gather(state, { kind: 'samples', samples: [scored(index, [9, 2])] });
  expect(state).toMatchObject({ kind: 'decided', why: 'complete' });
});
