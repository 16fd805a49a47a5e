import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { makeSample } from '../../../src/grm/make-sample.js';
import { voteMethods, type VoteMethod } from '../../../src/grm/query.js';
import type { Sample } from '../../../src/grm/sample.js';
import type { ValidVerdict, Verdict } from '../../../src/grm/verdict.js';
import { vote, type VoteInput } from '../../../src/grm/vote.js';
import { failed, plan, provenance, scored, voteInput } from '../../support/judgement.js';

function valid(verdict: Verdict): ValidVerdict {
  if (verdict.kind !== 'valid') throw new Error(`the verdict is invalid: ${verdict.reason}`);
  return verdict;
}

function votes(verdict: Verdict): number[] {
  return valid(verdict).rewards.map((reward) => reward.vote);
}

function values(verdict: Verdict): number[] {
  return valid(verdict).rewards.map((reward) => reward.value);
}

const kept = (verdict: Verdict) => verdict.samples.map((each) => each.kept);

const figure3 = [scored(0, [1, 5]), scored(1, [5, 6]), scored(2, [4, 8]), scored(3, [7, 6])];
const figure3Rewards = new Map([
  [0, 2.5],
  [1, -1],
  [2, 0.5],
  [3, -4],
]);

describe('golden numbers of arXiv 2504.02495', () => {
  it('figure 3: naive 17/25', () => {
    const verdict = valid(vote(voteInput({ samples: figure3 })));
    expect(votes(verdict)).toEqual([17, 25]);
    expect(values(verdict)).toEqual([4.25, 6.25]);
    expect(verdict).toMatchObject({ best: 1, ranking: [1, 0], tie: false, margin: 2, agreement: 0.75 });
    expect(verdict).toMatchObject({ k: 4, kValid: 4, kKept: 4, vote: 'sum', degraded: [], metaModel: '' });
    expect(verdict.rewards.map((reward) => reward.rank)).toEqual([2, 1]);
  });

  it('figure 3: the meta RM keeps the 1st and the 3rd: 5/13', () => {
    const input = {
      samples: figure3,
      metaRewards: figure3Rewards,
      metaModel: 'meta-1',
      plan: plan({ vote: 'meta_topk', meta: true }),
    };
    const verdict = valid(vote(voteInput(input)));
    expect(votes(verdict)).toEqual([5, 13]);
    expect(kept(verdict)).toEqual(['kept', 'meta_rank', 'kept', 'meta_rank']);
    expect(verdict).toMatchObject({
      kKept: 2,
      vote: 'meta_topk',
      margin: 4,
      agreement: 1,
      metaModel: 'meta-1',
      degraded: [],
    });
    expect(verdict.samples.map((each) => each.metaReward)).toEqual([2.5, -1, 0.5, -4]);
  });

  it('table 17: naive r1 = 20, r2 = 27, from the texts as printed', () => {
    const texts: [string, number[]][] = [
      ['**Overall Score**: 8\n**Overall Score**: 8\n**Scores: \\boxed{8, 8}**', [0, 1]],
      ['Scores:\\\\boxed{9, 5}', [1, 0]],
      ['### Output:\n\\boxed{10, 7}', [1, 0]],
    ];
    const samples = texts.map(([text, permutation], index) => makeSample(index, text, provenance({ permutation })));
    const metaRewards = new Map([-15.7781, 1.3126, 1.6739].map((reward, index) => [index, reward]));
    expect(votes(vote(voteInput({ samples, metaRewards })))).toEqual([20, 27]);
    const meta = vote(voteInput({ samples, metaRewards, plan: plan({ k: 3, vote: 'meta_topk', meta: true }) }));
    expect(votes(meta)).toEqual([12, 19]);
    expect(kept(meta)).toEqual(['meta_rank', 'kept', 'kept']);
    expect(valid(meta).best).toBe(1);
  });
});

