// What the embedded engine's parent and child say to each other over node:child_process IPC (advanced serialization).
//
//   L1. A call (draw, rank, stats) carries an id that is never used again. The child answers a draw with one `drawn` per sample and
//       every other call with one message. After `cancel` it may still answer; the parent no longer listens.
//   L2. The first message down is `open`; the child answers with any number of `progress`, then with `ready` or `failed`.
//   L3. When the channel closes the child exits: it never outlives its parent.

import type { DrawResult, DrawSpec, PromptMessage, RankResult } from './engine.js';

/** `false` = CPU. `auto` takes the best backend whose package is installed. */
export type LlamaGpu = false | 'auto' | 'cuda' | 'vulkan' | 'metal';

/** How samples of one prompt share its evaluation: a copy of the sequence in memory, a state file, or not at all (each evaluates it). */
export type LlamaSharing = 'copy' | 'file' | 'none';

/** What holds the output to a form: nothing, the project's own answer format, or a GBNF text with a `root` rule. */
export type LlamaGrammarOption = 'none' | 'score_box' | { readonly gbnf: string };

/** Everything resolved: the child has no defaults of its own. */
export interface LlamaChildOptions {
  /** Folder that holds node_modules/node-llama-cpp. */
  readonly runtimeDir: string;
  /** Absolute path, or a `hf:` address. */
  readonly model: string;
  readonly modelsDir: string;
  /** Samples generated in parallel. */
  readonly slots: number;
  /** Evaluated prompts kept for the samples to come. */
  readonly warmPrompts: number;
  /** Per sequence; absent = what the model was trained on, at most 4096. */
  readonly contextTokens: number | undefined;
  readonly threads: number;
  readonly gpu: LlamaGpu;
  readonly grammar: LlamaGrammarOption;
  readonly stop: readonly string[];
  readonly sharing: LlamaSharing;
  /** The two answers whose log-odds are the meta reward. */
  readonly yesWord: string;
  readonly noWord: string;
}

export interface LlamaFacts {
  /** The file without folder and ending. */
  readonly model: string;
  readonly path: string;
  readonly contextTokens: number;
  readonly trainContextTokens: number;
  /** The backend in use; false = CPU. */
  readonly gpu: string | false;
  /** False: the file has no chat template, turns are simply put one after the other. */
  readonly chatTemplate: boolean;
  /** What is in use: `copy` falls back to `file` where the library has no copy. */
  readonly sharing: LlamaSharing;
  /** Texts of the vocabulary's control tokens, and of others that it always takes for one token and that are no ordinary text. */
  readonly specialTokens: readonly string[];
  /** Whether one token tells yesWord from noWord: else it cannot rank. */
  readonly ranks: boolean;
}

export interface LlamaStats {
  readonly running: number;
  readonly waiting: number;
  readonly kvCacheUsageRatio: number;
  readonly prefixQueriesTotal: number;
  readonly prefixHitsTotal: number;
}

export interface DrawCall {
  readonly messages: readonly PromptMessage[];
  readonly samples: readonly DrawSpec[];
  readonly temperature: number;
  readonly topP: number;
  readonly maxTokens: number;
  readonly scoreCount: number | undefined;
}

export interface RankCall {
  readonly messages: readonly PromptMessage[];
}

export type ToChild =
  | { readonly kind: 'open'; readonly options: LlamaChildOptions }
  | { readonly kind: 'draw'; readonly id: number; readonly call: DrawCall }
  | { readonly kind: 'rank'; readonly id: number; readonly call: RankCall }
  | { readonly kind: 'stats'; readonly id: number }
  | { readonly kind: 'cancel'; readonly id: number };

export type LlamaLogLevel = 'debug' | 'info' | 'warn' | 'error';

export type FromChild =
  | { readonly kind: 'progress'; readonly stage: 'download' | 'load'; readonly doneRatio: number }
  | { readonly kind: 'log'; readonly level: LlamaLogLevel; readonly message: string }
  | { readonly kind: 'ready'; readonly facts: LlamaFacts }
  /** `unfit`: no other try would help. */
  | { readonly kind: 'failed'; readonly reason: string; readonly unfit?: boolean }
  | { readonly kind: 'drawn'; readonly id: number; readonly result: DrawResult }
  | { readonly kind: 'ranked'; readonly id: number; readonly result: RankResult }
  | { readonly kind: 'stats'; readonly id: number; readonly stats: LlamaStats };
