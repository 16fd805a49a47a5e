// Token probabilities in the two shapes of the protocol: chat lists objects, plain completions list columns.
import type { TokenLogprob } from './meta-judge.js';

export interface ListedToken extends TokenLogprob {
  readonly top: readonly TokenLogprob[];
}

export function logprobsShape(chat: boolean, listed: readonly ListedToken[]): unknown {
  if (chat) {
    const shape = ({ token, logprob }: TokenLogprob) => ({ token, logprob, bytes: [...Buffer.from(token)] });
    return { content: listed.map((entry) => ({ ...shape(entry), top_logprobs: entry.top.map(shape) })) };
  }
  const offsets = listed.map((_, at) => listed.slice(0, at).reduce((sum, { token }) => sum + token.length, 0));
  return {
    tokens: listed.map(({ token }) => token),
    token_logprobs: listed.map(({ logprob }) => logprob),
    top_logprobs: listed.map(({ top }) => Object.fromEntries(top.map(({ token, logprob }) => [token, logprob]))),
    text_offset: offsets,
  };
}