describe('methods', () => {
  const samples = [scored(0, [9, 8, 1]), scored(1, [2, 8, 8]), scored(2, [10, 7, 3]), scored(3, [10, 6, 2])];
  const of = (method: VoteMethod, more: Partial<VoteInput> = {}) =>
    vote(voteInput({ n: 3, samples, plan: plan({ vote: method }), ...more }));

  it('sum, mean and median', () => {
    expect(votes(of('sum'))).toEqual([31, 29, 14]);
    expect(votes(of('mean'))).toEqual([7.75, 7.25, 3.5]);
    expect(votes(of('median'))).toEqual([9.5, 7.5, 2.5]);
    for (const method of ['sum', 'mean', 'median'] as const) expect(values(of(method))).toEqual([7.75, 7.25, 3.5]);
    expect(valid(of('sum')).margin).toBe(0.5);
    expect(valid(of('mean')).margin).toBe(0.5);
    expect(valid(of('median')).margin).toBe(2);
  });

  it('the median of an odd number is the middle one', () => {
    expect(votes(of('median', { samples: samples.slice(0, 3) }))).toEqual([9, 8, 3]);
  });

  it('majority: a tied sample splits its vote', () => {
    const verdict = valid(of('majority'));
    expect(votes(verdict)).toEqual([3, 0.5, 0.5]);
    expect(verdict.rewards.map((reward) => reward.rank)).toEqual([1, 2, 2]);
    expect(verdict).toMatchObject({ best: 0, tie: false, margin: 0.625, agreement: 0.75 });
  });

  it('majority: thirds add up to a tie', () => {
    const thirds = [scored(0, [5, 5, 5]), scored(1, [5, 5, 5]), scored(2, [5, 5, 5])];
    const whole = [...thirds, scored(3, [9, 9, 9])];
    for (const some of [thirds, whole])
      expect(valid(of('majority', { samples: some }))).toMatchObject({ tie: true, margin: 0 });
  });

  it('meta_weighted: the mean under the softmax of the meta rewards', () => {
    const metaRewards = new Map([0, 1, 2, 3].map((index) => [index, index === 3 ? Math.log(3) : 0]));
    const verdict = valid(of('meta_weighted', { metaRewards }));
    // Weights 1/6, 1/6, 1/6, 1/2.
    const expected = [(9 + 2 + 10) / 6 + 5, (8 + 8 + 7) / 6 + 3, (1 + 8 + 3) / 6 + 1];
    for (const [response, number] of expected.entries()) expect(votes(verdict)[response]).toBeCloseTo(number, 9);
    expect(values(verdict)).toEqual(votes(verdict));
    expect(verdict).toMatchObject({ kKept: 4, vote: 'meta_weighted', best: 0 });
    expect(verdict.margin).toBeCloseTo(expected[0]! - expected[1]!, 9);
  });

  it('k_meta as the plan says', () => {
    const metaRewards = new Map([0, 1, 2, 3].map((index) => [index, -index]));
    const one = of('meta_topk', { metaRewards, plan: plan({ vote: 'meta_topk', kMeta: 1 }) });
    expect(votes(one)).toEqual([9, 8, 1]);
    const all = of('meta_topk', { metaRewards, plan: plan({ vote: 'meta_topk', kMeta: 4 }) });
    expect(votes(all)).toEqual([31, 29, 14]);
  });
});

describe('ties', () => {
  it('are told, and broken by the request id', () => {
    const tied = (requestId: string) =>
      valid(vote(voteInput({ requestId, samples: [scored(0, [8, 3]), scored(1, [3, 8])] })));
    const bests = new Set<number>();
    for (let at = 0; at < 40; at += 1) {
      const verdict = tied(`request-${at}`);
      expect(verdict).toMatchObject({ tie: true, margin: 0, agreement: 0.5 });
      expect(verdict.rewards.map((reward) => reward.rank)).toEqual([1, 1]);
      expect(verdict.ranking[0]).toBe(verdict.best);
      expect(tied(`request-${at}`)).toEqual(verdict);
      bests.add(verdict.best);
    }
    expect(bests).toEqual(new Set([0, 1]));
  });

  it('below the best are no tie, but share a rank', () => {
    const verdict = valid(vote(voteInput({ n: 4, samples: [scored(0, [3, 9, 3, 1])] })));
    expect(verdict.tie).toBe(false);
    expect(verdict.rewards.map((reward) => reward.rank)).toEqual([2, 1, 2, 4]);
    expect(verdict.ranking[0]).toBe(1);
    expect(verdict.ranking[3]).toBe(3);
  });

  it('are seen through rounding noise', () => {
    const samples = [scored(0, [1.1, 1.2]), scored(1, [1.1, 1.1]), scored(2, [1.2, 1.1])];
    expect(1.1 + 1.1 + 1.2).not.toBe(1.2 + 1.1 + 1.1);
    expect(valid(vote(voteInput({ samples })))).toMatchObject({ tie: true, margin: 0 });
  });
});

