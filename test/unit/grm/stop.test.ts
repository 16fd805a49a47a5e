import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { voteMethods, type Plan, type Stop, type VoteMethod } from '../../../src/grm/query.js';
import type { Sample } from '../../../src/grm/sample.js';
import { uint32Stream } from '../../../src/grm/seed.js';
import { leaderChange, outcomeFixed, stopCase, stopReason, upperTail, nextLook } from '../../../src/grm/stop.js';
import { vote } from '../../../src/grm/vote.js';
import { failed, plan, scored, voteInput } from '../../support/judgement.js';

interface Story {
  readonly requestId: string;
  readonly n: number;
  readonly plan: Plan;
  /** Samples 0..drawn-1. */
  readonly samples: readonly Sample[];
  readonly rewards: ReadonlyMap<number, number>;
}

const byMeta = (method: VoteMethod): boolean => method === 'meta_topk' || method === 'meta_weighted';

/** @param values of a score; @param missing samples that are not there */
function stories(values: readonly number[], missing: number, nMax: number): fc.Arbitrary<Story> {
  return fc
    .record({
      requestId: fc.constantFrom('a', 'b', 'c', 'd'),
      n: fc.integer({ min: 2, max: nMax }),
      method: fc.constantFrom(...voteMethods),
      kMeta: fc.option(fc.integer({ min: 1, max: 4 }), { nil: undefined }),
      drawn: fc.integer({ min: 1, max: 6 }),
    })
    .chain(({ requestId, n, method, kMeta, drawn }) => {
      const sample = fc.oneof(
        { weight: 5, arbitrary: fc.array(fc.constantFrom(...values), { minLength: n, maxLength: n }) },
        { weight: 1, arbitrary: fc.constant('invalid' as const) },
      );
      const reward = fc.option(fc.integer({ min: -2, max: 2 }), { nil: undefined, freq: 6 });
      const lists = fc.record({
        scores: fc.array(sample, { minLength: drawn, maxLength: drawn }),
        rewards: fc.array(reward, { minLength: drawn, maxLength: drawn }),
        lucky: fc.boolean(),
      });
      return lists.map(({ scores, rewards, lucky }): Story => {
        // Half of the stories have a clear order, so that both answers come up often.
        const ordered = lucky
          ? scores.map((each) => (each === 'invalid' ? each : each.toSorted((a, b) => b - a)))
          : scores;
        const samples = ordered.map((each, index) => (each === 'invalid' ? failed(index) : scored(index, each)));
        const given = new Map(
          samples.flatMap(({ kind, index }) => {
            const logit = byMeta(method) && kind === 'scored' ? rewards[index] : undefined;
            return logit === undefined ? [] : [[index, logit] as const];
          }),
        );
        const k = drawn + missing;
        const made = plan({
          k,
          vote: method,
          meta: byMeta(method),
          stop: { rule: 'outcome_fixed' },
          ...(kMeta !== undefined && method === 'meta_topk' && { kMeta: Math.min(k, kMeta) }),
        });
        return { requestId, n, plan: made, samples, rewards: given };
      });
    });
}

function rankingOf(story: Story, more: readonly Sample[] = [], rewards = story.rewards): readonly number[] {
  const { requestId, n, plan: of, samples } = story;
  const verdict = vote(
    voteInput({ requestId, n, plan: of, samples: [...samples, ...more], metaRewards: rewards, metaModel: 'm' }),
  );
  return verdict.kind === 'valid' ? verdict.ranking : [];
}

function fixedBy(story: Story): boolean {
  const of = stopCase(story.requestId, story.plan, story.n)!;
  return stopReason(of, story.samples, story.rewards) === 'outcome_fixed';
}

/** Every score vector over `values`, with every reward in turn or none, and the invalid sample. */
function* completions(
  story: Story,
  values: readonly number[],
  missing: number,
): Generator<{ samples: Sample[]; rewards: Map<number, number> }> {
  if (missing === 0) {
    yield { samples: [], rewards: new Map(story.rewards) };
    return;
  }
  const { n, plan: of } = story;
  const index = of.k - missing;
  const logits = byMeta(of.vote) ? [undefined, 1e300, 1.5, 0.5, -0.5, -1.5, -1e300] : [undefined];
  for (const rest of completions(story, values, missing - 1)) {
    yield { samples: [failed(index), ...rest.samples], rewards: rest.rewards };
    for (let code = 0; code < values.length ** n; code++) {
      const scores = Array.from(
        { length: n },
        (_, at) => values[Math.floor(code / values.length ** at) % values.length]!,
      );
      for (const logit of logits) {
        const rewards = logit === undefined ? rest.rewards : new Map(rest.rewards).set(index, logit);
        yield { samples: [scored(index, scores), ...rest.samples], rewards };
      }
    }
  }
}

