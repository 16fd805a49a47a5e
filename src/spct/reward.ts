// Reward: the rule-based reward of online RL (arXiv 2504.02495): +1 for scores that are correct, else -1.
//
//   R1. An invalid output is incorrect: -1, and its reason travels.
//   R2. A row that is malformed (no completion, labels that fit no responses, ...) gets no number: it is an error that names the field.
//       One such row makes an error of its whole batch: a trainer must not take a made-up number for a judgement.
//   R3. There is no reward for form: an output counts when its scores can be read (grm/parse.ts), and in no other way.

import { Findings } from '../coordinator/findings.js';
import type { Violation } from '../fault.js';
import { mapScores, parseOutput } from '../grm/parse.js';
import { reopened } from '../grm/reasoning.js';
import type { SampleInvalidReason } from '../grm/sample.js';
import { limits } from '../limits.js';
import { judge, readLabel, type Label, type Outcome } from './label.js';

export type { Label, Outcome } from './label.js';

export interface RuleReward {
  readonly reward: 1 | -1;
  /** Why it is -1: what is wrong with the scores, or why the output has none. */
  readonly reason?: Exclude<Outcome, 'correct'> | SampleInvalidReason;
  /** In the order of the label; absent when the output has none. */
  readonly scores?: readonly number[];
}

export interface RewardRow {
  /** The generation as it came. */
  readonly completion: string;
  readonly label: Label;
  /** permutation[place] = index of the response shown in that place. Default: shown in the label's order. */
  readonly permutation: readonly number[];
  /** The engine's word; "length" marks an output that its token limit cut. */
  readonly finishReason: string;
  /** The prompt opened the reasoning: the output begins inside of it. */
  readonly opensReasoning: boolean;
}

/** The reward of one well-formed row. */
export function ruleReward({ completion, label, permutation, finishReason, opensReasoning }: RewardRow): RuleReward {
  const parsed = parseOutput(opensReasoning ? reopened(completion) : completion, label.n, finishReason);
  if (parsed.kind === 'invalid') return { reward: -1, reason: parsed.reason };
  const scores = mapScores(parsed.shownScores, permutation);
  const outcome = judge(scores, label);
  return outcome === 'correct' ? { reward: 1, scores } : { reward: -1, reason: outcome, scores };
}

export type ReadRewardRow =
  | { readonly kind: 'row'; readonly row: RewardRow }
  | { readonly kind: 'violations'; readonly violations: readonly Violation[] };

/**
 * Reads one row as JSON has it:
 * `{"completion": text | [{role, content}], "labels": [number] | "best": index with "n", "permutation"?: [index], "finish_reason"?: text, "opens_reasoning"?: true | false}`.
 */
export function readRewardRow(raw: unknown): ReadRewardRow {
  const found = new Findings();
  const row = found.object('', raw, 'an object with "completion" and "labels" or "best"');
  if (!row) return { kind: 'violations', violations: found.list() };
  const completion = readCompletion(row.completion, found);
  const n = found.integer('n', row.n, 1, limits.responsesMax);
  const label = readLabel(row, n, found);
  if (label === 'no_unique_best') found.add('labels', 'a tie of the best', 'one best response');
  const count = typeof label === 'object' ? label.n : n;
  const permutation = readPermutation(row.permutation, count, found);
  const finishReason =
    row.finish_reason === undefined || row.finish_reason === null ? '' : found.text('finish_reason', row.finish_reason);
  const opensReasoning = found.boolean('opens_reasoning', row.opens_reasoning ?? false) ?? false;
  if (found.any || completion === undefined || typeof label !== 'object' || !permutation || finishReason === undefined)
    return { kind: 'violations', violations: found.list() };
  return { kind: 'row', row: { completion, label, permutation, finishReason, opensReasoning } };
}

/** Trainers of chat models hand over the generated turns: the last one is what the model said. */
function readCompletion(raw: unknown, found: Findings): string | undefined {
  if (!Array.isArray(raw)) return found.text('completion', raw);
  const list: readonly unknown[] = raw;
  const last = found.object('completion', list.at(-1), 'a text, or messages of which the last has the content');
  return last && found.text(`completion[${list.length - 1}].content`, last.content);
}

function readPermutation(raw: unknown, n: number | undefined, found: Findings): readonly number[] | undefined {
  if (raw === undefined || raw === null) return Array.from({ length: n ?? 0 }, (_, place) => place);
  const list = found.list1('permutation', raw, limits.responsesMax, 'indexes');
  if (list === undefined || n === undefined) return undefined;
  const indexes = new Set(list);
  const whole = list.length === n && Array.from({ length: n }, (_, index) => index).every((each) => indexes.has(each));
  if (whole) return list as readonly number[];
  found.add('permutation', found.shown(raw), `each of 0..${n - 1} once`);
  return undefined;
}

/** A violation of one row of a batch. */
export interface RowViolation extends Violation {
  readonly index: number;
}

export type BatchReward =
  | { readonly kind: 'rewards'; readonly rewards: readonly RuleReward[] }
  /** Of all rows, at most limits.violationsMax; `count` is how many there are. */
  | { readonly kind: 'violations'; readonly violations: readonly RowViolation[]; readonly count: number };

/** Rewards of many rows, in their order, or all that is wrong with them (R2). */
export function rewardBatch(rows: readonly unknown[]): BatchReward {
  const rewards: RuleReward[] = [];
  const violations: RowViolation[] = [];
  let count = 0;
  rows.forEach((raw, index) => {
    const read = readRewardRow(raw);
    if (read.kind === 'row') {
      // Nobody will see the rewards of a batch that is refused.
      if (count === 0) rewards.push(ruleReward(read.row));
      return;
    }
    count += read.violations.length;
    for (const violation of read.violations)
      if (violations.length < limits.violationsMax) violations.push({ index, ...violation });
  });
  return count === 0 ? { kind: 'rewards', rewards } : { kind: 'violations', violations, count };
}

/** As JSON has it: every key is always there. */
export function rewardColumns({ reward, reason, scores }: RuleReward): Readonly<Record<string, unknown>> {
  return { reward, correct: reward === 1, reason: reason ?? null, scores: scores ?? null };
}
