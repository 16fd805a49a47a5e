import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import type { Sample } from '../../../src/grm/sample.js';
import { gather, missing, startGather, unranked, type Gather, type GatherEvent } from '../../../src/work/gather.js';
import type { MetaResult } from '../../../src/work/shard.js';
import { failed, scored } from '../../support/judgement.js';

const kMax = 12;

interface Story {
  readonly k: number;
  readonly meta: boolean;
  readonly samples: readonly Sample[];
  readonly metas: readonly MetaResult[];
}

/** What the ledger holds of one request in the end: one result per index, whoever tells of it and how often. */
const stories: fc.Arbitrary<Story> = fc
  .record({
    k: fc.integer({ min: 1, max: kMax }),
    meta: fc.boolean(),
    valid: fc.array(fc.boolean(), { minLength: kMax, maxLength: kMax }),
    ranked: fc.array(fc.boolean(), { minLength: kMax, maxLength: kMax }),
  })
  .map(({ k, meta, valid, ranked }) => {
    const indexes = Array.from({ length: k }, (_, index) => index);
    return {
      k,
      meta,
      samples: indexes.map((index) => (valid[index] === true ? scored(index, [7, 3]) : failed(index))),
      metas: indexes.flatMap((index): MetaResult[] => {
        if (!meta || valid[index] !== true) return [];
        const base = { requestId: 'r', index, model: 'm', worker: 'w' };
        return [
          ranked[index] === true
            ? { kind: 'ranked', ...base, metaReward: index }
            : { kind: 'failed', ...base, failure: 'x' },
        ];
      }),
    };
  });

const eventsOf = ({ samples, metas }: Story): GatherEvent[] => [
  ...samples.map((sample): GatherEvent => ({ kind: 'samples', samples: [sample] })),
  ...metas.map((result): GatherEvent => ({ kind: 'metas', results: [result] })),
];

/** All events, each one to three times, in any order. */
const interleavings = (story: Story): fc.Arbitrary<GatherEvent[]> =>
  fc
    .tuple(
      ...eventsOf(story).map((event) =>
        fc.integer({ min: 1, max: 3 }).map((times) => Array<GatherEvent>(times).fill(event)),
      ),
    )
    .chain((lists) => fc.shuffledSubarray(lists.flat(), { minLength: lists.flat().length }));

const told = fc.nat().chain(() => stories.chain((story) => interleavings(story).map((events) => ({ story, events }))));

function play(story: Pick<Story, 'k' | 'meta'>, events: readonly GatherEvent[]): Gather {
  return events.reduce(gather, startGather(story.k, story.meta));
}

describe('any interleaving with any duplication', () => {
  test('G1 (P2): gives the same final set, and is decided exactly when all is there', () => {
    fc.assert(
      fc.property(told, ({ story, events }) => {
        const end = play(story, events);
        expect(end.kind).toBe('decided');
        expect([...end.samples.entries()].sort(([a], [b]) => a - b)).toEqual(story.samples.map((s) => [s.index, s]));
        const metas = [...end.metas.entries()].sort(([a], [b]) => a - b);
        expect(metas).toEqual(story.metas.map((result) => [result.index, result]));
      }),
    );
  });

  test('G1: an event that changes nothing gives the very same object', () => {
    fc.assert(
      fc.property(told, ({ story, events }) => {
        let state = startGather(story.k, story.meta);
        for (const event of events) {
          state = gather(state, event);
          expect(gather(state, event)).toBe(state);
        }
      }),
    );
  });

  test('G3: samples and missing ones are k, in every state', () => {
    fc.assert(
      fc.property(told, ({ story, events }) => {
        let state = startGather(story.k, story.meta);
        for (const event of [...events, { kind: 'expired' } as const]) {
          expect(state.samples.size + missing(state).length).toBe(story.k);
          for (const index of missing(state)) expect(state.samples.has(index)).toBe(false);
          state = gather(state, event);
        }
      }),
    );
  });

  test('G4: nothing is decided while a valid sample lacks the meta reward that is wanted', () => {
    fc.assert(
      fc.property(told, ({ story, events }) => {
        let state = startGather(story.k, story.meta);
        for (const event of events) {
          state = gather(state, event);
          if (state.kind !== 'decided') continue;
          expect(missing(state)).toEqual([]);
          if (story.meta) expect(unranked(state)).toEqual([]);
        }
      }),
    );
  });

  test('G2: decided and expired are final', () => {
    fc.assert(
      fc.property(told, fc.nat(), ({ story, events }, cut) => {
        const at = cut % (events.length + 1);
        const before = play(story, events.slice(0, at));
        const ended = gather(before, { kind: 'expired' });
        expect(ended.kind).toBe(before.kind === 'decided' ? 'decided' : 'expired');
        for (const event of [...events, { kind: 'meta_gone' } as const, { kind: 'expired' } as const]) {
          expect(gather(ended, event)).toBe(ended);
        }
      }),
    );
  });
});

test('a meta RM that is gone decides what waits for it alone', () => {
  const samples: GatherEvent[] = [0, 1].map((index) => ({ kind: 'samples', samples: [scored(index, [7, 3])] }));
  const half = play({ k: 2, meta: true }, samples.slice(0, 1));
  const gone = gather(half, { kind: 'meta_gone' });
  expect(gone).toMatchObject({ kind: 'gathering', meta: 'gone' });
  expect(gather(gone, samples[1]!)).toMatchObject({ kind: 'decided', why: 'complete' });
  expect(gather(play({ k: 2, meta: true }, samples), { kind: 'meta_gone' }).kind).toBe('decided');
  expect(gather(gone, { kind: 'meta_gone' })).toBe(gone);
});

test('an index outside the plan changes nothing', () => {
  const state = startGather(2, true);
  const strays = [-1, 2, 99].flatMap((index): GatherEvent[] => [
    { kind: 'samples', samples: [scored(index, [7, 3])] },
    { kind: 'metas', results: [{ kind: 'ranked', requestId: 'r', index, model: 'm', worker: 'w', metaReward: 1 }] },
  ]);
  for (const event of strays) expect(gather(state, event)).toBe(state);
});

test('an invalid sample needs no meta reward', () => {
  const end = play({ k: 1, meta: true }, [{ kind: 'samples', samples: [failed(0)] }]);
  expect(end.kind).toBe('decided');
  expect(unranked(end)).toEqual([]);
});
