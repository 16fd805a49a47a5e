// Vote: samples in, verdict out (arXiv 2504.02495: sums of scores; docs/api.md has the other votes).
//
//   V1. Order of arrival never matters: samples are taken by index, sums run in index order, ties break by the request id (promises P2, P3).
//   V2. Invalid samples are counted and returned, and are never a number (promise P7).
//   V3. What fell short of the plan is named in `degraded`; the vote that was really used stands in `vote`.
//   V4. kKept is the number of samples marked `kept`, in an invalid verdict too: there it tells what stood when the time ended.
//   V5. tie <=> margin = 0.

import { scoreMax, scoreMin } from './box.js';
import type { Judge } from './judge.js';
import { keepByMeta, metaWeights, type Ranked } from './meta.js';
import type { Plan, VoteMethod } from './query.js';
import type { Sample, ScoredSample, Usage } from './sample.js';
import { deriveSeed, seededShuffle } from './seed.js';
import type {
  Degraded,
  JudgedSample,
  Kept,
  Missing,
  Reward,
  Stopping,
  ValidVerdict,
  Verdict,
  VerdictInvalidReason,
} from './verdict.js';

export interface VoteInput {
  readonly requestId: string;
  readonly plan: Plan;
  /** Responses in the request. */
  readonly n: number;
  /** Every sample that arrived, in any order; one per index. */
  readonly samples: readonly Sample[];
  /** Sample index -> logit. Rewards that are not finite count as absent. */
  readonly metaRewards: ReadonlyMap<number, number>;
  /** The model that gave them; '' when none did. */
  readonly metaModel: string;
  /** The time budget ended with samples missing. */
  readonly expired: boolean;
  /** From acceptance to verdict. */
  readonly durationMs: number;
  /** Milliseconds since the Unix epoch. */
  readonly finishedAtMs: number;
  readonly nonce: string;
  /** What judged, and whether some of it is not what the request was accepted under. */
  readonly judge?: Judge;
  readonly judgeChanged?: boolean;
  /** What adaptive k did; absent where the plan has no rule for it. */
  readonly stopping?: Stopping;
  /** What had become of the samples that are not there, when time ran out. */
  readonly missing?: Missing;
  /** The storage of results was full while this request waited for what is missing. Default false. */
  readonly storageFull?: boolean;
}

/** Votes closer than this are tied: sums of thirds (majority) and of decimals carry rounding noise. */
const votesPerUnit = 1e9;

/** What a vote reads of a valid sample: its index in the plan, and its scores 1..10 in the request's order. */
export type Scores = Pick<ScoredSample, 'index' | 'scores'>;

interface Ballot<S extends Scores> extends Ranked {
  readonly sample: S;
}

export interface Electorate<S extends Scores = Scores> {
  readonly method: VoteMethod;
  /** By index. */
  readonly kept: readonly S[];
  /** Per kept sample, summing to 1; only for `meta_weighted`. */
  readonly weights: readonly number[] | undefined;
  /** Indexes of the kept samples. */
  readonly keptIndexes: ReadonlySet<number>;
}

export function vote(input: VoteInput): Verdict {
  const { plan, n } = input;
  const samples = byIndex(input.samples);
  const valid = samples.filter((sample): sample is ScoredSample => sample.kind === 'scored');
  const ballots = ballotsOf(valid, n, input.metaRewards);
  const electorate = electorateOf(plan, valid, ballots);
  const base = {
    requestId: input.requestId,
    responses: n,
    k: plan.k,
    kValid: valid.length,
    kKept: electorate.kept.length,
    vote: electorate.method,
    degraded: degradedOf(input, samples.length, valid.length, ballots.length),
    samples: judged(samples, ballots, electorate),
    usage: usageOf(samples),
    durationMs: input.durationMs,
    templateHash: plan.templateHash,
    models: [...new Set(samples.map((sample) => sample.model))].filter((model) => model !== '').sort(),
    metaModel: ballots.length === 0 ? '' : input.metaModel,
    finishedAtMs: input.finishedAtMs,
    nonce: input.nonce,
    ...(input.judge !== undefined && { judge: input.judge }),
    ...(input.stopping !== undefined && { stopping: input.stopping }),
    ...(input.missing !== undefined && { missing: input.missing }),
  };
  const invalid = invalidReason(input, valid.length);
  if (invalid !== undefined) return { kind: 'invalid', reason: invalid, ...base };
  return { kind: 'valid', ...base, ...elect(input.requestId, n, electorate) };
}

