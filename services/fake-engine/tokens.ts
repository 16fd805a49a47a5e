// The fake tokenizer: four UTF-16 units are one token, about what real tokenizers make of English.

const unitsPerToken = 4;

export function countTokens(text: string): number {
  return Math.ceil(text.length / unitsPerToken);
}

/** The text of tokens [from, to). */
export function sliceTokens(text: string, from: number, to: number): string {
  return text.slice(from * unitsPerToken, to * unitsPerToken);
}

/** Length of `tokens` tokens in UTF-16 units. */
export function tokenUnits(tokens: number): number {
  return tokens * unitsPerToken;
}
