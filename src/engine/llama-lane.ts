// Lanes: the sequences in which samples are generated, one sample in one lane at a time. Those that find no lane wait in order.

import type { LlamaContextSequence, LlamaGrammarEvaluationState, LlamaModel, Token } from 'node-llama-cpp';

export class Lanes {
  readonly #idle: LlamaContextSequence[];
  readonly #all: readonly LlamaContextSequence[];
  #queue: ((lane: LlamaContextSequence | undefined) => void)[] = [];

  constructor(sequences: readonly LlamaContextSequence[]) {
    this.#all = sequences;
    this.#idle = [...sequences];
  }

  get running(): number {
    return this.#all.length - this.#idle.length;
  }

  get waiting(): number {
    return this.#queue.length;
  }

  get tokensHeld(): number {
    return this.#all.reduce((sum, lane) => sum + lane.nextTokenIndex, 0);
  }

  /** Runs `work` in a lane of its own. Undefined = aborted before a lane was free. */
  async run<T>(signal: AbortSignal, work: (lane: LlamaContextSequence) => Promise<T>): Promise<T | undefined> {
    const lane = await this.#take(signal);
    if (lane === undefined) return undefined;
    try {
      return await work(lane);
    } finally {
      const next = this.#queue.shift();
      if (next === undefined) this.#idle.push(lane);
      else next(lane);
    }
  }

  async #take(signal: AbortSignal): Promise<LlamaContextSequence | undefined> {
    if (signal.aborted) return undefined;
    // The lane used last is the likeliest to hold the same prompt still.
    const idle = this.#idle.pop();
    if (idle !== undefined) return idle;
    return await new Promise((resolve) => {
      const leave = (): void => {
        this.#queue = this.#queue.filter((waiter) => waiter !== enter);
        resolve(undefined);
      };
      const enter = (lane: LlamaContextSequence | undefined): void => {
        signal.removeEventListener('abort', leave);
        resolve(lane);
      };
      signal.addEventListener('abort', leave, { once: true });
      this.#queue.push(enter);
    });
  }
}

/**
 * No top-k at all. The library's types take a number, and 0 means "all" to it, for which it sorts the whole vocabulary at each token
 * (3 of 18 ms with 49,000 words); null leaves the step out.
 */
const NO_TOP_K = null as unknown as number;

/** llama.cpp's word for "any seed". */
const RANDOM_SEED = 0xffff_ffff;

export interface GenerateOptions {
  /** The prompt's last token: the one that the lane has not evaluated yet. */
  readonly last: Token;
  readonly seed: number;
  readonly temperature: number;
  readonly topP: number;
  readonly maxTokens: number;
  readonly stop: readonly string[];
  readonly grammar: LlamaGrammarEvaluationState | undefined;
}

export interface Generated {
  readonly text: string;
  readonly finishReason: 'stop' | 'length';
  /** The token that ends the answer counts, as it does at vLLM. */
  readonly completionTokens: number;
}

/** Generates one answer. Undefined = aborted. The same lane state, options and seed give the same tokens, whatever runs beside it. */
export async function generate(
  model: LlamaModel,
  lane: LlamaContextSequence,
  options: GenerateOptions,
  signal: AbortSignal,
): Promise<Generated | undefined> {
  const { grammar } = options;
  const generated: Token[] = [];
  const text = (from: number): string =>
    model.detokenize(generated.slice(from), false, [options.last, ...generated.slice(0, from)].slice(-4));
  // A stop sequence ends in the newest token and a token is at least a byte of it: no more of the tail needs to be looked at.
  const stopTokensMax = Math.max(0, ...options.stop.map((stop) => Buffer.byteLength(stop))) + 4;

  const tokens = lane.evaluate([options.last], {
    temperature: options.temperature,
    topP: options.topP,
    topK: NO_TOP_K,
    minP: 0,
    seed: options.seed === RANDOM_SEED ? 0 : options.seed,
    ...(grammar === undefined ? {} : { grammarEvaluationState: grammar }),
  });
  for await (const token of tokens) {
    if (signal.aborted) return undefined;
    generated.push(token);
    if (options.stop.length > 0) {
      const tail = text(Math.max(0, generated.length - stopTokensMax));
      if (options.stop.some((stop) => tail.includes(stop))) {
        return { text: cutAtStop(text(0), options.stop), finishReason: 'stop', completionTokens: generated.length };
      }
    }
    if (generated.length >= options.maxTokens) {
      return { text: text(0), finishReason: 'length', completionTokens: generated.length };
    }
  }
  if (signal.aborted) return undefined;
  return { text: text(0), finishReason: 'stop', completionTokens: generated.length + 1 };
}

/** The text before the first stop sequence, as OpenAI-compatible servers cut it. */
function cutAtStop(text: string, stop: readonly string[]): string {
  const starts = stop.map((sequence) => text.indexOf(sequence)).filter((at) => at >= 0);
  return text.slice(0, Math.min(text.length, ...starts));
}
