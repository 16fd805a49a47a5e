// Sample: one generation of the GRM. A tagged union, because nothing invalid may become a number (promise P7).

export const sampleInvalidReasons = [
  'no_box',
  'wrong_count',
  'out_of_range',
  'not_a_number',
  'truncated',
  'engine_failed',
  'dead_letter',
  'context_exceeded',
] as const;
export type SampleInvalidReason = (typeof sampleInvalidReasons)[number];

export interface Usage {
  readonly promptTokens: number;
  readonly cachedTokens: number;
  readonly completionTokens: number;
}

/** Where a sample came from and what it cost: enough to draw it again. */
export interface Provenance {
  /** permutation[place] = index of the response shown in that place. */
  readonly permutation: readonly number[];
  /** uint32. */
  readonly seed: number;
  readonly worker: string;
  readonly engine: string;
  readonly model: string;
  /** Id of the model and its settings (judge.ts); absent where an older version drew it, or nobody did. */
  readonly judge?: string;
  /** SHA-256, hexadecimal. */
  readonly templateHash: string;
  readonly usage: Usage;
  readonly finishReason: string;
  readonly queueMs: number;
  readonly engineMs: number;
}

interface SampleBase extends Provenance {
  /** Place in the plan, 0..k-1. */
  readonly index: number;
  /** The whole generation as it came; empty when there is none. */
  readonly text: string;
  readonly principles: string;
  readonly critique: string;
}

export interface ScoredSample extends SampleBase {
  readonly kind: 'scored';
  /** In the order shown to the model. */
  readonly shownScores: readonly number[];
  /** In the request's order. */
  readonly scores: readonly number[];
}

export interface InvalidSample extends SampleBase {
  readonly kind: 'invalid';
  readonly reason: SampleInvalidReason;
  readonly detail: string;
}

export type Sample = ScoredSample | InvalidSample;
