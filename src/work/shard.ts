// What travels between coordinators and workers, in the domain's words. The wire format is proto/grm/work/v1.

import type { Judge } from '../grm/judge.js';
import type { Class, Content, Plan } from '../grm/query.js';
import type { Sample } from '../grm/sample.js';

/** An accepted request: all that another coordinator needs to finish it. */
export interface RequestRecord {
  readonly requestId: string;
  /** SHA-256 of content and options, hexadecimal: tells a reused key from a retry. */
  readonly digest: string;
  readonly tenant: string;
  readonly class: Class;
  readonly content: Content;
  readonly plan: Plan;
  /** Marks the places of responses in prompts (promise P8). */
  readonly nonce: string;
  /** Node that accepted it. */
  readonly owner: string;
  readonly acceptedAtMs: number;
  /** What judged in the pools when it was accepted; absent in records of versions that did not tell. */
  readonly judge?: Judge;
}

export interface SampleSpec {
  readonly index: number;
  /** uint32. */
  readonly seed: number;
  /** permutation[place] = index of the response shown in that place. */
  readonly permutation: readonly number[];
}

/** Samples of one lane. Those that share a permutation share a prompt. */
export interface Shard {
  readonly requestId: string;
  readonly shard: number;
  readonly samples: readonly SampleSpec[];
  readonly temperature: number;
  readonly topP: number;
  readonly maxTokens: number;
  readonly deadlineAtMs: number;
  readonly templateHash: string;
  readonly nonce: string;
  /** Absent when it is big: then it stands in the request's record. */
  readonly content?: Content;
  readonly queuedAtMs: number;
  readonly class: Class;
  /** Which run of the request asked for it: a cancel names the run that it ends. Empty in tasks of older coordinators. */
  readonly run: string;
  /** The lane of the ledger that holds its samples (lane.ts). */
  readonly lane: string;
}

export interface MetaItem {
  readonly index: number;
  /** Absent when it is big: then it stands in the ledger. */
  readonly sample?: Sample;
}

/** Samples of one lane to rank. `content` is absent when it is big: then it stands in the request's record. */
export interface MetaTask {
  readonly requestId: string;
  /** The lane of the ledger that holds these samples and their rewards (lane.ts). */
  readonly lane: string;
  /** At least one. */
  readonly items: readonly MetaItem[];
  readonly content?: Content;
  readonly deadlineAtMs: number;
  readonly nonce: string;
  readonly queuedAtMs: number;
  readonly class: Class;
  /** Which run of the request asked for it: a cancel names the run that it ends. Empty in tasks of older coordinators. */
  readonly run: string;
}

/** A meta reward, or why there is none. */
export type MetaResult = {
  readonly requestId: string;
  readonly index: number;
  readonly model: string;
  /** Id of the model, its template and settings (grm/judge.ts); absent where an older version ranked it, or nobody did. */
  readonly judge?: string;
  readonly worker: string;
} & ({ readonly kind: 'ranked'; readonly metaReward: number } | { readonly kind: 'failed'; readonly failure: string });

export type Stage = 'sample' | 'meta';

/** A quarantined task: `unit` is the shard's number, or the lowest index of the meta task. */
export interface DeadLetter {
  readonly requestId: string;
  readonly unit: number;
  readonly stage: Stage;
  readonly samples: readonly number[];
  readonly reason: string;
  readonly deliveries: number;
  readonly worker: string;
  readonly diedAtMs: number;
}

/** Some of the quarantined tasks, newest first. */
export interface DeadPage {
  readonly letters: readonly DeadLetter[];
  /** Where the next page begins; absent when this is the last one. */
  readonly next?: number;
}
