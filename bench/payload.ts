// The payload that the cluster and its ceilings carry: about 2 KB of question and responses, a sample of about 600 characters.

import type { Content } from '../src/grm/query.js';
import type { Sample } from '../src/grm/sample.js';
import { makeSample } from '../src/grm/make-sample.js';
import type { ScoreRequest } from '../src/rpc/client.js';
import { encodeSample, encodeShard } from '../src/queue/codec.js';

const words = (count: number, first: string): string =>
  `${first} ${'river town bridge '.repeat(Math.ceil(count / 18))}`.slice(0, count);

let serial = 0;

/** Distinct from all others of this process, and of others: the ledger knows equal requests. */
export function requestOf(options: Omit<Partial<ScoreRequest>, 'query'>): ScoreRequest & { readonly query: string } {
  const number = `${process.pid}-${serial++}`;
  return {
    query: words(1_000, `Bench ${number}.`),
    responses: [words(500, 'One, quality=4.'), words(500, 'Two, quality=7.')],
    detail: 'rewards',
    ...options,
  };
}

/** What an engine that takes no time says. */
export const sampleText = [
  `Specific Criteria:\n1. Correctness (weight 60%)\n2. Clarity (weight 40%)`,
  `Analysis:\n${words(430, 'The second response names the bridge.')}`,
  'Scores: \\boxed{4, 7}',
].join('\n');

const content: Content = {
  messages: [{ role: 'user', content: words(1_000, 'Bench.') }],
  responses: [words(500, 'One.'), words(500, 'Two.')],
  principles: [],
};
const hash = 'a'.repeat(64);
const requestId = `r${'0'.repeat(32)}`;

function sample(): Sample {
  return makeSample(0, sampleText, {
    permutation: [0, 1],
    seed: 1,
    worker: 'w'.repeat(16),
    engine: 'instant',
    model: 'instant',
    templateHash: hash,
    usage: { promptTokens: 600, cachedTokens: 500, completionTokens: 150 },
    finishReason: 'stop',
    queueMs: 1,
    engineMs: 0,
  });
}

/** The bytes of one sample's task and of its result, as they travel. */
export const taskBytes: Uint8Array = encodeShard({
  requestId,
  shard: 0,
  samples: [{ index: 0, seed: 1, permutation: [0, 1] }],
  temperature: 0.5,
  topP: 1,
  maxTokens: 1_024,
  deadlineAtMs: 1_800_000_000_000,
  templateHash: hash,
  nonce: '01234567',
  content,
  queuedAtMs: 1_800_000_000_000,
  class: 'rl',
  run: 'w'.repeat(24),
  lane: '0123456701234567-0',
});
export const resultBytes: Uint8Array = encodeSample(sample());

/** Text of one request. */
export const payloadBytes = 2_000;
