// Values of the work vocabulary for tests: complete, plausible, and different for different indexes.

import type { Judge } from '../../src/grm/judge.js';
import type { Content, Plan } from '../../src/grm/query.js';
import type { InvalidSample, ScoredSample } from '../../src/grm/sample.js';
import type { ValidVerdict } from '../../src/grm/verdict.js';
import type { DeadLetter, MetaResult, MetaTask, RequestRecord, Shard } from '../../src/work/shard.js';

/** What judges in these values. */
export const someJudge: Judge = {
  id: 'a1b2c3d4e5f60718',
  models: [{ id: '00aa11bb22cc33dd', model: 'judge-27b' }],
  template: 'default',
  templateHash: 'a'.repeat(64),
  meta: [{ id: 'ee44ff5500667788', model: 'meta-7b' }],
};

let made = 0;

/** A request id that no other test uses. */
export function freshId(word = 'r'): string {
  made += 1;
  return `${word}${process.pid.toString(36)}-${made}`;
}

export const someContent: Content = {
  messages: [
    { role: 'system', content: 'Answer in one line.' },
    { role: 'user', content: 'Which is larger, 9.8 or 9.11? Zażółć gęślą jaźń 🧮' },
  ],
  responses: ['9.8', '9.11'],
  reference: '9.8',
  principles: [{ text: 'Arithmetic is right', weightPercent: 80 }, { text: 'Brief' }],
};

export const somePlan: Plan = {
  k: 8,
  kMeta: 4,
  vote: 'meta_topk',
  temperature: 0.7,
  topP: 0.95,
  maxTokens: 512,
  quorum: 4,
  timeBudgetMs: 60_000,
  templateHash: 'a'.repeat(64),
  meta: true,
  seed: 4_294_967_295,
};

export function aRecord(requestId: string, more: Partial<RequestRecord> = {}): RequestRecord {
  return {
    requestId,
    digest: 'd'.repeat(64),
    tenant: 'acme',
    class: 'rl',
    content: someContent,
    plan: somePlan,
    nonce: 'n0nce',
    owner: 'coordinator-1',
    acceptedAtMs: 1_700_000_000_123,
    judge: someJudge,
    ...more,
  };
}

export function aShard(requestId: string, shard: number, more: Partial<Shard> = {}): Shard {
  return {
    requestId,
    shard,
    samples: [
      { index: shard * 2, seed: 7 + shard, permutation: [1, 0] },
      { index: shard * 2 + 1, seed: 4_000_000_000 + shard, permutation: [1, 0] },
    ],
    temperature: 0.7,
    topP: 0.95,
    maxTokens: 512,
    deadlineAtMs: 1_800_000_000_456,
    templateHash: 'a'.repeat(64),
    nonce: 'n0nce',
    content: someContent,
    queuedAtMs: 1_700_000_000_500,
    class: 'rl',
    run: 'coordinator-1-lx2k3-7',
    lane: `n0nceaaaaaaaa-${shard}`,
    ...more,
  };
}

export const someProvenance = {
  permutation: [1, 0],
  worker: 'worker-1',
  engine: 'gpu-0',
  model: 'judge-27b',
  judge: '00aa11bb22cc33dd',
  templateHash: 'a'.repeat(64),
  usage: { promptTokens: 900, cachedTokens: 640, completionTokens: 250 },
  finishReason: 'stop',
  queueMs: 12,
  engineMs: 3_400,
};

export function aSample(index: number, more: Partial<ScoredSample> = {}): ScoredSample {
  return {
    kind: 'scored',
    index,
    text: `Principles and critique ${index} \\boxed{7, 4}`,
    principles: '1. Arithmetic',
    critique: `critique ${index}`,
    shownScores: [7, 4],
    scores: [4, 7],
    seed: 100 + index,
    ...someProvenance,
    ...more,
  };
}

export function anInvalidSample(index: number): InvalidSample {
  return {
    kind: 'invalid',
    index,
    text: 'I would rather not say.',
    principles: '',
    critique: '',
    seed: 100 + index,
    ...someProvenance,
    reason: 'no_box',
    detail: 'no box in 23 characters',
  };
}

/** A lane of a request made here. */
export const lane = 'n0nceaaaaaaaa-0';

export function aMetaTask(requestId: string, index: number, more: Partial<MetaTask> = {}): MetaTask {
  return {
    requestId,
    lane,
    items: [{ index, sample: aSample(index) }],
    content: someContent,
    deadlineAtMs: 1_800_000_000_456,
    nonce: 'n0nce',
    queuedAtMs: 1_700_000_000_500,
    class: 'rl',
    run: 'coordinator-1-lx2k3-7',
    ...more,
  };
}

export function aMetaResult(requestId: string, index: number, metaReward = 0.25): MetaResult {
  return {
    kind: 'ranked',
    requestId,
    index,
    metaReward,
    model: 'meta-7b',
    judge: 'ee44ff5500667788',
    worker: 'meta-1',
  };
}

export function aVerdict(requestId: string, more: Partial<ValidVerdict> = {}): ValidVerdict {
  return {
    kind: 'valid',
    requestId,
    responses: 2,
    rewards: [
      { value: 4, vote: 8, rank: 2 },
      { value: 7, vote: 14, rank: 1 },
    ],
    ranking: [1, 0],
    best: 1,
    tie: false,
    margin: 3,
    agreement: 1,
    k: 8,
    kValid: 2,
    kKept: 2,
    vote: 'sum',
    degraded: ['meta_unavailable', 'time_budget'],
    samples: [
      { sample: aSample(0), metaReward: -1.5, kept: 'kept' },
      { sample: aSample(1), kept: 'no_meta_reward' },
    ],
    usage: { promptTokens: 1_800, cachedTokens: 1_280, completionTokens: 500 },
    durationMs: 5_100,
    templateHash: 'a'.repeat(64),
    models: ['judge-27b'],
    metaModel: '',
    finishedAtMs: 1_700_000_005_000,
    nonce: 'a1b2c3d4',
    judge: someJudge,
    ...more,
  };
}

export function aDeadLetter(requestId: string, unit: number, more: Partial<DeadLetter> = {}): DeadLetter {
  return {
    requestId,
    unit,
    stage: 'sample',
    samples: [unit * 2, unit * 2 + 1],
    reason: 'the engine process died',
    deliveries: 5,
    worker: 'worker-1',
    diedAtMs: 1_700_000_009_000,
    ...more,
  };
}
