// Grammars that hold an answer to the project's format (templates/): criteria, analysis, scores, and a box with them.
//
// An aid for small models that would never reach a box. Characters are bounded so that the box is reached in time: with about four
// characters a token the whole takes some 350 tokens, the length of a real critique; digits and symbols take more. What is inside the box stays the model's own choice.

import type { LlamaGrammarOption } from './llama-protocol.js';

interface CharsMax {
  readonly criteria: number;
  readonly analysis: number;
}

const CHARS_MAX: CharsMax = { criteria: 400, analysis: 1000 };
/** Scores when the number of responses is not told. */
const SCORES_MAX = 16;

/** GBNF text for an option; undefined = no grammar. `scoreCount`: how many scores the box holds. */
export function grammarText(option: LlamaGrammarOption, scoreCount: number | undefined): string | undefined {
  if (option === 'none') return undefined;
  return option === 'score_box' ? scoreBoxGrammar(scoreCount) : option.gbnf;
}

export function scoreBoxGrammar(scoreCount: number | undefined, charsMax: CharsMax = CHARS_MAX): string {
  const more = scoreCount === undefined ? `{0,${SCORES_MAX - 1}}` : `{${scoreCount - 1}}`;
  const box = scoreCount === 1 ? 'score' : `score (", " score)${more}`;
  return [
    `root ::= "Specific Criteria:" criteria "\\n\\nAnalysis:" analysis "\\n\\nScores: \\\\boxed{" ${box} "}"`,
    `criteria ::= char{1,${charsMax.criteria}}`,
    `analysis ::= char{1,${charsMax.analysis}}`,
    // No backslash: a box in the middle of the text would not be the answer.
    `char ::= [^\\\\\\n] | "\\n" [^\\\\\\n]`,
    `score ::= "10" | [1-9]`,
    '',
  ].join('\n');
}
