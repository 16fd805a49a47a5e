// Engine: the one interface to a model that draws samples, whatever serves it.
//
//   N1. `draw` calls `onResult` exactly once for every sample asked for, then resolves. It never rejects for what an engine does.
//   N2. When `signal` aborts, what has not finished is reported as `cancelled`, and the engine stops generating it.
//   N3. Every wait inside has a deadline: `deadlineAtMs` bounds the whole draw.

import type { outageCauses } from '../observe/engine-metrics.js';

/** One chat turn as engines take it. */
export interface PromptMessage {
  readonly role: 'system' | 'user' | 'assistant';
  readonly content: string;
}

/** One sample to draw: `index` names it in the answer, `seed` (uint32) makes it reproducible. */
export interface DrawSpec {
  readonly index: number;
  readonly seed: number;
}

/** A set of samples that share one prompt, so that the engine can share the prompt's work between them. */
export interface DrawJob {
  readonly messages: readonly PromptMessage[];
  readonly samples: readonly DrawSpec[];
  /** 0 = greedy. */
  readonly temperature: number;
  readonly topP: number;
  readonly maxTokens: number;
  /** Told by the steady clock of this process (steadyNow): not the cluster's time. */
  readonly deadlineAtMs: number;
  /** 0 = most urgent; sent to engines that have priority scheduling switched on in the configuration. */
  readonly priority: number;
  /** For the engine's log and trace alone. */
  readonly requestId: string;
  /** How many scores the box must hold, for an engine whose output is held to the format by a grammar. */
  readonly scoreCount?: number;
}

export interface TokenUsage {
  readonly promptTokens: number;
  readonly cachedTokens: number;
  readonly completionTokens: number;
}

/** The engine never took the work: it is away or full. That says nothing about the work, so such a try does not count against it. */
export type Untaken = true;

/**
 * What a failure says of the engine that gave it; engine/attribution.ts decides from it whose fault it was.
 *
 *   away      no connection came about, or this process could not make one: no prompt does that
 *   busy      the engine, or a limit before it, turned the work away for now (429, 503)
 *   refused   the engine answers, and not to us or not there: 401, 403, 404, a redirect, a sign-in page
 *   failing   the engine, or a gateway before it, gave up: 5xx, an empty reply
 *   broke     the connection broke while the engine had the work, or was broken off at the time-out: what it worked on may have killed it
 *   unclear   the engine rejects the request (400, 422): the prompt, or what we send with every prompt
 */
export type EngineTrouble = (typeof outageCauses)[number];

/** Why an engine that is up gets no work. */
export interface OutOfService {
  readonly cause: EngineTrouble;
  readonly reason: string;
  /** By the steady clock (process/clock.ts). */
  readonly sinceMs: number;
}

/** What became of one sample. */
export type DrawResult =
  | {
      readonly kind: 'text';
      readonly index: number;
      readonly text: string;
      /** "stop", "length" or the engine's own word. */
      readonly finishReason: string;
      readonly usage: TokenUsage;
      /** Time in the engine, milliseconds. */
      readonly engineMs: number;
    }
  /** Another try, here or elsewhere, may succeed: overload, lost connection, 5xx, cut stream. */
  | {
      readonly kind: 'retryable';
      readonly index: number;
      readonly reason: string;
      readonly retryAfterMs?: number;
      readonly untaken?: Untaken;
      /** Absent: the failure says nothing of the engine (a deadline passed). */
      readonly trouble?: EngineTrouble;
    }
  /** No try can succeed, because of what was asked. `context_exceeded`: the prompt does not fit; `rejected`: the engine takes others, and not this one. */
  | {
      readonly kind: 'terminal';
      readonly index: number;
      readonly why: 'context_exceeded' | 'rejected';
      readonly reason: string;
    }
  | { readonly kind: 'cancelled'; readonly index: number };