function everyCompletionKeeps(story: Story, values: readonly number[], missing: number): boolean {
  const now = rankingOf(story).join();
  if (now === '') return false;
  for (const { samples, rewards } of completions(story, values, missing)) {
    if (rankingOf(story, samples, rewards).join() !== now) return false;
  }
  return true;
}

describe('A1: outcome_fixed stops exactly when no completion changes the ranking', () => {
  test.each([
    ['one missing, all scores of two responses', [1, 2, 3, 4, 5, 6, 7, 8, 9, 10], 1, 2, 250],
    ['one missing, three responses', [1, 3, 6, 10], 1, 3, 120],
    ['two missing, two responses', [1, 5, 10], 2, 2, 60],
  ])('%s', (_, values, missing, nMax, numRuns) => {
    const seen = { fixed: 0, open: 0 };
    fc.assert(
      fc.property(stories(values, missing, nMax), (story) => {
        const fixed = everyCompletionKeeps(story, values, missing);
        seen[fixed ? 'fixed' : 'open']++;
        expect(fixedBy(story)).toBe(fixed);
      }),
      // The counts below are of these stories.
      { numRuns, seed: 7 },
    );
    expect(seen.fixed).toBeGreaterThan(numRuns / 20);
    expect(seen.open).toBeGreaterThan(numRuns / 20);
  });

  test('many missing: a stop is never taken back by a completion drawn at random', () => {
    const story = stories([1, 2, 5, 9, 10], 3, 4);
    fc.assert(
      fc.property(
        story,
        fc.array(fc.array(fc.integer({ min: 1, max: 10 }), { minLength: 4, maxLength: 4 }), {
          minLength: 3,
          maxLength: 3,
        }),
        (each, drawn) => {
          if (!fixedBy(each)) return;
          const samples = drawn.map((scores, at) => scored(each.samples.length + at, scores.slice(0, each.n)));
          expect(rankingOf(each, samples)).toEqual(rankingOf(each));
        },
      ),
    );
  });

  test('with more samples missing than drawn nothing is fixed', () => {
    const of = stopCase('r', plan({ k: 9, stop: { rule: 'outcome_fixed' } }), 2)!;
    const samples = Array.from({ length: 4 }, (_, index) => scored(index, [10, 1]));
    expect(outcomeFixed(of, samples, new Map(), 4)).toBe(false);
    expect(outcomeFixed(of, [...samples, scored(4, [10, 1])], new Map(), 5)).toBe(true);
  });
});

describe('which requests have a rule', () => {
  const stop: Stop = { rule: 'confident', error: 0.01 };
  test('A4: one response has no ranking', () => expect(stopCase('r', plan({ stop }), 1)).toBeUndefined());
  test('none', () => expect(stopCase('r', plan(), 2)).toBeUndefined());
  test('no valid sample: there is nothing to stop for', () => {
    const of = stopCase('r', plan({ k: 4, stop }), 2)!;
    expect(stopReason(of, [failed(0), failed(1), failed(2)], new Map())).toBeUndefined();
  });
});

