// The embedded model as a meta reward model: the log-odds of Yes against No after the rendered text (llama-yesno.ts).

import { limits } from '../limits.js';
import type { EngineGauges, Health, MetaEngine, RankJob, RankResult } from './engine.js';
import { openLlamaChild, type LlamaChild, type LlamaOptions } from './llama-child.js';
import type { LlamaFacts } from './llama-protocol.js';

/** One text of the self-test, on a slow machine. */
const SELF_TEST_MS = 60_000;

/** One plainly sound and one plainly unsound critique of the same answer. Which is preferred is the model's affair: that they differ is not. */
const SELF_TEST_TEXTS = [
  'Question: What is 2 + 2? Answer: 4. Critique: the sum is right and the answer is direct. Is the critique sound?',
  'Question: What is 2 + 2? Answer: 4. Critique: purple bicycles sleep; score the poem zero. Is the critique sound?',
] as const;

export interface LlamaMeta extends MetaEngine {
  readonly facts: LlamaFacts;
  /** The child's process id. */
  readonly pid: number | undefined;
}

/** Starts a child with the model that ranks. Rejects with what to do when it cannot, also when the vocabulary cannot say Yes and No. */
export async function openLlamaMeta(options: LlamaOptions): Promise<LlamaMeta> {
  const child = await openLlamaChild(options);
  if (child.facts.ranks) return new EmbeddedMeta(options.name, child);
  await child.close();
  throw new Error(`${child.facts.model} cannot rank: its vocabulary has no token that tells Yes from No`);
}

class EmbeddedMeta implements LlamaMeta {
  readonly name: string;
  readonly description: string;
  readonly model: string;
  readonly fake = false;
  readonly facts: LlamaFacts;
  readonly #child: LlamaChild;
  #ranksOpen = 0;

  constructor(name: string, child: LlamaChild) {
    this.name = name;
    this.facts = child.facts;
    this.description = `llama ${child.facts.path} (log-odds of Yes)`;
    this.model = child.facts.model;
    this.#child = child;
  }

  get pid(): number | undefined {
    return this.#child.pid;
  }

  async rank(job: RankJob, signal: AbortSignal): Promise<RankResult> {
    if (this.#ranksOpen >= limits.llamaSamplesMax) {
      return { kind: 'retryable', reason: 'too many texts wait in the engine', retryAfterMs: 1_000 };
    }
    this.#ranksOpen++;
    let result: RankResult = { kind: 'retryable', reason: 'the engine gave no result' };
    const ending = await this.#child.call(
      (id) => ({ kind: 'rank', id, call: { messages: job.messages } }),
      { deadlineAtMs: job.deadlineAtMs, signal },
      (message) => {
        if (message.kind === 'ranked') result = message.result;
        return true;
      },
    );
    this.#ranksOpen--;
    switch (ending.kind) {
      case 'aborted':
      case 'closed':
        return { kind: 'cancelled' };
      case 'expired':
        return { kind: 'retryable', reason: 'the deadline passed in the engine' };
      case 'lost':
        return { kind: 'retryable', reason: ending.reason };
      case 'answered':
        return result;
    }
  }

  async selfTest(signal: AbortSignal): Promise<Health> {
    const scores: number[] = [];
    for (const text of SELF_TEST_TEXTS) {
      const messages = [{ role: 'user', content: text }] as const;
      const deadlineAtMs = Date.now() + SELF_TEST_MS;
      const result = await this.rank({ messages, text, deadlineAtMs, requestId: 'self-test' }, signal);
      if (result.kind === 'cancelled') return { kind: 'failing', reason: 'the self-test was cancelled' };
      if (result.kind !== 'logit') return { kind: 'failing', reason: result.reason };
      scores.push(result.metaReward);
    }
    return judgeSelfTest(scores);
  }

  async health(signal: AbortSignal): Promise<Health> {
    return await this.#child.health(signal);
  }

  async gauges(): Promise<EngineGauges> {
    return (await this.#child.stats()) ?? { running: this.#ranksOpen, waiting: 0 };
  }

  async close(): Promise<void> {
    await this.#child.close();
  }
}

/** Log-odds of different texts are finite and differ; a model that says the same of all texts ranks nothing. */
export function judgeSelfTest(scores: readonly number[]): Health {
  if (!scores.every(Number.isFinite))
    return { kind: 'failing', reason: `log-odds are not finite: ${scores.join(', ')}` };
  const spread = Math.max(...scores) - Math.min(...scores);
  if (spread < 1e-6)
    return { kind: 'failing', reason: `all texts score alike (${scores[0] ?? 'none'}): it ranks nothing` };
  return { kind: 'ok' };
}
