// Chat tokens: what chat formats use for control. A server tokenises them inside plain text as the real thing, so a response that spells one ends its
// own turn, opens the judge's, or makes the server refuse the request. Patterns are for folded text (fold.ts).
//
//   C1. The list below is of formats in use: Llama 2 to 4, Mistral (v1 to Tekken), Gemma 1 to 4, Qwen, DeepSeek, Phi, Command R and A, GLM, Kimi, EXAONE,
//       SmolVLM, Seed-OSS, Granite, Falcon, harmony, Jamba, Nemotron, Hunyuan, MiniMax, ERNIE, Baichuan, InternLM, Ling, TeleChat, StarCoder, T5.
//       Shapes rather than names where a shape is nothing else: <|...|>, <|...>, <...|>, [|...|], <..._of_...>.
//   C2. Names that are also HTML, JSX, or an index in code ([mask], <video>, <user>) are not in it, or in one case of letters alone. An engine that
//       tells its own tokens (Engine.specialTokens) adds them where they are tokens.

import { limits } from '../limits.js';
import type { Finder } from './finder.js';
import { fold } from './fold.js';

/** By what each of them holds; in any case of letters. */
const shapes: Readonly<Record<string, readonly string[]>> = {
  '<': [
    String.raw`<\/?\|[^\s<>|][^<>|\n]{0,63}\|>`,
    String.raw`<\s{0,3}\|\s{0,3}\/?(?:im_?(?:start|end|sep|user|system|assistant|middle)|start|end|message|channel|turn|user|assistant|system|tool|(?:end|begin)_?of_?\w{2,16}|\w{2,8}_?id)\s{0,3}\|\s{0,3}>`,
    String.raw`<\/?\|[a-z_/][\w:./-]{0,63}>`,
    String.raw`<[a-z_/][\w:./-]{0,63}\|>`,
    String.raw`<\/?\|[a-z_]{2,32}\|\w{0,64}>`,
    String.raw`<\s?\/?(?:start|begin|beginning|end)_?of_?\w{2,32}\s?>`,
    String.raw`<\/?(?:start|end)_function_\w{2,32}>`,
    String.raw`<\/?(?:seed|minimax|mask):[\w:-]{1,40}>`,
    String.raw`<(?:unused|reserved|special|pad|extra_id|extra_token|tokens_unused|extra)_?\d{1,6}>`,
    String.raw`<(?:bos|eos|pad|unk|sep|cls|mask|eop|sop|eot|bot|eom)_token>`,
    String.raw`<(?:image|audio|video)_(?:soft_token|pad|start|end|token)>`,
    String.raw`<(?:fake_token_around_image|global-img|row_\d{1,3}_col_\d{1,3}|img_context|image_placeholder)>`,
    String.raw`<\/?(?:tool_calls?|tool_responses?|tool_results?|tool_outputs?|tool_sep|function_calls?|arg_key|arg_value)>`,
    String.raw`<(?:fim_(?:prefix|middle|suffix|pad)|file_sep|repo_name|reponame|gh_stars|jupyter_\w{2,24})>`,
    String.raw`<(?:_user|_bot|_system|_start|_end|_pad|global_setting|用户)>`,
    String.raw`<\/?(?:think|thinking|thought|reasoning)>`,
    String.raw`<role>\s?(?:human|assistant|system|observation)\s?<\/role>`,
    String.raw`<<\s?\/?sys\s?>>`,
  ],
  '[': [
    String.raw`\[\/?\|\s?[a-z_/][\w:-]{1,40}\s?\|\]`,
    String.raw`\[\s?\/?(?:inst|system_prompt|available_tools|tool_calls|tool_results|tool_content|model_settings|begin_audio|img_break|img_end|think|gmask|smask|unused_token_\d{1,4})\s?\]`,
    String.raw`\]~!?[a-z]\[|\[[a-z]~\[|\]![a-z]~\[|\]<\][^\][<>\n]{1,40}\[>\[`,
  ],
  ']~': [String.raw`\]~[a-z]\]`],
  '\u25c1': [String.raw`\u25c1\/?[\w ]{1,32}\u25b7`],
};

/** As they are written: in other cases they are ordinary words of code. */
const names: Readonly<Record<string, readonly string[]>> = {
  '<': [
    String.raw`<\/?s>`,
    String.raw`<\/?(?:bos|eos|pad|unk|cls|sep|mask|eod|bod|eoh|boh|eoa|boa|eot|bot|eom|bom|eop|sop|BOS|EOS|PAD|UNK|CLS|SEP|MASK|EOD|EOT|EOM|SYS)>`,
    String.raw`<(?:image|endoftext|startoftext)>`,
    String.raw`>>(?:TITLE|ABSTRACT|INTRODUCTION|SUMMARY|COMMENT|ANSWER|QUESTION|DOMAIN|PREFIX|SUFFIX|MIDDLE)<<`,
  ],
  '[': [
    String.raw`\[(?:CLS|SEP|PAD|UNK|MASK|BOS|EOS|EOT|EOM|IMG|AUDIO|PREFIX|MIDDLE|SUFFIX|ARGS|CALL_ID|TRANSCRIBE)\]`,
  ],
};

function findersOf(lists: Readonly<Record<string, readonly string[]>>): Finder[] {
  return Object.entries(lists).map(([holds, sources]) => ({ holds, pattern: new RegExp(sources.join('|'), 'g') }));
}

/** What the formats of C1 use. */
export const chatTokens: readonly Finder[] = [
  ...findersOf(shapes),
  ...findersOf(names).map((finder) => ({ ...finder, exactCase: true as const })),
];

const dot = '\u00b7';

/**
 * Finds an engine's own tokens, in the case in which they are written. Left out are those that the list finds anyway, and those that cannot be told from
 * ordinary text (isTellable).
 */
export function tokenFinders(tokens: readonly string[]): readonly Finder[] {
  /** By their first character. */
  const sources = new Map<string, Set<string>>();
  let count = 0;
  for (const token of tokens) {
    if (count >= limits.specialTokensMax) break;
    if (!isTellable(token) || isListed(token)) continue;
    const { text } = fold(token);
    const first = text[0]!;
    const those = sources.get(first) ?? new Set();
    sources.set(first, those);
    // Reserved tokens come by the thousand: <extra_0>, <extra_1>, ... are one pattern.
    const source = text.replace(/[\\^$.*+?()[\]{}|/-]/g, '\\$&').replace(/\d+/g, '\\d{1,8}');
    if (!those.has(source)) count++;
    those.add(source);
  }
  return [...sources].map(([holds, those]) => ({
    holds: /\d/.test(holds) ? '' : holds,
    pattern: new RegExp([...those].join('|'), 'g'),
    exactCase: true,
  }));
}

/** True of a token that is never a part of ordinary words: three characters or more, a sign and a letter among them. */
export function isTellable(token: string): boolean {
  if (token.length > limits.specialTokenCharsMax || token.includes(dot) || !token.isWellFormed()) return false;
  const { text } = fold(token);
  return text.length >= 3 && /[^\p{L}\p{N}\s_\u2581]/u.test(text) && /\p{L}/u.test(text);
}

function isListed(token: string): boolean {
  const { text, lower } = fold(token);
  return chatTokens.some(({ pattern, exactCase }) => {
    const searched = exactCase === true ? text : lower;
    return searched.match(pattern)?.[0] === searched;
  });
}
