// Coordinator: what the doors (gRPC now, HTTP later) may ask of it.

import type { Class, Content, StopRule, VoteMethod } from '../grm/query.js';
import type { JudgedSample, StoredVerdict, Verdict } from '../grm/verdict.js';
import type { Fault } from '../fault.js';
import type { Judge } from '../grm/judge.js';
import type { Retried } from './retry.js';

/** Options as the caller gave them; absent ones take the server's defaults. Already checked against limits.ts by intake.ts. */
export interface ScoreOptions {
  readonly k?: number;
  readonly kMeta?: number;
  readonly vote?: VoteMethod;
  readonly temperature?: number;
  readonly topP?: number;
  readonly maxTokens?: number;
  readonly quorum?: number;
  readonly timeBudgetMs?: number;
  readonly seed?: number;
  /** Name of a loaded template. */
  readonly template?: string;
  readonly meta?: boolean;
  /** When drawing may end before k samples. */
  readonly stop?: StopRule;
  /** Error level of `confident`: above 0, at most limits.stopErrorMax. */
  readonly stopError?: number;
}

/** A request after intake: well-formed, within limits, defaults not yet applied. */
export interface ScoreInput {
  readonly idempotencyKey?: string;
  readonly tenant: string;
  /** Absent: the server's default (defaults.class). */
  readonly class?: Class;
  readonly content: Content;
  /** UTF-8 bytes of all texts in `content`. */
  readonly contentBytes: number;
  readonly options: ScoreOptions;
  /** A word that makes this another request than without it: it is drawn anew. */
  readonly fresh?: string;
  /** Id of the only judge that may answer. */
  readonly expectedJudge?: string;
  /** The verdict of its key is taken, whichever judge gave it. */
  readonly allowJudgeChange?: boolean;
}

export interface Caller {
  /** Milliseconds since the Unix epoch; Infinity when the caller set none. */
  readonly deadlineAtMs: number;
  /** Aborts when the caller goes away. The request is cancelled when its last caller has gone. */
  readonly signal: AbortSignal;
  /** Called for every sample as it arrives, at most once per index. `kept` is 'kept' for a valid sample until the vote. */
  readonly onSample?: (sample: JudgedSample) => void;
}

export type ScoreOutcome =
  { readonly kind: 'verdict'; readonly verdict: Verdict } | { readonly kind: 'fault'; readonly fault: Fault };

export type JudgeNow =
  { readonly kind: 'judge'; readonly judge: Judge } | { readonly kind: 'fault'; readonly fault: Fault };

export interface CoordinatorLoad {
  readonly requestsInFlight: number;
  readonly samplesInFlight: number;
  readonly bytesInFlight: number;
  readonly waiting: number;
}

export interface Coordinator {
  /** Names of the loaded templates. */
  readonly templates: readonly string[];
  /** Never rejects; every outcome is a verdict or a fault. */
  score(input: ScoreInput, caller: Caller): Promise<ScoreOutcome>;
  /** What would judge a request with these options now. A fault where they name no loaded template. */
  judge(options: ScoreOptions): JudgeNow;
  /** By request id, or by idempotency key and tenant. */
  stored(requestIdOrKey: string, tenant: string): Promise<StoredVerdict | undefined>;
  /** True when it was running here and is now cancelled everywhere. */
  cancel(requestId: string): Promise<boolean>;
  /** Runs requests with quarantined shards again. Ids are "<request>.<stage>.<unit>"; empty = all. */
  retryDead(ids: readonly string[]): Promise<Retried>;
  load(): CoordinatorLoad;
  /** Takes no new requests, finishes what runs, at most `graceMs`; what is left stays accepted for another coordinator. */
  drain(graceMs: number): Promise<void>;
}