/**
 * The same verdict for a caller of another quorum, which counts only where time cut the verdict short: the very same object where that changes
 * nothing.
 */
export function underQuorum(verdict: Verdict, quorum: number): Verdict {
  if (!verdict.degraded.includes('time_budget')) return verdict;
  const isMet = verdict.kValid >= Math.max(1, quorum);
  if (verdict.kind === 'valid' && !isMet) {
    const {
      kind: _kind,
      rewards: _rewards,
      ranking: _ranking,
      best: _best,
      tie: _tie,
      margin: _margin,
      agreement: _agreement,
      ...base
    } = verdict;
    return { kind: 'invalid', reason: 'quorum_not_met', ...base };
  }
  if (verdict.kind === 'invalid' && isMet) {
    const { kind: _, reason: _reason, ...base } = verdict;
    return { kind: 'valid', ...base, ...elect(verdict.requestId, verdict.responses, electorateIn(verdict)) };
  }
  return verdict;
}

/** Who voted in a verdict, or would have. */
function electorateIn({ vote: method, samples }: Verdict): Electorate {
  const kept = samples.flatMap(({ sample, kept: how, metaReward }) =>
    how === 'kept' && sample.kind === 'scored' ? [{ sample, metaReward }] : [],
  );
  const isWeighted = method === 'meta_weighted';
  return {
    method,
    kept: kept.map(({ sample }) => sample),
    weights: isWeighted ? metaWeights(kept.map(({ metaReward }) => metaReward ?? 0)) : undefined,
    keptIndexes: new Set(kept.map(({ sample }) => sample.index)),
  };
}

/** What a vote over some valid samples would say, without a verdict around it: for the rules of adaptive k. */
export interface Standing {
  readonly electorate: Electorate;
  /** As a verdict's. */
  readonly ranking: readonly number[];
  readonly votes: readonly number[];
}

/**
 * @param samples valid ones by index, at least one
 * @param metaRewards sample index -> logit; those that are not finite count as absent
 */
export function standing(
  requestId: string,
  plan: Pick<Plan, 'vote' | 'kMeta'>,
  n: number,
  samples: readonly Scores[],
  metaRewards: ReadonlyMap<number, number>,
): Standing {
  const electorate = electorateOf(plan, samples, ballotsOf(samples, n, metaRewards));
  const votes = votesOf(n, electorate, meanScores(n, electorate.kept, electorate.weights));
  return { electorate, votes, ranking: rank(requestId, keysOf(votes)) };
}

function ballotsOf<S extends Scores>(
  valid: readonly S[],
  n: number,
  metaRewards: ReadonlyMap<number, number>,
): Ballot<S>[] {
  return valid.flatMap((sample): Ballot<S>[] => {
    const { index, scores } = sample;
    if (scores.length !== n) throw new Error(`sample ${index} has ${scores.length} scores for ${n} responses`);
    const metaReward = metaRewards.get(index);
    return metaReward === undefined || !Number.isFinite(metaReward) ? [] : [{ index, metaReward, sample }];
  });
}

function byIndex(samples: readonly Sample[]): Sample[] {
  const sorted = [...samples].sort((a, b) => a.index - b.index);
  for (let at = 1; at < sorted.length; at += 1) {
    if (sorted[at]!.index === sorted[at - 1]!.index) throw new Error(`sample ${sorted[at]!.index} is there twice`);
  }
  return sorted;
}

