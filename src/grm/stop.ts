// Stop: when drawing may end before k samples (adaptive k).
//
//   A1. `outcome_fixed` stops exactly when no completion of the missing samples can change the ranking: whatever scores 1..10 they give, whatever
//       the meta RM says of them, and also when they are invalid.
//   A2. `confident` stops when the predictive probability that k samples have another best response is at most `error`. It stops too
//       where A1 holds, and says that then.
//   A3. Samples are read in index order: the rule sees samples 0..m-1, all of them, at sizes m that k and the rule alone decide, and the first
//       of these looks at which it says so ends drawing (promise P3). How many samples are asked for ahead of a look is a matter of load
//       (reachOf), and changes nothing of what a look sees. Only +, -, *, / and the square root decide, besides the vote itself: they are exact on every machine.
//   A4. One response has no ranking: its number is wanted, and all k samples are drawn.
//
// A1 in one vote per neighbours of the ranking. A ranking changes only if two neighbours change places. What is worst for `ahead` and best for
// `behind` is a missing sample that is valid, gives `behind` 10 and all others 1, and has a meta reward above all others:
//   * sum, mean, majority: it moves the difference by the most that one sample can; an invalid one moves nothing.
//   * median: a further 1 never raises a median, a further 10 never lowers one.
//   * meta_topk: kept, it adds -9 to the difference. It takes the place of a kept sample (whose difference is at least -9), or the vote
//     keeps one more.
//   * meta_weighted: it takes all the weight. So here nothing is fixed before the last sample.
// So all missing samples are of that kind in the worst completion, and the vote itself says whether it changes places.
//
// A2 is the predictive probability of interim analyses (Spiegelhalter, Freedman and Blackburn, "Monitoring clinical trials: conditional or
// predictive power?", Controlled Clinical Trials 7, 1986) on the paired differences leader less rival: normal with unknown mean and variance
// under the conjugate prior (Gelman et al., Bayesian Data Analysis, 3rd ed., section 3.3), so the final difference has a Student t distribution. Over rivals the
// probabilities are added (union bound). The prior, two imagined samples without a difference, holds early unanimity back. How much a
// difference commonly varies is part of the prior too, and learned besides from the leader's other rivals: a judge's noise is much the same
// for all of them (partial pooling, chapter 5 there). Each rival's own differences count as before, so a response that is always scored alike hides
// no other's noise. With two responses there is nothing to learn from. A Bayesian
// probability may be looked at as often as one likes: when it is right at each look, it is right at the look that stopped. Stopping of sampled
// judgements by a posterior is the idea of Adaptive-Consistency (arXiv 2305.11860). docs/adaptive-k.md says how often it is right.

import { scoreMax, scoreMin } from './box.js';
import { keptByDefault } from './meta.js';
import type { Plan, Stop, StoppedBy, VoteMethod } from './query.js';
import type { Sample } from './sample.js';
import { needsMeta, standing, topShare, type Scores, type Standing } from './vote.js';

/** `error` of `confident` where nobody says. */
export const stopErrorDefault = 0.02;

/** How often the rule looks at the samples of one request, about. */
const looks = 8;
/** Two see a pair in both orders (permute.ts). */
const stepMin = 2;

/**
 * How far ahead of its rule a request asks for samples. by_load: as far as slots are free. small: never, for engines whose samples cost even when
 * nobody else wants them.
 */
export const waveSizes = ['by_load', 'small'] as const;
export type WaveSizes = (typeof waveSizes)[number];

/** The prior of a paired difference: its mean is worth so many samples that saw none, and its variance so many samples of the common one. */
const priorMeanSamples = 2;
const priorSpreadSamples = 4;
/** The common variance is worth so many samples of this standard deviation, in score points and in votes of a sample, besides the other rivals'. */
const commonSpreadSamples = 8;
const commonSpread = { points: 3, share: 1 } as const;
/** Variance of a median over that of a mean, for normal values. */
const medianSpread = Math.PI / 2;
/** Half the step between two medians of whole scores: a continuity correction. */
const medianStep = 0.5;

/** What a rule must know of the request besides its samples. */
export interface StopCase {
  readonly requestId: string;
  /** Responses in the request. */
  readonly n: number;
  readonly plan: Pick<Plan, 'k' | 'kMeta' | 'vote'>;
  readonly stop: Stop;
}

/** The case of a request; undefined where all k samples are drawn at once (no rule, or A4). */
export function stopCase(requestId: string, plan: Plan, n: number): StopCase | undefined {
  return plan.stop === undefined || n < 2 ? undefined : { requestId, n, plan, stop: plan.stop };
}