describe('one response', () => {
  it.each(voteMethods)('%s works, without margin, agreement or tie', (method) => {
    const samples = [scored(0, [4]), scored(1, [7]), scored(2, [7])];
    const metaRewards = new Map([0, 1, 2].map((index) => [index, 1]));
    const verdict = valid(vote(voteInput({ n: 1, samples, metaRewards, plan: plan({ vote: method, kMeta: 3 }) })));
    expect(verdict.rewards[0]!.value).toBeCloseTo(6, 9);
    expect(verdict.rewards[0]!.rank).toBe(1);
    expect(verdict).toMatchObject({ ranking: [0], best: 0, tie: false });
    expect(verdict).not.toHaveProperty('margin');
    expect(verdict).not.toHaveProperty('agreement');
  });
});

describe('what falls short is said (V3)', () => {
  const metaPlan = (vote: VoteMethod) => plan({ vote, meta: true });

  it.each<VoteMethod>(['meta_topk', 'meta_weighted'])(
    '%s without any meta reward: a naive vote over all valid samples',
    (method) => {
      const verdict = valid(vote(voteInput({ samples: figure3, plan: metaPlan(method), metaModel: 'meta-1' })));
      expect(votes(verdict)).toEqual([17, 25]);
      expect(verdict).toMatchObject({ vote: 'sum', degraded: ['meta_unavailable'], kKept: 4, metaModel: '' });
      expect(kept(verdict)).toEqual(['kept', 'kept', 'kept', 'kept']);
      expect(verdict.samples[0]).not.toHaveProperty('metaReward');
    },
  );

  it('P7: a meta reward that is no number counts as absent', () => {
    const metaRewards = new Map(
      [0, 1, 2, 3].map((index) => [index, index === 0 ? Number.NaN : Number.POSITIVE_INFINITY]),
    );
    const verdict = valid(vote(voteInput({ samples: figure3, plan: metaPlan('meta_topk'), metaRewards })));
    expect(verdict).toMatchObject({ vote: 'sum', degraded: ['meta_unavailable'] });
  });

  it('some meta rewards missing: those that have one vote', () => {
    const metaRewards = new Map([
      [1, 3],
      [2, 2],
      [3, 1],
    ]);
    const verdict = valid(vote(voteInput({ samples: figure3, plan: metaPlan('meta_topk'), metaRewards })));
    expect(kept(verdict)).toEqual(['no_meta_reward', 'kept', 'kept', 'meta_rank']);
    expect(verdict).toMatchObject({ vote: 'meta_topk', degraded: ['meta_partial'], kKept: 2 });
    expect(votes(verdict)).toEqual([9, 14]);
    const weighted = valid(vote(voteInput({ samples: figure3, plan: metaPlan('meta_weighted'), metaRewards })));
    expect(kept(weighted)).toEqual(['no_meta_reward', 'kept', 'kept', 'kept']);
    expect(weighted.degraded).toEqual(['meta_partial']);
  });

  it('a meta RM that was wanted besides a naive vote', () => {
    const wanted = plan({ meta: true });
    expect(vote(voteInput({ samples: figure3, plan: wanted })).degraded).toEqual(['meta_unavailable']);
    const one = vote(
      voteInput({ samples: figure3, plan: wanted, metaRewards: new Map([[2, 1]]), metaModel: 'meta-1' }),
    );
    expect(one.degraded).toEqual(['meta_partial']);
    expect(one.metaModel).toBe('meta-1');
    expect(kept(one)).toEqual(['kept', 'kept', 'kept', 'kept']);
    expect(one.samples[2]!.metaReward).toBe(1);
  });

  it('V2, P7: invalid samples drop out for every response alike', () => {
    const samples = [scored(0, [1, 5]), failed(1), scored(2, [4, 8]), failed(3, 'truncated')];
    const verdict = valid(vote(voteInput({ samples })));
    expect(votes(verdict)).toEqual([5, 13]);
    expect(kept(verdict)).toEqual(['kept', 'invalid', 'kept', 'invalid']);
    expect(verdict).toMatchObject({ k: 4, kValid: 2, kKept: 2, degraded: ['samples_invalid'] });
  });

  it('the k_meta rule counts valid samples alone', () => {
    const samples = [scored(0, [1, 5]), failed(1), scored(2, [4, 8]), failed(3), scored(4, [2, 2])];
    const metaRewards = new Map([
      [0, 1],
      [1, 99],
      [2, 2],
      [4, 3],
    ]);
    const verdict = vote(voteInput({ samples, metaRewards, plan: plan({ k: 5, vote: 'meta_topk' }) }));
    expect(kept(verdict)).toEqual(['meta_rank', 'invalid', 'kept', 'invalid', 'kept']);
    expect(verdict.samples[1]).not.toHaveProperty('metaReward');
  });

  it('V4: an ended time budget: a verdict with the quorum, none below it', () => {
    const two = voteInput({ samples: figure3.slice(0, 2), expired: true });
    expect(valid(vote(two))).toMatchObject({ degraded: ['time_budget'], kValid: 2 });
    const below = vote({ ...two, samples: [figure3[0]!, failed(1)] });
    expect(below).toMatchObject({ kind: 'invalid', reason: 'quorum_not_met', kValid: 1, kKept: 1 });
    expect(below.degraded).toEqual(['time_budget', 'samples_invalid']);
    expect(below).not.toHaveProperty('rewards');
    expect(kept(below)).toEqual(['kept', 'invalid']);
    expect(vote({ ...two, samples: [] })).toMatchObject({ kind: 'invalid', reason: 'quorum_not_met', samples: [] });
  });

  it('the quorum does not matter while the time budget has not ended', () => {
    expect(vote(voteInput({ samples: [figure3[0]!, failed(1), failed(2), failed(3)] })).kind).toBe('valid');
  });

  it.each(voteMethods)('%s: no valid sample, no verdict', (method) => {
    const verdict = vote(voteInput({ samples: [failed(0), failed(1)], plan: plan({ vote: method }) }));
    expect(verdict).toMatchObject({
      kind: 'invalid',
      reason: 'no_valid_sample',
      kValid: 0,
      kKept: 0,
      degraded: ['samples_invalid'],
    });
    expect(verdict.vote).toBe(method);
  });
});

