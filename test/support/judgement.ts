// Judgement: builders for the domain's values, with every field filled, so that a test states only what it is about.

import type { Judge } from '../../src/grm/judge.js';
import type { Content, Plan } from '../../src/grm/query.js';
import type { InvalidSample, Provenance, SampleInvalidReason, ScoredSample } from '../../src/grm/sample.js';
import type { VoteInput } from '../../src/grm/vote.js';
import type { PlanDefaults } from '../../src/work/plan.js';

export function provenance(more: Partial<Provenance> = {}): Provenance {
  return {
    permutation: [0, 1],
    seed: 7,
    worker: 'worker-a',
    engine: 'engine-0',
    model: 'judge-1',
    templateHash: 'ab'.repeat(32),
    usage: { promptTokens: 100, cachedTokens: 80, completionTokens: 50 },
    finishReason: 'stop',
    queueMs: 1,
    engineMs: 20,
    ...more,
  };
}

/** A valid sample whose scores stand in the request's order; shown in the same order. */
export function scored(index: number, scores: readonly number[], more: Partial<ScoredSample> = {}): ScoredSample {
  const permutation = scores.map((_, place) => place);
  const said = { text: '', principles: 'honesty', critique: 'so so' };
  return { kind: 'scored', index, ...said, ...provenance({ permutation }), shownScores: scores, scores, ...more };
}

export function failed(index: number, reason: SampleInvalidReason = 'no_box'): InvalidSample {
  return { kind: 'invalid', index, text: '', principles: '', critique: '', ...provenance(), reason, detail: reason };
}

export function plan(more: Partial<Plan> = {}): Plan {
  return {
    k: 4,
    vote: 'sum',
    temperature: 0.5,
    topP: 1,
    maxTokens: 1024,
    quorum: 2,
    timeBudgetMs: 60_000,
    templateHash: 'ab'.repeat(32),
    meta: false,
    seed: 1,
    ...more,
  };
}

/** What judges, unless a test says otherwise. */
export const aJudge: Judge = {
  id: 'a1b2c3d4e5f60718',
  models: [{ id: '00aa11bb22cc33dd', model: 'judge-27b' }],
  template: 'default',
  templateHash: 'ab'.repeat(32),
};

/** The server's defaults. */
export const planDefaults: PlanDefaults = {
  k: 8,
  temperature: 0.5,
  topP: 1,
  maxTokens: 256,
  vote: 'auto',
  quorumRatio: 0.5,
  timeBudgetMs: 60_000,
};

export function voteInput(more: Partial<VoteInput> = {}): VoteInput {
  return {
    requestId: 'request-1',
    plan: plan(),
    n: 2,
    samples: [],
    metaRewards: new Map(),
    metaModel: '',
    expired: false,
    durationMs: 1_234,
    finishedAtMs: 1_700_000_000_000,
    nonce: 'a1b2c3d4',
    ...more,
  };
}

export function content(responses: readonly string[], more: Partial<Content> = {}): Content {
  return { messages: [{ role: 'user', content: 'Why is the sky blue?' }], responses, principles: [], ...more };
}
