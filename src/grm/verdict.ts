// Verdict: the whole answer to a request, as the domain speaks of it. `vote.ts` makes one.

import type { Judge } from './judge.js';
import type { Content, Stop, StoppedBy, VoteMethod } from './query.js';
import type { Sample, Usage } from './sample.js';

/** Why a sample does or does not count in the vote. */
export type Kept = 'kept' | 'meta_rank' | 'invalid' | 'no_meta_reward';

/** A sample with what the vote made of it. `metaReward` is the meta RM's logit, absent when it gave none. */
export interface JudgedSample {
  readonly sample: Sample;
  readonly metaReward?: number;
  readonly kept: Kept;
}

/** `value`: mean score over the kept samples, 1..10, comparable across requests; `vote`: the method's own number; rank 1 = best, ties share it. */
export interface Reward {
  readonly value: number;
  readonly vote: number;
  readonly rank: number;
}

export const degradedReasons = [
  'meta_unavailable',
  'meta_partial',
  'time_budget',
  'samples_invalid',
  'judge_changed',
  /** Results are missing, and their storage was full meanwhile. */
  'storage_full',
] as const;
export type Degraded = (typeof degradedReasons)[number];

export type VerdictInvalidReason = 'quorum_not_met' | 'no_valid_sample';

/** What adaptive k did. kDrawn + samplesSaved = k where `stopped` says why; else samplesSaved = 0. */
export interface Stopping {
  readonly stop: Stop;
  /** Samples that the rule saw when it ended drawing; else those asked of engines. */
  readonly kDrawn: number;
  /** Absent: drawing went on to k, or until the time budget ended. */
  readonly stopped?: StoppedBy;
  /** Samples that the verdict does without. Engines may have begun with some of them, asked for ahead of the rule. */
  readonly samplesSaved: number;
}

/** Samples that were not there when time ran out, by how far they had come. */
export interface Missing {
  /** They had not been asked for: adaptive k waited for a look of its rule, or the request had only begun. */
  readonly notAsked: number;
  /** They waited at the coordinator: other requests had the room in the queue. */
  readonly waiting: number;
  /** They were in the queue or at an engine. */
  readonly unfinished: number;
  /** Why no engine drew them, where none served when time ran out. */
  readonly why?: string;
}

interface VerdictBase {
  readonly requestId: string;
  readonly responses: number;
  /** Samples asked for, valid, and counted in the vote. */
  readonly k: number;
  readonly kValid: number;
  readonly kKept: number;
  /** The vote that was used (not always the one asked for: see `degraded`). */
  readonly vote: VoteMethod;
  readonly degraded: readonly Degraded[];
  /** Every sample that arrived, by index. */
  readonly samples: readonly JudgedSample[];
  readonly usage: Usage;
  readonly durationMs: number;
  readonly templateHash: string;
  readonly models: readonly string[];
  readonly metaModel: string;
  readonly finishedAtMs: number;
  /** What marked the responses in the prompts. */
  readonly nonce: string;
  /** Present where the request had a rule to stop by. */
  readonly stopping?: Stopping;
  /** What judged; absent in verdicts of versions that did not tell. */
  readonly judge?: Judge;
  /** It was there before the call: nothing was drawn for it. No part of what is stored. */
  readonly stored?: true;
  /** Present where time ran out with samples missing; their number is k less those in `samples`. */
  readonly missing?: Missing;
}

export interface ValidVerdict extends VerdictBase {
  readonly kind: 'valid';
  /** One per response, in the request's order. */
  readonly rewards: readonly Reward[];
  /** Response indexes, best first. */
  readonly ranking: readonly number[];
  readonly best: number;
  readonly tie: boolean;
  /** Best less second best, as mean score per kept sample; absent for one response. */
  readonly margin?: number;
  /** Share of kept samples that put `best` first, 0..1 (a tied sample counts by its share); absent for one response. */
  readonly agreement?: number;
}

export interface InvalidVerdict extends VerdictBase {
  readonly kind: 'invalid';
  readonly reason: VerdictInvalidReason;
}

export type Verdict = ValidVerdict | InvalidVerdict;

/** A stored verdict with what was judged, while that is kept. */
export interface StoredVerdict {
  readonly verdict: Verdict;
  readonly content?: Content;
  /** Whose request it was, while that is known. */
  readonly tenant?: string;
}
