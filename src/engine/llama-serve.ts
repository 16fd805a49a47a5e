// Serve: the child's side of the protocol. It answers calls with the loaded model until its channel closes.
//
//   V1. Every call is answered (L1), also when the model fails: then its samples are `retryable`.
//   V2. A failed evaluation leaves sequences in an unknown state, so it is the end of this child: `fatal` is called after the answer.

import { limits } from '../limits.js';
import { steadyNow } from '../process/clock.js';
import type { DrawResult, DrawSpec, RankResult } from './engine.js';
import { generate } from './llama-lane.js';
import type { Loaded } from './llama-load.js';
import { ownPrefix, sharedPrefix, type Prefix, type SplitPrompt } from './llama-prefix.js';
import type { DrawCall, FromChild, LlamaStats, RankCall, ToChild } from './llama-protocol.js';
import { logOdds } from './llama-yesno.js';

type Fitted =
  | { readonly kind: 'fits'; readonly prompt: SplitPrompt; readonly roomTokens: number }
  | { readonly kind: 'terminal'; readonly why: 'context_exceeded'; readonly reason: string }
  /** The chat template does not take these messages, or none. */
  | { readonly kind: 'retryable'; readonly trouble: 'unclear'; readonly reason: string };

export class LlamaServer {
  readonly #loaded: Loaded;
  readonly #stop: readonly string[];
  readonly #tell: (message: FromChild) => void;
  readonly #fatal: (reason: string) => void;
  readonly #running = new Map<number, AbortController>();
  #prefixQueries = 0;
  #prefixHits = 0;

  constructor(
    loaded: Loaded,
    stop: readonly string[],
    tell: (message: FromChild) => void,
    fatal: (reason: string) => void,
  ) {
    this.#loaded = loaded;
    this.#stop = stop;
    this.#tell = tell;
    this.#fatal = fatal;
  }

  handle(message: Exclude<ToChild, { kind: 'open' }>): void {
    switch (message.kind) {
      case 'draw':
        void this.#call(message.id, (signal) => this.#draw(message.id, message.call, signal));
        return;
      case 'rank':
        void this.#call(message.id, (signal) => this.#rank(message.id, message.call, signal));
        return;
      case 'stats':
        this.#tell({ kind: 'stats', id: message.id, stats: this.#stats() });
        return;
      case 'cancel':
        this.#running.get(message.id)?.abort();
    }
  }