/** What an engine says of itself: for choosing the one with the most free room, for status and for metrics. */
export interface EngineGauges {
  /** Samples running in the engine, ours and others', when it tells; else ours. */
  readonly running: number;
  /** Samples waiting in the engine. */
  readonly waiting: number;
  /** Share of the KV cache in use, 0..1, when it tells. */
  readonly kvCacheUsageRatio?: number;
  /** Prompt tokens asked of, and found in, the prefix cache, when it tells (counters). */
  readonly prefixQueriesTotal?: number;
  readonly prefixHitsTotal?: number;
}

export type Health = { readonly kind: 'ok' } | { readonly kind: 'failing'; readonly reason: string };

/** Why an engine does not open when no other try would help: the model is not what is needed. */
export class UnfitModel extends Error {}

export interface Engine {
  /** Unique on its node. */
  readonly name: string;
  /** What serves it: "openai http://…", "llama /path/model.gguf". Never holds a secret. */
  readonly description: string;
  /** The model that answers, as the engine names it. */
  readonly model: string;
  /** True for the fake engine: its judgements mean nothing. */
  readonly fake: boolean;
  /** Control tokens of its own vocabulary, as far as it tells them or its configuration names them: prompts must not let a text spell one (promise P8). */
  readonly specialTokens?: readonly string[];
  /** Names the model and every setting that changes what it says (judge-id.ts); absent where nobody has named them. */
  readonly judgeId?: string;
  /** What tells this model from another one of the same name, as far as its server or its file says. */
  readonly traits?: string;
  draw(job: DrawJob, onResult: (result: DrawResult) => void, signal: AbortSignal): Promise<void>;
  /** Draws the job's first sample beside the slots, so that a full engine still tells whether it works. Absent: a draw does. */
  probe?(job: DrawJob, signal: AbortSignal): Promise<DrawResult>;
  /** Undefined while it takes work; absent: it always does. */
  outOfService?(): OutOfService | undefined;
  health(signal: AbortSignal): Promise<Health>;
  gauges(): Promise<EngineGauges>;
  /** Stops what it runs (as cancelled) and frees what it holds. */
  close(): Promise<void>;
}

/** One text to rank: the conversation judged, the responses, and one sample's principles and critique, rendered by the meta template. */
export interface RankJob {
  readonly messages: readonly PromptMessage[];
  /** The same content as plain text, for scalar heads that take no chat. */
  readonly text: string;
  /** Told by the steady clock of this process (steadyNow): not the cluster's time. */
  readonly deadlineAtMs: number;
  readonly requestId: string;
}

export type RankResult =
  | { readonly kind: 'logit'; readonly metaReward: number }
  | {
      readonly kind: 'retryable';
      readonly reason: string;
      readonly retryAfterMs?: number;
      readonly untaken?: Untaken;
      /** As of a sample. */
      readonly trouble?: EngineTrouble;
    }
  | { readonly kind: 'terminal'; readonly reason: string }
  | { readonly kind: 'cancelled' };

/** The meta RM's side: one unbounded logit per text. `rank` never rejects for what an engine does. */
export interface MetaEngine {
  readonly name: string;
  readonly description: string;
  readonly model: string;
  readonly fake: boolean;
  /** As of Engine. */
  readonly specialTokens?: readonly string[];
  readonly judgeId?: string;
  readonly traits?: string;
  rank(job: RankJob, signal: AbortSignal): Promise<RankResult>;
  /** Ranks a known text beside the slots. Absent: a rank of it does. */
  probe?(job: RankJob, signal: AbortSignal): Promise<RankResult>;
  /** Scores a known pair: fails when an activation squashes the logits or when all texts score alike. */
  selfTest(signal: AbortSignal): Promise<Health>;
  /** Undefined while it takes work; absent: it always does. */
  outOfService?(): OutOfService | undefined;
  health(signal: AbortSignal): Promise<Health>;
  gauges(): Promise<EngineGauges>;
  close(): Promise<void>;
}