/**
 * How many samples the rule's next look is at, drawn..k (A3). `outcome_fixed` first looks past the half of k: before, nothing is
 * fixed. Then, and for `confident` from the start, looks are an eighth of k apart, and even: pairs are seen in both orders alike.
 */
export function nextLook(stop: Stop, k: number, drawn: number): number {
  const eighth = Math.max(stepMin, Math.ceil(k / looks));
  const size = drawn === 0 && stop.rule === 'outcome_fixed' ? Math.floor(k / 2) + 1 : eighth + (eighth % 2);
  return Math.min(k, drawn + size);
}

/**
 * How many samples are asked for from now on: those up to `reach`, and of the looks after it as many as `room` lets in whole. What is asked for
 * past the look that ends drawing is dropped.
 * @param reach samples asked for so far, as many as the rule sees at one of its looks
 * @param room samples that would find a free slot besides; 0: no look is asked for before the one ahead of it is over
 */
export function reachOf(stop: Stop, k: number, reach: number, room: number): number {
  let upTo = reach;
  for (;;) {
    const next = nextLook(stop, k, upTo);
    if (next === upTo || next > reach + room) return upTo;
    upTo = next;
  }
}

/**
 * Why drawing may end here; undefined when it must go on.
 * @param samples those with the indexes 0..drawn-1, in any order, invalid ones included
 * @param metaRewards sample index -> logit, all that there will be of those samples
 */
export function stopReason(
  of: StopCase,
  samples: readonly Sample[],
  metaRewards: ReadonlyMap<number, number>,
): StoppedBy | undefined {
  const valid = samples.filter((sample) => sample.kind === 'scored').sort((a, b) => a.index - b.index);
  if (valid.length === 0) return undefined;
  const drawn = samples.length;
  if (outcomeFixed(of, valid, metaRewards, drawn)) return 'outcome_fixed';
  if (of.stop.rule !== 'confident') return undefined;
  return leaderChange(of, valid, metaRewards, drawn) <= of.stop.error ? 'confident' : undefined;
}

/**
 * A1. @param samples the valid ones of the first `drawn`, by index; at least one.
 * Exact for scores of up to nine decimals: votes that lie closer are tied (vote.ts).
 */
export function outcomeFixed(
  { requestId, plan, n }: StopCase,
  samples: readonly Scores[],
  metaRewards: ReadonlyMap<number, number>,
  drawn: number,
): boolean {
  const missing = plan.k - drawn;
  // More missing samples than drawn ones can turn any pair.
  if (missing > drawn) return false;
  const { ranking } = standing(requestId, plan, n, samples, metaRewards);
  const rewards = new Map(metaRewards);
  for (let index = drawn; index < plan.k; index += 1) rewards.set(index, Number.MAX_VALUE);
  return ranking.slice(1).every((behind, place) => {
    const scores = Array.from({ length: n }, (_, response) => (response === behind ? scoreMax : scoreMin));
    const against = Array.from({ length: missing }, (_, at): Scores => ({ index: drawn + at, scores }));
    const after = standing(requestId, plan, n, [...samples, ...against], rewards).ranking;
    return after.indexOf(ranking[place]!) < after.indexOf(behind);
  });
}

/**
 * A2: the probability, 0..1, that k samples have another best response than the first `drawn` have. 1 where nothing can be said: the vote
 * needs meta rewards and there is none yet.
 * @param samples the valid ones of the first `drawn`, by index; at least one
 */
export function leaderChange(
  { requestId, plan, n }: StopCase,
  samples: readonly Scores[],
  metaRewards: ReadonlyMap<number, number>,
  drawn: number,
): number {
  const now = standing(requestId, plan, n, samples, metaRewards);
  if (needsMeta(plan.vote) && !needsMeta(now.electorate.method)) return 1;
  const horizon = horizonOf(plan, now, samples.length, plan.k - drawn);
  const leader = now.ranking[0]!;
  const leads = now.ranking.slice(1).map((rival) => leadOver(now, leader, rival, horizon));
  const { method } = now.electorate;
  const commonFor = commonVariance(method, leads, horizon);
  const chance = leads.reduce((sum, lead) => sum + overtakes(method, lead, commonFor(lead), horizon), 0);
  return Math.min(1, chance);
}

/** Variance of a paired difference as far as it is known without that lead's own. */
function commonVariance(method: VoteMethod, leads: readonly Lead[], { countNow }: Horizon): (lead: Lead) => number {
  // Votes differ the less the farther behind a rival is: the others say nothing of a close one.
  if (method === 'majority') return () => commonSpread.share ** 2;
  const squares = leads.reduce((sum, lead) => sum + lead.squares, 0);
  const samples = commonSpreadSamples + (leads.length - 1) * (countNow - 1);
  return (lead) => (commonSpreadSamples * commonSpread.points ** 2 + squares - lead.squares) / samples;
}

