// The embedded model as a meta reward model: the log-odds of Yes against No after the rendered text (llama-yesno.ts).

import { limits } from '../limits.js';
import { steadyNow } from '../process/clock.js';
import {
  UnfitModel,
  type EngineGauges,
  type Health,
  type MetaEngine,
  type RankJob,
  type RankResult,
} from './engine.js';
import { ggufTraits } from './gguf-digest.js';
import { openLlamaChild, type LlamaChild, type LlamaOptions } from './llama-child.js';
import type { LlamaFacts } from './llama-protocol.js';
import { testPlainHead, type Ask } from './meta-self-test.js';

export interface LlamaMeta extends MetaEngine {
  readonly facts: LlamaFacts;
  /** The child's process id. */
  readonly pid: number | undefined;
  /** Resolves with the reason when the child ends by itself. */
  readonly died: Promise<string>;
}

/** Starts a child with the model that ranks. Rejects with what to do when it cannot, also when the vocabulary cannot tell the two answers apart. */
export async function openLlamaMeta(options: LlamaOptions): Promise<LlamaMeta> {
  const child = await openLlamaChild(options);
  if (child.facts.ranks) return new EmbeddedMeta(options, child, await ggufTraits(child.facts.path));
  await child.close();
  const words = `${options.yesWord ?? 'Yes'} and ${options.noWord ?? 'No'}`;
  const reason = `its vocabulary has no token that tells ${words} apart`;
  throw new UnfitModel(
    `${child.facts.model} cannot rank: ${reason}; take another model, or its own yes_word and no_word`,
  );
}

class EmbeddedMeta implements LlamaMeta {
  readonly name: string;
  readonly description: string;
  readonly model: string;
  readonly fake = false;
  readonly specialTokens: readonly string[];
  readonly facts: LlamaFacts;
  readonly #child: LlamaChild;
  #ranksOpen = 0;

  constructor(
    { name, yesWord = 'Yes', specialTokens = [] }: LlamaOptions,
    child: LlamaChild,
    readonly traits: string,
  ) {
    this.name = name;
    this.specialTokens = [...specialTokens, ...child.facts.specialTokens];
    this.facts = child.facts;
    this.description = `llama ${child.facts.path} (log-odds of ${yesWord})`;
    this.model = child.facts.model;
    this.#child = child;
  }

  get pid(): number | undefined {
    return this.#child.pid;
  }

  get died(): Promise<string> {
    return this.#child.died;
  }

  async rank(job: RankJob, signal: AbortSignal): Promise<RankResult> {
    if (this.#ranksOpen >= limits.llamaSamplesMax) {
      return { kind: 'retryable', reason: 'too many texts wait in the engine', retryAfterMs: 1_000, untaken: true };
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
    const deadlineAtMs = steadyNow() + limits.engineSelfTestMs;
    const ask: Ask = async (input) => {
      const result = await this.rank({ ...input, deadlineAtMs, requestId: 'self-test' }, signal);
      // Raw by construction: no reply stands between the logits and this.
      if (result.kind === 'logit') return { kind: 'logit', logit: result.metaReward, withinUnit: false };
      return { kind: 'failed', reason: result.kind === 'cancelled' ? 'cancelled' : result.reason };
    };
    return (await testPlainHead(ask)).health;
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