  /** Runs one call under its own signal. V2: what it throws is the model's failure, already answered. */
  async #call(id: number, work: (signal: AbortSignal) => Promise<void>): Promise<void> {
    const controller = new AbortController();
    this.#running.set(id, controller);
    try {
      await work(controller.signal);
    } catch (error) {
      this.#fatal(reasonOf(error));
    } finally {
      this.#running.delete(id);
    }
  }

  async #draw(id: number, call: DrawCall, signal: AbortSignal): Promise<void> {
    const arrivedAtMs = steadyNow();
    const open = new Set(call.samples.map((sample) => sample.index));
    const report = (result: DrawResult): void => {
      open.delete(result.index);
      this.#tell({ kind: 'drawn', id, result });
    };
    const fitted = this.#fit(call.messages, call.maxTokens);
    if (fitted.kind !== 'fits') {
      for (const sample of call.samples) report({ ...fitted, index: sample.index });
      return;
    }
    let prefix: Prefix | undefined;
    try {
      prefix = await this.#openPrefix(fitted.prompt, call.samples.length, signal);
      const entry = prefix;
      const one = async (sample: DrawSpec): Promise<void> => {
        report(await this.#sample(call, sample, fitted, entry, arrivedAtMs, signal));
      };
      await Promise.all(call.samples.map(one));
    } catch (error) {
      for (const index of open) report({ kind: 'retryable', index, reason: reasonOf(error) });
      throw error;
    } finally {
      prefix?.close();
    }
  }

  async #sample(
    call: DrawCall,
    { index, seed }: DrawSpec,
    { prompt, roomTokens }: Fitted & { kind: 'fits' },
    prefix: Prefix | undefined,
    arrivedAtMs: number,
    signal: AbortSignal,
  ): Promise<DrawResult> {
    const { model, lanes } = this.#loaded;
    const drawn = await lanes.run(signal, async (lane) => {
      const cachedTokens = await prefix?.enter(lane, signal);
      if (cachedTokens === undefined) return undefined;
      const grammar = await this.#loaded.grammarState(call.scoreCount);
      const { temperature, topP } = call;
      const maxTokens = Math.min(call.maxTokens, roomTokens);
      const options = { last: prompt.last, seed, temperature, topP, maxTokens, stop: this.#stop, grammar };
      const generated = await generate(model, lane, options, signal);
      return generated === undefined ? undefined : { ...generated, cachedTokens };
    });
    if (drawn === undefined) return { kind: 'cancelled', index };
    const promptTokens = this.#countPrompt(prompt, drawn.cachedTokens);
    const { text, finishReason, cachedTokens, completionTokens } = drawn;
    const usage = { promptTokens, cachedTokens, completionTokens };
    return { kind: 'text', index, text, finishReason, usage, engineMs: steadyNow() - arrivedAtMs };
  }

  async #rank(id: number, call: RankCall, signal: AbortSignal): Promise<void> {
    const report = (result: RankResult): void => this.#tell({ kind: 'ranked', id, result });
    const { yesNo, lanes } = this.#loaded;
    if (yesNo === undefined) {
      report({ kind: 'terminal', reason: 'the vocabulary has no token that tells the two answers apart' });
      return;
    }
    const fitted = this.#fit(call.messages, 1);
    if (fitted.kind === 'terminal') {
      report({ kind: 'terminal', reason: `${fitted.why}: ${fitted.reason}` });
      return;
    }
    if (fitted.kind === 'retryable') {
      report(fitted);
      return;
    }
    let prefix: Prefix | undefined;
    try {
      prefix = await this.#openPrefix(fitted.prompt, 1, signal);
      const entry = prefix;
      const metaReward = await lanes.run(signal, async (lane) => {
        const cachedTokens = await entry?.enter(lane, signal);
        if (cachedTokens === undefined) return undefined;
        this.#countPrompt(fitted.prompt, cachedTokens);
        return await logOdds(lane, fitted.prompt.last, yesNo);
      });
      report(metaReward === undefined ? { kind: 'cancelled' } : { kind: 'logit', metaReward });
    } catch (error) {
      report({ kind: 'retryable', reason: reasonOf(error) });
      throw error;
    } finally {
      prefix?.close();
    }
  }

  /** Undefined = aborted. */
  async #openPrefix(prompt: SplitPrompt, uses: number, signal: AbortSignal): Promise<Prefix | undefined> {
    const { facts, trunks, fork } = this.#loaded;
    // A prompt of one token leaves nothing to share.
    if (facts.sharing === 'none' || prompt.prefix.length === 0) return ownPrefix(prompt.prefix);
    return await sharedPrefix(trunks, fork, prompt.prefix, uses, signal);
  }

  #fit(messages: DrawCall['messages'], maxTokens: number): Fitted {
    const prompt = this.#loaded.chat.prompt(messages);
    if (prompt.kind === 'refused') return { kind: 'retryable', trouble: 'unclear', reason: prompt.reason };
    const { contextTokens } = this.#loaded.facts;
    // The library keeps the last place of a sequence free.
    const roomTokens = contextTokens - 1 - prompt.tokens.length;
    if (roomTokens < Math.min(maxTokens, limits.llamaRoomTokensMin)) {
      const reason = `the prompt has ${prompt.tokens.length} tokens, the context ${contextTokens}`;
      return { kind: 'terminal', why: 'context_exceeded', reason };
    }
    const prefix = prompt.tokens.slice(0, -1);
    return { kind: 'fits', prompt: { prefix, last: prompt.tokens.at(-1)! }, roomTokens };
  }

  #countPrompt(prompt: SplitPrompt, cachedTokens: number): number {
    const promptTokens = prompt.prefix.length + 1;
    this.#prefixQueries += promptTokens;
    this.#prefixHits += cachedTokens;
    return promptTokens;
  }

  #stats(): LlamaStats {
    const { lanes, trunks, context, facts } = this.#loaded;
    return {
      running: lanes.running,
      waiting: lanes.waiting,
      kvCacheUsageRatio: (lanes.tokensHeld + trunks.tokensHeld) / (facts.contextTokens * context.totalSequences),
      prefixQueriesTotal: this.#prefixQueries,
      prefixHitsTotal: this.#prefixHits,
    };
  }
}

function reasonOf(error: unknown): string {
  return `llama.cpp: ${error instanceof Error ? error.message : String(error)}`;
}