describe('A3: waves', () => {
  const ends = (stop: Stop, k: number): number[] => {
    const list: number[] = [];
    for (let drawn = 0; drawn < k;) list.push((drawn = nextLook(stop, k, drawn)));
    return list;
  };
  test.each([
    [8, [2, 4, 6, 8]],
    [32, [4, 8, 12, 16, 20, 24, 28, 32]],
    [9, [2, 4, 6, 8, 9]],
    [1, [1]],
  ])('confident, k = %i: %j', (k, list) => expect(ends({ rule: 'confident', error: 0.1 }, k)).toEqual(list));
  test.each([
    [8, [5, 7, 8]],
    [32, [17, 21, 25, 29, 32]],
    [2, [2]],
  ])('outcome_fixed, k = %i: %j', (k, list) => expect(ends({ rule: 'outcome_fixed' }, k)).toEqual(list));

  test('grow to k, whatever k is', () => {
    for (let k = 1; k <= 128; k++) {
      for (const stop of [{ rule: 'outcome_fixed' }, { rule: 'confident', error: 0.1 }] as const) {
        const list = ends(stop, k);
        expect(list.at(-1)).toBe(k);
        expect(list.length).toBeLessThanOrEqual(9);
      }
    }
  });

  test('the order in which samples stand does not matter', () => {
    const story = stories([1, 4, 7, 10], 2, 3).chain((each) =>
      fc
        .shuffledSubarray([...each.samples], { minLength: each.samples.length })
        .map((shuffled) => ({ each, shuffled })),
    );
    fc.assert(
      fc.property(story, fc.constantFrom(0.001, 0.05, 0.4), ({ each, shuffled }, error) => {
        const of = stopCase(each.requestId, { ...each.plan, stop: { rule: 'confident', error } }, each.n)!;
        expect(stopReason(of, shuffled, each.rewards)).toBe(stopReason(of, each.samples, each.rewards));
      }),
    );
  });
});

