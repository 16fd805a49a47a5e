// The embedded engine: a GGUF model in a child process of its own, with the samples of one prompt sharing its evaluation.
// Invariants N1-N3 of engine.ts; the child's are in llama-child.ts, what it computes in llama-serve.ts.

import { limits } from '../limits.js';
import type { DrawJob, DrawResult, Engine, EngineGauges, Health } from './engine.js';
import { ggufTraits } from './gguf-digest.js';
import { openLlamaChild, type Ending, type LlamaChild, type LlamaOptions } from './llama-child.js';
import type { LlamaFacts } from './llama-protocol.js';

export interface LlamaEngine extends Engine {
  readonly facts: LlamaFacts;
  /** The child's process id. */
  readonly pid: number | undefined;
  /** Resolves with the reason when the child ends by itself. */
  readonly died: Promise<string>;
}

/** Starts the child, downloads the model when it must, loads it. Rejects with what to do when it cannot. */
export async function openLlamaEngine(options: LlamaOptions): Promise<LlamaEngine> {
  const child = await openLlamaChild(options);
  return new EmbeddedLlama(options, child, await ggufTraits(child.facts.path));
}

class EmbeddedLlama implements LlamaEngine {
  readonly name: string;
  readonly description: string;
  readonly model: string;
  readonly fake = false;
  readonly specialTokens: readonly string[];
  readonly facts: LlamaFacts;
  readonly #child: LlamaChild;
  #samplesOpen = 0;

  constructor(
    { name, specialTokens = [] }: LlamaOptions,
    child: LlamaChild,
    readonly traits: string,
  ) {
    this.name = name;
    this.specialTokens = [...specialTokens, ...child.facts.specialTokens];
    this.facts = child.facts;
    this.description = `llama ${child.facts.path}`;
    this.model = child.facts.model;
    this.#child = child;
  }

  get pid(): number | undefined {
    return this.#child.pid;
  }

  get died(): Promise<string> {
    return this.#child.died;
  }

  async draw(job: DrawJob, onResult: (result: DrawResult) => void, signal: AbortSignal): Promise<void> {
    if (this.#samplesOpen + job.samples.length > limits.llamaSamplesMax) {
      const full = {
        kind: 'retryable',
        reason: 'too many samples wait in the engine',
        retryAfterMs: 1_000,
        untaken: true,
      } as const;
      for (const { index } of job.samples) onResult({ ...full, index });
      return;
    }
    const open = new Set(job.samples.map((sample) => sample.index));
    if (open.size === 0) return;
    this.#samplesOpen += open.size;
    const report = (result: DrawResult): void => {
      // N1: a second word about a sample changes nothing.
      if (!open.delete(result.index)) return;
      this.#samplesOpen--;
      onResult(result);
    };
    const { messages, samples, temperature, topP, maxTokens, scoreCount, deadlineAtMs } = job;
    const call = { messages, samples, temperature, topP, maxTokens, scoreCount };
    const ending = await this.#child.call(
      (id) => ({ kind: 'draw', id, call }),
      { deadlineAtMs, signal },
      (message) => {
        if (message.kind === 'drawn') report(message.result);
        return open.size === 0;
      },
    );
    for (const index of [...open]) report(unfinished(index, ending));
  }

  async health(signal: AbortSignal): Promise<Health> {
    return await this.#child.health(signal);
  }

  async gauges(): Promise<EngineGauges> {
    return (await this.#child.stats()) ?? { running: this.#samplesOpen, waiting: 0 };
  }

  async close(): Promise<void> {
    await this.#child.close();
  }
}

function unfinished(index: number, ending: Ending): DrawResult {
  switch (ending.kind) {
    case 'aborted':
    case 'closed':
      return { kind: 'cancelled', index };
    case 'expired':
      return { kind: 'retryable', index, reason: 'the deadline passed in the engine' };
    case 'lost':
      return { kind: 'retryable', index, reason: ending.reason };
    case 'answered':
      return { kind: 'retryable', index, reason: 'the engine gave no result' };
  }
}
