// Yes or no: a causal model as a meta reward model. The reward is the log-odds of Yes against No as the next token, from raw logits:
// unbounded, and no other token's probability enters it.

import type { LlamaContextSequence, LlamaModel, Token } from 'node-llama-cpp';

export interface YesNo {
  readonly yes: readonly Token[];
  readonly no: readonly Token[];
}

/** The tokens by which an answer may begin, with and without a leading space. Undefined when none tells yes from no. */
export function yesNoTokens(model: LlamaModel, yesWord: string, noWord: string): YesNo | undefined {
  const yes = firstTokens(model, [yesWord, ` ${yesWord}`]);
  const no = firstTokens(model, [noWord, ` ${noWord}`]);
  // A vocabulary without whole words may begin both with the same token (a space): that one says nothing.
  const apart = { yes: yes.filter((token) => !no.includes(token)), no: no.filter((token) => !yes.includes(token)) };
  return apart.yes.length > 0 && apart.no.length > 0 ? apart : undefined;
}

function firstTokens(model: LlamaModel, words: readonly string[]): readonly Token[] {
  const tokens = words.map((word) => model.tokenize(word, false)[0]).filter((token) => token !== undefined);
  return [...new Set(tokens)];
}

/** Evaluates the prompt's last token and compares what may follow it. Throws when evaluation fails. */
export async function logOdds(lane: LlamaContextSequence, last: Token, tokens: YesNo): Promise<number> {
  const filter = { tokens: [...tokens.yes, ...tokens.no] };
  // Temperature 0 and no cuts: the logits come as the model gave them.
  const options = { temperature: 0, topK: 0, topP: 1, minP: 0 };
  const [output] = await lane.controlledEvaluate([[last, { generateNext: { logits: { filter }, options } }]]);
  const logits = output?.next.logits;
  if (logits === undefined) throw new Error('the model gave no logits');
  return oddsOf(logits, tokens);
}

/** ln P(any yes token) - ln P(any no token), from logits. */
export function oddsOf(logits: ReadonlyMap<Token, number>, tokens: YesNo): number {
  return logSumExp(tokens.yes, logits) - logSumExp(tokens.no, logits);
}

/** The logit of "any of these tokens". */
function logSumExp(tokens: readonly Token[], logits: ReadonlyMap<Token, number>): number {
  const values = tokens.map((token) => logits.get(token) ?? -Infinity);
  const top = Math.max(...values);
  return top + Math.log(values.reduce((sum, value) => sum + Math.exp(value - top), 0));
}
