// How each kind of meta RM is asked, and where its logit stands in the reply. Pure.
//
// Scalar heads squash the logit unless a switch turns that off, and the switch's name has changed over vLLM's versions; a name that a server
// does not know is ignored without a word. Which name works is for the self-test to find out.
import type { PromptMessage } from './engine.js';
import { at, listAt, numberAt, stringAt } from './openai-json.js';

export const metaKinds = ['vllm_classify', 'vllm_pooling', 'sglang_classify', 'yes_no'] as const;
export type MetaKind = (typeof metaKinds)[number];

/** Newest first. */
export const activationNames = ['use_activation', 'activation', 'softmax'] as const;
export type ActivationName = (typeof activationNames)[number];

export interface ActivationSwitch {
  readonly name: ActivationName;
  readonly on: boolean;
}

export interface HeadOptions {
  readonly model: string;
  /** The two answers of the yes_no kind; compared without case and surrounding space. */
  readonly yesWord: string;
  readonly noWord: string;
  readonly extraBody: Readonly<Record<string, unknown>>;
}

export interface HeadInput {
  readonly messages: readonly PromptMessage[];
  readonly text: string;
}

/** A logit, or why the reply holds none. `withinUnit`: it was read from numbers that all lie in [0,1], as squashed ones do. */
export type HeadReading =
  | { readonly kind: 'logit'; readonly logit: number; readonly withinUnit: boolean }
  | { readonly kind: 'unreadable'; readonly reason: string };

export interface Head {
  readonly path: string;
  /** Whether an activation stands between the logit and the reply. */
  readonly hasSwitch: boolean;
  body(input: HeadInput, options: HeadOptions, activation: ActivationSwitch): Readonly<Record<string, unknown>>;
  read(reply: unknown, options: HeadOptions): HeadReading;
}

/** The most that the protocol lists, and thus what a word must be among to be seen. */
const topLogprobs = 20;

export const heads: Readonly<Record<MetaKind, Head>> = {
  vllm_classify: {
    path: '/classify',
    hasSwitch: true,
    body: ({ text }, { model, extraBody }, { name, on }) => ({ ...extraBody, model, input: text, [name]: on }),
    read: (reply) => labelLogit(listAt(reply, 'data', 0, 'probs')),
  },
  vllm_pooling: {
    path: '/pooling',
    hasSwitch: true,
    body: ({ text }, { model, extraBody }, { name, on }) => ({ ...extraBody, model, input: text, [name]: on }),
    read: (reply) => pooledLogit(at(reply, 'data', 0, 'data')),
  },
  sglang_classify: {
    path: '/classify',
    hasSwitch: false,
    body: ({ text }, { model, extraBody }) => ({ ...extraBody, model, text: [text] }),
    read: (reply) => pooledLogit(at(reply, 0, 'embedding')),
  },
  yes_no: {
    path: '/v1/chat/completions',
    hasSwitch: false,
    body: ({ messages }, { model, extraBody }) => ({
      ...extraBody,
      model,
      messages,
      max_tokens: 1,
      temperature: 0,
      logprobs: true,
      top_logprobs: topLogprobs,
    }),
    read: (reply, options) => logOdds(reply, options),
  },
};

/** One label: its logit. Two, as a no/yes classifier has them: the second's less the first's, which is their log-odds. */
function labelLogit(labels: readonly unknown[]): HeadReading {
  const logits = labels.filter((value) => typeof value === 'number' && Number.isFinite(value)) as number[];
  if (logits.length !== labels.length || logits.length < 1 || logits.length > 2) {
    return { kind: 'unreadable', reason: 'the reply holds no score of one label or two' };
  }
  return {
    kind: 'logit',
    logit: logits.length === 1 ? logits[0]! : logits[1]! - logits[0]!,
    withinUnit: logits.every(inUnit),
  };
}

/** The last number: a pooled score, or a reward per token whose last counts. */
function pooledLogit(data: unknown): HeadReading {
  let last: unknown = data;
  while (Array.isArray(last)) last = (last as unknown[]).at(-1);
  if (typeof last !== 'number' || !Number.isFinite(last))
    return { kind: 'unreadable', reason: 'the reply holds no score' };
  return { kind: 'logit', logit: last, withinUnit: inUnit(last) };
}

function inUnit(value: number): boolean {
  return value >= 0 && value <= 1;
}

/**
 * ln P(yes) - ln P(no), each summed over its spellings among the top tokens. A word that is not listed is taken at its upper bound: no spelling of
 * it is likelier than the last listed token, nor than all unlisted tokens together. So the log-odds err towards zero.
 */
function logOdds(reply: unknown, { yesWord, noWord }: HeadOptions): HeadReading {
  const listed = listAt(reply, 'choices', 0, 'logprobs', 'content', 0, 'top_logprobs').flatMap((entry) => {
    const token = stringAt(entry, 'token');
    const logprob = numberAt(entry, 'logprob');
    return token === undefined || logprob === undefined ? [] : [{ word: bare(token), logprob }];
  });
  if (listed.length === 0)
    return { kind: 'unreadable', reason: 'the reply holds no token probabilities: does the server return logprobs?' };
  const mass = (wanted: string) =>
    listed.reduce((sum, { word, logprob }) => (word === bare(wanted) ? sum + Math.exp(logprob) : sum), 0);
  const yes = mass(yesWord);
  const no = mass(noWord);
  if (yes === 0 && no === 0) {
    return {
      kind: 'unreadable',
      reason: `neither "${yesWord}" nor "${noWord}" is among the ${listed.length} likeliest tokens`,
    };
  }
  const listedMass = listed.reduce((sum, { logprob }) => sum + Math.exp(logprob), 0);
  const smallest = Math.exp(Math.min(...listed.map(({ logprob }) => logprob)));
  const unlisted = 1 - listedMass;
  // Rounding can leave nothing unlisted; then the smallest listed token is the bound.
  const bound = Math.max(unlisted > 0 ? Math.min(unlisted, smallest) : smallest, Number.MIN_VALUE);
  return { kind: 'logit', logit: Math.log(yes || bound) - Math.log(no || bound), withinUnit: false };
}

/** A token without what tokenizers and sentences put around a word: spaces, their stand-ins (U+0120, U+2581), quotes, punctuation, case. */
function bare(token: string): string {
  return token
    .replace(/^[\s\u0120\u2581"'*]+/, '')
    .replace(/[\s.,:;!"'*]+$/, '')
    .toLowerCase();
}