describe('totals', () => {
  it('add up tokens, name models once and carry what came in', () => {
    const samples = [
      scored(0, [1, 5], { model: 'b' }),
      scored(1, [5, 6], { model: 'a' }),
      { ...failed(2), model: '' },
      failed(3),
    ];
    const verdict = vote(voteInput({ samples }));
    expect(verdict.usage).toEqual({ promptTokens: 400, cachedTokens: 320, completionTokens: 200 });
    expect(verdict.models).toEqual(['a', 'b', 'judge-1']);
    expect(verdict).toMatchObject({
      requestId: 'request-1',
      responses: 2,
      durationMs: 1_234,
      finishedAtMs: 1_700_000_000_000,
      nonce: 'a1b2c3d4',
    });
    expect(verdict.templateHash).toBe(plan().templateHash);
    expect(verdict.samples.map((each) => each.sample.index)).toEqual([0, 1, 2, 3]);
  });

  it('P2: two samples with one index are a bug, not a vote', () => {
    expect(() => vote(voteInput({ samples: [scored(1, [1, 5]), scored(1, [5, 6])] }))).toThrow(
      'sample 1 is there twice',
    );
    expect(() => vote(voteInput({ samples: [scored(1, [1, 5, 6])] }))).toThrow('3 scores for 2 responses');
  });
});