interface Horizon {
  /** How much each kept sample counts; their sum is the number of samples that the vote is worth now. */
  readonly weights: readonly number[];
  readonly countNow: number;
  /** The same number at k samples, were all missing ones valid. */
  readonly countAtK: number;
  /** What is kept now is kept at k samples. Else nothing of the present difference is certain. */
  readonly carried: boolean;
}

function horizonOf(plan: Pick<Plan, 'kMeta'>, { electorate }: Standing, valid: number, missing: number): Horizon {
  const { kept, weights, method } = electorate;
  const ones = kept.map(() => 1);
  switch (method) {
    case 'sum':
    case 'mean':
    case 'median':
    case 'majority':
      return { weights: ones, countNow: kept.length, countAtK: kept.length + missing, carried: true };
    case 'meta_topk': {
      const countAtK = plan.kMeta ?? keptByDefault(valid + missing);
      // The better half of some is about the better half of all. A fixed number of the best is another one at k.
      return { weights: ones, countNow: kept.length, countAtK, carried: plan.kMeta === undefined };
    }
    case 'meta_weighted': {
      const shares = weights ?? kept.map(() => 1 / kept.length);
      // Kish's effective sample size of weights that sum to 1.
      const countNow = 1 / shares.reduce((sum, share) => sum + share * share, 0);
      const countAtK = (countNow * (kept.length + missing)) / kept.length;
      return { weights: shares.map((share) => share * countNow), countNow, countAtK, carried: false };
    }
  }
}

/** Differences leader less rival, in one vote. */
interface Lead {
  /** By which the leader is ahead, per sample. */
  readonly mean: number;
  /** Squared deviations of the samples' differences from their mean, summed. */
  readonly squares: number;
}

function leadOver({ electorate, votes }: Standing, leader: number, rival: number, horizon: Horizon): Lead {
  const { kept, method } = electorate;
  const { weights, countNow } = horizon;
  const differences = kept.map(({ scores }) => differenceIn(method, scores, leader, rival));
  let sum = 0;
  for (const [at, difference] of differences.entries()) sum += weights[at]! * difference;
  const mean = sum / countNow;
  let squares = 0;
  for (const [at, difference] of differences.entries()) squares += weights[at]! * (difference - mean) ** 2;
  // A median moves in steps: what is ahead by less than one may be level at k.
  return {
    mean: method === 'median' ? Math.min(mean, votes[leader]! - votes[rival]! - medianStep) : mean,
    squares,
  };
}

/**
 * The probability that the rival stands before the leader at k samples.
 * @param common variance of a paired difference, as far as it is known without this rival
 */
function overtakes(method: VoteMethod, lead: Lead, common: number, horizon: Horizon): number {
  const { countNow, countAtK, carried } = horizon;
  const meanSamples = priorMeanSamples + countNow;
  const spreadSamples = priorSpreadSamples + countNow;
  const variance =
    ((priorSpreadSamples * common + lead.squares + (priorMeanSamples * countNow * lead.mean ** 2) / meanSamples) /
      spreadSamples) *
    (method === 'median' ? medianSpread : 1);
  const expected = (lead.mean * countNow) / meanSamples;
  const toCome = carried ? countAtK - countNow : countAtK;
  const atK = (carried ? lead.mean * countNow : 0) + toCome * expected;
  const deviation = Math.sqrt(variance * (toCome + toCome ** 2 / meanSamples));
  return upperTail(atK / deviation, spreadSamples);
}

function differenceIn(method: VoteMethod, scores: readonly number[], leader: number, rival: number): number {
  return method === 'majority' ? topShare(scores, leader) - topShare(scores, rival) : scores[leader]! - scores[rival]!;
}

/**
 * P(T > t) of Student's t, by the finite series for an even number of degrees of freedom (Abramowitz and Stegun, 26.7.4): it needs no
 * function that machines round differently. Other numbers of at least 2 are taken down to the next even one, which makes tails heavier.
 */
export function upperTail(t: number, degrees: number): number {
  const even = 2 * Math.floor(degrees / 2);
  const cosine2 = even / (even + t * t);
  let term = 1;
  let series = 1;
  for (let at = 2; at <= even - 2; at += 2) {
    term *= ((at - 1) / at) * cosine2;
    series += term;
  }
  return (1 - (t / Math.sqrt(even + t * t)) * series) / 2;
}