export function needsMeta(method: VoteMethod): boolean {
  return method === 'meta_topk' || method === 'meta_weighted';
}

/** Who votes, and how: the plan's method, or the naive sum when it needs meta rewards and there is none. */
function electorateOf<S extends Scores>(
  plan: Pick<Plan, 'vote' | 'kMeta'>,
  valid: readonly S[],
  ballots: readonly Ballot<S>[],
): Electorate<S> {
  if (!needsMeta(plan.vote) || (ballots.length === 0 && valid.length > 0)) {
    const method = needsMeta(plan.vote) ? 'sum' : plan.vote;
    return { method, kept: valid, weights: undefined, keptIndexes: new Set(valid.map((sample) => sample.index)) };
  }
  if (plan.vote === 'meta_weighted') {
    return {
      method: plan.vote,
      kept: ballots.map((ballot) => ballot.sample),
      weights: metaWeights(ballots.map((ballot) => ballot.metaReward)),
      keptIndexes: new Set(ballots.map((ballot) => ballot.index)),
    };
  }
  const keptIndexes = new Set(keepByMeta(ballots, plan.kMeta, valid.length).map((ballot) => ballot.index));
  const kept = ballots.filter((ballot) => keptIndexes.has(ballot.index)).map((ballot) => ballot.sample);
  return { method: plan.vote, kept, weights: undefined, keptIndexes };
}

function degradedOf(input: VoteInput, arrived: number, kValid: number, rewarded: number): Degraded[] {
  const degraded: Degraded[] = [];
  const metaWanted = input.plan.meta || needsMeta(input.plan.vote);
  if (metaWanted && rewarded < kValid) degraded.push(rewarded === 0 ? 'meta_unavailable' : 'meta_partial');
  if (input.expired) degraded.push('time_budget');
  if (input.storageFull === true) degraded.push('storage_full');
  if (kValid < arrived) degraded.push('samples_invalid');
  if (input.judgeChanged) degraded.push('judge_changed');
  return degraded;
}

function invalidReason(input: VoteInput, kValid: number): VerdictInvalidReason | undefined {
  if (input.expired && kValid < input.plan.quorum) return 'quorum_not_met';
  return kValid === 0 ? 'no_valid_sample' : undefined;
}

function judged(
  samples: readonly Sample[],
  ballots: readonly Ballot<ScoredSample>[],
  electorate: Electorate,
): JudgedSample[] {
  let next = 0;
  return samples.map((sample): JudgedSample => {
    // Ballots stand in the order of the samples.
    const ballot = ballots[next]?.sample === sample ? ballots[next] : undefined;
    if (ballot === undefined) return { sample, kept: keptOf(sample, false, electorate) };
    next += 1;
    return { sample, metaReward: ballot.metaReward, kept: keptOf(sample, true, electorate) };
  });
}

function keptOf(sample: Sample, rewarded: boolean, electorate: Electorate): Kept {
  if (sample.kind === 'invalid') return 'invalid';
  if (electorate.keptIndexes.has(sample.index)) return 'kept';
  return rewarded ? 'meta_rank' : 'no_meta_reward';
}

function usageOf(samples: readonly Sample[]): Usage {
  let promptTokens = 0;
  let cachedTokens = 0;
  let completionTokens = 0;
  for (const { usage } of samples) {
    promptTokens += usage.promptTokens;
    cachedTokens += usage.cachedTokens;
    completionTokens += usage.completionTokens;
  }
  return { promptTokens, cachedTokens, completionTokens };
}