describe('any samples', () => {
  const score = fc.oneof(
    fc.integer({ min: 1, max: 10 }),
    fc.integer({ min: 10, max: 100 }).map((tenths) => tenths / 10),
  );
  const input = fc.integer({ min: 1, max: 5 }).chain((n) =>
    fc
      .record({
        requestId: fc.string(),
        method: fc.constantFrom(...voteMethods),
        meta: fc.boolean(),
        kMeta: fc.option(fc.integer({ min: 1, max: 12 }), { nil: undefined }),
        expired: fc.boolean(),
        quorum: fc.integer({ min: 1, max: 6 }),
        drawn: fc.array(fc.option(fc.array(score, { minLength: n, maxLength: n }), { nil: undefined, freq: 4 }), {
          maxLength: 12,
        }),
        rewards: fc.array(fc.option(fc.oneof(fc.integer({ min: -2, max: 2 }), fc.double()), { nil: undefined }), {
          maxLength: 12,
        }),
      })
      .map(({ requestId, method, meta, kMeta, expired, quorum, drawn, rewards }) => {
        const samples: Sample[] = drawn.map((scores, index) =>
          scores === undefined ? failed(index) : scored(index, scores),
        );
        const metaRewards = new Map(
          rewards.flatMap((reward, index) => (reward === undefined ? [] : [[index, reward] as const])),
        );
        const wanted = plan({ k: 12, vote: method, meta, quorum, ...(kMeta === undefined ? {} : { kMeta }) });
        return voteInput({ requestId, n, samples, metaRewards, metaModel: 'meta-1', plan: wanted, expired });
      }),
  );

  it('V1, P2, P3: the order of samples and rewards never changes a verdict', () => {
    fc.assert(
      fc.property(input, fc.infiniteStream(fc.nat()), (given, keys) => {
        const shuffled = <T>(items: Iterable<T>) =>
          [...items]
            .map((item) => ({ item, key: keys.next().value as number }))
            .sort((a, b) => a.key - b.key)
            .map(({ item }) => item);
        const again = vote({
          ...given,
          samples: shuffled(given.samples),
          metaRewards: new Map(shuffled(given.metaRewards)),
        });
        expect(again).toEqual(vote(given));
      }),
      { numRuns: 300 },
    );
  });

  it('V2, V4, V5, P7: numbers are sound', () => {
    fc.assert(
      fc.property(input, (given) => {
        const verdict = vote(given);
        expect(verdict.kKept).toBe(kept(verdict).filter((each) => each === 'kept').length);
        expect(verdict.kValid).toBe(given.samples.filter((sample) => sample.kind === 'scored').length);
        if (verdict.kind === 'invalid') {
          expect(verdict.kValid === 0 || (given.expired && verdict.kValid < given.plan.quorum)).toBe(true);
          return;
        }
        expect(verdict.kKept).toBeGreaterThan(0);
        expect(verdict.rewards).toHaveLength(given.n);
        expect([...verdict.ranking].sort((a, b) => a - b)).toEqual(verdict.rewards.map((_, response) => response));
        for (const { value, vote: number } of verdict.rewards) {
          expect(value >= 1 && value <= 10).toBe(true);
          expect(Number.isFinite(number)).toBe(true);
        }
        expect(verdict.rewards[verdict.best]!.rank).toBe(1);
        const ranks = verdict.ranking.map((response) => verdict.rewards[response]!.rank);
        expect(ranks).toEqual([...ranks].sort((a, b) => a - b));
        if (given.n === 1) return;
        expect(verdict.tie).toBe(ranks[1] === 1);
        expect(verdict.margin === 0).toBe(verdict.tie);
        expect(verdict.margin).toBeGreaterThanOrEqual(0);
        expect(verdict.agreement! >= 0 && verdict.agreement! <= 1).toBe(true);
      }),
      { numRuns: 300 },
    );
  });

  it('relabelling the responses relabels the rewards', () => {
    fc.assert(
      fc.property(input, (given) => {
        const turned = given.samples.map((sample) =>
          sample.kind === 'invalid' ? sample : scored(sample.index, [...sample.scores].reverse()),
        );
        const [one, two] = [vote(given), vote({ ...given, samples: turned })];
        expect(two.kind).toBe(one.kind);
        if (one.kind === 'valid') expect(votes(two)).toEqual(votes(one).reverse());
      }),
    );
  });
});
