// What is judged and how: the domain's own words for a request, after validation and defaults.

export type Role = 'system' | 'user' | 'assistant' | 'tool';

export interface Message {
  readonly role: Role;
  readonly content: string;
}

/** A criterion that the caller wants used; the weight (1..100 percent) is text for the model. */
export interface Principle {
  readonly text: string;
  readonly weightPercent?: number;
}

/** The question put to the judge. `responses` holds 1..16 texts in the caller's order. */
export interface Content {
  readonly messages: readonly Message[];
  readonly responses: readonly string[];
  readonly reference?: string;
  readonly principles: readonly Principle[];
  /** Index of the response that prompts name as the best: for drawing training data (arXiv 2504.02495, hinted sampling). Never shown to a meta RM. */
  readonly hintedBest?: number;
}

export const voteMethods = ['sum', 'meta_topk', 'meta_weighted', 'mean', 'median', 'majority'] as const;
export type VoteMethod = (typeof voteMethods)[number];

export const stopRules = ['none', 'outcome_fixed', 'confident'] as const;
/** When drawing may end before k samples (adaptive k, stop.ts). */
export type StopRule = (typeof stopRules)[number];
/** Why drawing ended before k samples. */
export type StoppedBy = Exclude<StopRule, 'none'>;

/** The rule that a request's drawing may end by. */
export type Stop =
  | { readonly rule: 'outcome_fixed' }
  /** `error`: the chance, above 0 and below 0.5, that k samples would have had another best response. */
  | { readonly rule: 'confident'; readonly error: number };

export const classes = ['interactive', 'rl', 'batch'] as const;
/** Who is waiting; the order is the order of urgency. */
export type Class = (typeof classes)[number];

/** Options after defaults and limits: what a request really runs with. */
export interface Plan {
  readonly k: number;
  /** Absent: ceil(valid samples / 2). */
  readonly kMeta?: number;
  readonly vote: VoteMethod;
  /** 0 = greedy. */
  readonly temperature: number;
  readonly topP: number;
  readonly maxTokens: number;
  /** Valid samples needed when the time budget ends. */
  readonly quorum: number;
  readonly timeBudgetMs: number;
  readonly templateHash: string;
  /** A meta RM is wanted. */
  readonly meta: boolean;
  /** uint32: seed of permutations and samples. */
  readonly seed: number;
  /** Absent: all k samples are drawn at once. */
  readonly stop?: Stop;
}

/** All that was written for the request, in UTF-16 units: messages, responses, reference and principles. */
export function contentChars({ messages, responses, reference, principles }: Content): number {
  let chars = reference?.length ?? 0;
  for (const message of messages) chars += message.content.length;
  for (const response of responses) chars += response.length;
  for (const principle of principles) chars += principle.text.length;
  return chars;
}