describe('A2: confident', () => {
  test('Student tails are those of the tables', () => {
    const rows = [
      [2.92, 2, 0.05],
      [2.132, 4, 0.05],
      [4.604, 4, 0.005],
      [1.812, 10, 0.05],
      [2.764, 10, 0.01],
      [1.697, 30, 0.05],
      [3.16, 120, 0.001],
    ] as const;
    for (const [t, degrees, tail] of rows) {
      expect(upperTail(t, degrees) / tail).toBeCloseTo(1, 1);
      expect(upperTail(-t, degrees)).toBeCloseTo(1 - upperTail(t, degrees), 12);
    }
    expect(upperTail(2, 5)).toBe(upperTail(2, 4)); // odd numbers are taken down
    expect(upperTail(0, 8)).toBe(0.5);
  });

  const change = (rows: readonly (readonly number[])[], more: Partial<Plan> = {}, rewards?: readonly number[]) => {
    const of = stopCase('r', plan({ k: 32, stop: { rule: 'confident', error: 0.01 }, ...more }), rows[0]!.length)!;
    const samples = rows.map((scores, index) => scored(index, scores));
    return leaderChange(of, samples, new Map(rewards?.map((reward, index) => [index, reward])), samples.length);
  };
  const times = (count: number, ...rows: readonly (readonly number[])[]) =>
    Array.from({ length: count }, (_, at) => rows[at % rows.length]!);

  test('is a probability, and falls as more samples agree', () => {
    fc.assert(
      fc.property(stories([1, 3, 6, 10], 2, 4), (story) => {
        const of = stopCase(story.requestId, story.plan, story.n)!;
        const valid = story.samples.filter((sample) => sample.kind === 'scored');
        if (valid.length === 0) return;
        const chance = leaderChange(of, valid, story.rewards, story.samples.length);
        expect(chance).toBeGreaterThanOrEqual(0);
        expect(chance).toBeLessThanOrEqual(1);
      }),
    );
    for (const method of ['sum', 'mean', 'median', 'majority'] as const) {
      const chances = [4, 8, 12, 16].map((count) => change(times(count, [8, 5], [7, 6]), { vote: method }));
      expect(chances).toEqual(chances.toSorted((a, b) => b - a));
      expect(chances[0]).toBeGreaterThan(0.01);
      expect(chances.at(-1)).toBeLessThan(0.01);
    }
  });

  test('a tie is never confident, and a close rival hinders a leader that is far ahead of another', () => {
    expect(change(times(16, [8, 5], [5, 8]))).toBeGreaterThanOrEqual(0.5);
    expect(change(times(12, [9, 8, 2], [8, 9, 2], [9, 9, 1]))).toBeGreaterThan(0.3);
    expect(change(times(12, [9, 3, 2], [8, 3, 2]))).toBeLessThan(0.001);
  });

  test('what scores commonly vary by is learned from the other rivals, and a rival that is always scored alike hides no noise', () => {
    // Mean difference 1, variance 16/9 over eight samples. Prior: two samples of 0, four of a variance of 9.
    const pair = times(8, [7, 5], [5, 5], [7, 6], [6, 5], [7, 6]);
    const third = (...scores: readonly number[]) => pair.map((row, at) => [...row, scores[at % scores.length]!]);
    const alone = change(pair);
    const byHand = (common: number): number => {
      const differences = pair.map(([leader, rival]) => leader! - rival!);
      const mean = differences.reduce((sum, each) => sum + each, 0) / 8;
      const squares = differences.reduce((sum, each) => sum + (each - mean) ** 2, 0);
      const variance = (4 * common + squares + (16 * mean ** 2) / 10) / 12;
      const atK = 8 * mean + (24 * 8 * mean) / 10;
      return upperTail(atK / Math.sqrt(variance * (24 + 24 ** 2 / 10)), 12);
    };
    expect(alone).toBeCloseTo(byHand(9), 12);
    // A third response that is far behind, and as evenly as the leader's own scores let it be: it takes no part of the chance by itself.
    const quiet = change(third(1));
    const unquiet = change(third(1, 1, 4, 1, 1, 1, 1, 4));
    expect(quiet).toBeLessThan(alone);
    expect(unquiet).toBeGreaterThan(quiet);
    // Eight samples of 9 stand against it, and the pair's own differences count as before.
    expect(quiet).toBeGreaterThan(byHand((8 * 9) / (8 + 7)));
  });

  test('meta votes: nothing is said before there is a meta reward; the kept samples alone are read', () => {
    const rows = times(12, [9, 3], [2, 8]);
    expect(change(rows, { vote: 'meta_topk' })).toBe(1);
    const keepsTheFirst = rows.map((_, at) => (at % 2 === 0 ? 2 : -2));
    expect(change(rows, { vote: 'meta_topk' }, keepsTheFirst)).toBeLessThan(0.05);
    expect(
      change(
        rows,
        { vote: 'meta_topk' },
        rows.map((_, at) => (at % 4 < 2 ? 2 : -2)),
      ),
    ).toBeGreaterThan(0.3);
    expect(change(rows, { vote: 'meta_weighted' }, keepsTheFirst)).toBeLessThan(0.1);
    // One sample that outweighs all others is one sample.
    expect(
      change(
        rows,
        { vote: 'meta_weighted' },
        rows.map((_, at) => (at === 0 ? 20 : 0)),
      ),
    ).toBeGreaterThan(0.1);
  });

  test.each([
    [0.01, 0],
    [0.05, 0],
    [0.01, 2],
    [0.05, 2],
  ])(
    'at error %d the leader of k changes no more often than that, over judges good and bad, with %i responses besides that every sample scores alike',
    (error, hopeless) => {
      const requests = 400;
      const k = 32;
      const n = 2 + hopeless;
      const draw = uint32Stream(42);
      const unit = (): number => (draw() + 0.5) / 2 ** 32;
      let changed = 0;
      let saved = 0;
      for (let request = 0; request < requests; request++) {
        // The better response is 0..3 points better, samples spread by some 2.5 points.
        const gap = 3 * unit();
        const noise = (): number => 2.5 * (unit() + unit() + unit() + unit() - 2) * 1.7;
        const clamp = (score: number): number => Math.min(10, Math.max(1, Math.round(score)));
        const samples = Array.from({ length: k }, (_, index) =>
          scored(index, [clamp(5 + gap + noise()), clamp(5 + noise()), ...Array<number>(hopeless).fill(1)]),
        );
        const of = stopCase(`q${request}`, plan({ k, stop: { rule: 'confident', error } }), n)!;
        const best = (drawn: number): number =>
          rankingOf({
            requestId: `q${request}`,
            n,
            plan: plan({ k }),
            samples: samples.slice(0, drawn),
            rewards: new Map(),
          })[0]!;
        let drawn = nextLook(of.stop, k, 0);
        while (drawn < k && stopReason(of, samples.slice(0, drawn), new Map()) === undefined)
          drawn = nextLook(of.stop, k, drawn);
        saved += k - drawn;
        if (best(drawn) !== best(k)) changed++;
      }
      expect(changed / requests).toBeLessThanOrEqual(error);
      expect(saved / requests / k).toBeGreaterThan(0.3);
    },
  );
});
