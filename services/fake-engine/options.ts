// What the fake engine can be told: one table of options, their defaults and their units.
import type { FaultSpec } from './faults.js';

export interface FakeEngineOptions {
  /** Default 127.0.0.1. */
  readonly host?: string;
  /** Default 0: a free port. */
  readonly port?: number;
  /** Default "fake-grm". */
  readonly model?: string;
  /** No simulated time: every request is answered at once. Default false. */
  readonly instant?: boolean;
  /** Seed of judgements, of samples without a seed and of the faults' dice. Default 0. */
  readonly seed?: number;
  /** Share of pairs that one sample orders as their latent qualities do, 0.5..1 (see judge.ts). Default 0.75. */
  readonly accuracy?: number;
  /** Share of critiques that the meta reward gets right, 0.5..1 (see meta-judge.ts). Default 0.85. */
  readonly metaAccuracy?: number;
  /** Sequences that generate together (vLLM's --max-num-seqs). Default 64. */
  readonly maxNumSeqs?: number;
  /** A step's time before any sequence is counted, milliseconds. Default 10. */
  readonly stepBaseMs?: number;
  /** What each running sequence adds to a step, milliseconds. Default 0.1. */
  readonly stepPerSequenceMs?: number;
  /** Speed of prompts that are not in the prefix cache. Default 20000. */
  readonly prefillTokensPerSecond?: number;
  /** KV blocks. Default 8192. */
  readonly kvBlocks?: number;
  /** Tokens in a KV block. Default 16. */
  readonly blockTokens?: number;
  /** How many prompts GET /fake/prompts tells, the first ones. Default 0. */
  readonly recordPrompts?: number;
  /** Prompt and completion together, tokens. Default 32768; never more than the KV blocks hold. */
  readonly maxModelLen?: number;
  /** Tokens per streamed chunk (vLLM's --stream-interval). Default 8. */
  readonly streamInterval?: number;
  /** Requests may carry a priority (vLLM's --scheduling-policy priority); else a priority is an error, as it is there. Default false. */
  readonly priorityScheduling?: boolean;
  /** The switch name that /classify and /pooling know; any other name is ignored, as old servers do. "none" ignores all. Default "use_activation". */
  readonly activationName?: ActivationName;
  /** The shape of /classify. Default "vllm". */
  readonly classifyShape?: 'vllm' | 'sglang';
  /** When set, requests must carry it as a bearer token. */
  readonly apiKey?: string;
  /** See JudgeOptions. Default 0. */
  readonly extraLinesMax?: number;
  readonly faults?: readonly FaultSpec[];
}

export const activationNames = ['use_activation', 'activation', 'softmax', 'none'] as const;
export type ActivationName = (typeof activationNames)[number];

export type Settings = Required<Omit<FakeEngineOptions, 'apiKey'>> & { readonly apiKey: string | undefined };

/** Fills in defaults; throws a RangeError that names the option which is out of range. */
export function settle(options: FakeEngineOptions): Settings {
  const kvBlocks = whole('kvBlocks', options.kvBlocks ?? 8192, 1);
  const blockTokens = whole('blockTokens', options.blockTokens ?? 16, 1);
  return {
    host: options.host ?? '127.0.0.1',
    port: whole('port', options.port ?? 0, 0, 65_535),
    model: options.model ?? 'fake-grm',
    instant: options.instant ?? false,
    seed: whole('seed', options.seed ?? 0, 0),
    accuracy: within('accuracy', options.accuracy ?? 0.75, 0.5, 1),
    metaAccuracy: within('metaAccuracy', options.metaAccuracy ?? 0.85, 0.5, 1),
    maxNumSeqs: whole('maxNumSeqs', options.maxNumSeqs ?? 64, 1),
    stepBaseMs: within('stepBaseMs', options.stepBaseMs ?? 10, 0, 60_000),
    stepPerSequenceMs: within('stepPerSequenceMs', options.stepPerSequenceMs ?? 0.1, 0, 60_000),
    prefillTokensPerSecond: within('prefillTokensPerSecond', options.prefillTokensPerSecond ?? 20_000, 1, 1e12),
    kvBlocks,
    blockTokens,
    recordPrompts: whole('recordPrompts', options.recordPrompts ?? 0, 0, 1_000_000),
    maxModelLen: Math.min(whole('maxModelLen', options.maxModelLen ?? 32_768, 1), kvBlocks * blockTokens),
    streamInterval: whole('streamInterval', options.streamInterval ?? 8, 1),
    priorityScheduling: options.priorityScheduling ?? false,
    activationName: options.activationName ?? 'use_activation',
    classifyShape: options.classifyShape ?? 'vllm',
    apiKey: options.apiKey,
    extraLinesMax: whole('extraLinesMax', options.extraLinesMax ?? 0, 0, 1_000),
    faults: options.faults ?? [],
  };
}

function within(name: string, value: number, low: number, high: number): number {
  if (!(value >= low && value <= high)) throw new RangeError(`${name} must be ${low}..${high}, not ${value}`);
  return value;
}

function whole(name: string, value: number, low: number, high = Number.MAX_SAFE_INTEGER): number {
  if (!Number.isInteger(value)) throw new RangeError(`${name} must be a whole number, not ${value}`);
  return within(name, value, low, high);
}