/** Counts the vote. At least one sample is kept. */
function elect(
  requestId: string,
  n: number,
  electorate: Electorate,
): Pick<ValidVerdict, 'rewards' | 'ranking' | 'best' | 'tie' | 'margin' | 'agreement'> {
  const { method, kept, weights } = electorate;
  const values = meanScores(n, kept, weights);
  const votes = votesOf(n, electorate, values);
  const keys = keysOf(votes);
  const ranking = rank(requestId, keys);
  const rewards: Reward[] = [];
  for (let response = 0; response < n; response += 1) {
    const better = keys.reduce((count, key) => (key > keys[response]! ? count + 1 : count), 0);
    rewards.push({ value: values[response]!, vote: votes[response]!, rank: better + 1 });
  }
  const best = ranking[0]!;
  if (n === 1) return { rewards, ranking, best, tie: false };
  const second = ranking[1]!;
  const tie = keys[best] === keys[second];
  const margin = tie ? 0 : (votes[best]! - votes[second]!) / (countsPerSample(method) ? kept.length : 1);
  return { rewards, ranking, best, tie, margin, agreement: agreementOn(best, kept) };
}

function keysOf(votes: readonly number[]): number[] {
  return votes.map((number) => Math.round(number * votesPerUnit));
}

/** Methods whose number grows with the samples: their margin is taken per kept sample. */
function countsPerSample(method: VoteMethod): boolean {
  return method === 'sum' || method === 'meta_topk' || method === 'majority';
}

function sumScores(n: number, kept: readonly Scores[]): number[] {
  const sums = new Array<number>(n).fill(0);
  for (const { scores } of kept) {
    for (let response = 0; response < n; response += 1) sums[response]! += scores[response]!;
  }
  return sums;
}

function meanScores(n: number, kept: readonly Scores[], weights: readonly number[] | undefined): number[] {
  if (weights === undefined) return sumScores(n, kept).map((sum) => sum / kept.length);
  const means = new Array<number>(n).fill(0);
  for (const [at, { scores }] of kept.entries()) {
    for (let response = 0; response < n; response += 1) means[response]! += weights[at]! * scores[response]!;
  }
  // Weights sum to 1 but for rounding: no mean may leave the scale.
  return means.map((mean) => Math.min(scoreMax, Math.max(scoreMin, mean)));
}

function votesOf(n: number, { method, kept }: Electorate, values: readonly number[]): readonly number[] {
  switch (method) {
    case 'sum':
    case 'meta_topk':
      return sumScores(n, kept);
    case 'mean':
    case 'meta_weighted':
      return values;
    case 'median':
      return Array.from({ length: n }, (_, response) => median(kept.map(({ scores }) => scores[response]!)));
    case 'majority':
      return Array.from({ length: n }, (_, response) =>
        kept.reduce((sum, { scores }) => sum + topShare(scores, response), 0),
      );
  }
}

function median(scores: number[]): number {
  const sorted = scores.sort((a, b) => a - b);
  const middle = sorted.length >> 1;
  return sorted.length % 2 === 1 ? sorted[middle]! : (sorted[middle - 1]! + sorted[middle]!) / 2;
}

/** What one sample gives a response as its best: 1, or 1/m when m responses share the top score, or 0. */
export function topShare(scores: readonly number[], response: number): number {
  let top = 0;
  let sharers = 0;
  for (const score of scores) {
    if (score > top) {
      top = score;
      sharers = 1;
    } else if (score === top) sharers += 1;
  }
  return scores[response] === top ? 1 / sharers : 0;
}

function agreementOn(best: number, kept: readonly Scores[]): number {
  const share = kept.reduce((sum, { scores }) => sum + topShare(scores, best), 0) / kept.length;
  // Thirds may add up to a little more than one.
  return Math.min(1, share);
}

/** Best first; ties in an order seeded with the request id, the same on every machine. */
function rank(requestId: string, keys: readonly number[]): number[] {
  const drawn = seededShuffle(
    keys.map((_, response) => response),
    deriveSeed(requestId, 'tie'),
  );
  // The sort is stable: equal keys stay in the drawn order.
  return drawn.sort((a, b) => keys[b]! - keys[a]!);
}
