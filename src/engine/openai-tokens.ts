// The control tokens of a server's own tokenizer, as far as it tells them.
//
//   vLLM          GET /tokenizer_info, when started with --enable-tokenizer-info-endpoint: its added tokens and its chat template
//   llama-server  GET /props: BOS, EOS and the chat template
//   all three     POST /tokenize: whether a text is a single token. Asked of what stands in the chat template, and of names that are control tokens in some
//                 vocabularies and ordinary text in others.
//
// Which of them a text could contain by accident is for those who look for them to say (grm/chat-tokens.ts). A server that tells nothing is no failure: the built-in list and the configured one hold.

import { limits } from '../limits.js';
import { cutoff } from './openai-cutoff.js';
import { type Endpoint, type HttpRequest, readText } from './openai-http.js';
import { at, listAt, parseJson, stringAt } from './openai-json.js';

/** Control tokens here, HTML, JSX or plain words there. */
const doubtful: readonly string[] = [
  ...[
    'user',
    'assistant',
    'system',
    'model',
    'human',
    'bot',
    'ai',
    'tool',
    'role',
    'response',
    'answer',
    'output',
    'result',
  ],
  ...['video', 'audio', 'img', 'image', 'box', 'ref', 'quad', 'point', 'speech', 'object', 'patch'],
  ...['query', 'question', 'instruction', 'context', 'document', 'observation', 'solution', 'summary'],
].flatMap((name) => [`<${name}>`, `</${name}>`]);

/** A sentence that no vocabulary has as one token: a server that says so of everything says nothing. */
const sentence = 'Seven grey geese crossed the frozen river at noon.';

/** Never rejects: what cannot be had within limits.engineProbeMs is left out. */
export async function serverTokens(endpoint: Endpoint, model: string): Promise<readonly string[]> {
  const cut = cutoff([], Date.now() + limits.engineProbeMs);
  try {
    const ask = async (request: HttpRequest): Promise<unknown> => {
      const reply = await endpoint.send(request, cut.signal);
      if (reply.kind !== 'ok') return undefined;
      const text = await readText(reply.body, limits.tokenizerInfoBytesMax);
      return text === undefined ? undefined : parseJson(text);
    };
    const [info, props] = [
      await ask({ method: 'GET', path: '/tokenizer_info' }),
      await ask({ method: 'GET', path: '/props' }),
    ];
    const told = [...addedTokens(info), ...endTokens(info), ...endTokens(props)];
    const asked = [...new Set([...literals(info), ...literals(props), ...doubtful])];
    const single = async (text: string): Promise<boolean | undefined> => tokenCount(await ask(tokenize(text, model)));
    // Most of a chat template's words are no tokens, and each costs a question.
    if ((await single(sentence)) === false) {
      for (const candidate of asked.slice(0, limits.tokenProbesMax)) if (await single(candidate)) told.push(candidate);
    }
    return [...new Set(told)].slice(0, limits.specialTokensToldMax);
  } catch {
    return [];
  } finally {
    cut.dispose();
  }
}

/** One body that all three understand: each takes the fields that it knows. */
function tokenize(text: string, model: string): HttpRequest {
  const json = {
    model,
    prompt: text,
    content: text,
    add_special_tokens: false,
    add_special: false,
    parse_special: true,
  };
  return { method: 'POST', path: '/tokenize', json };
}

/** True for a single token, undefined when the server does not say. */
function tokenCount(reply: unknown): boolean | undefined {
  const tokens = listAt(reply, 'tokens');
  return tokens.length === 0 ? undefined : tokens.length === 1;
}

/** transformers' added tokens: those that are special, and those of the others that are no HTML. */
function addedTokens(info: unknown): string[] {
  const added = at(info, 'added_tokens_decoder');
  if (typeof added !== 'object' || added === null) return [];
  return Object.values(added).flatMap((entry: unknown) => {
    const content = stringAt(entry, 'content');
    if (content === undefined) return [];
    return at(entry, 'special') === true || !isPlainTag(content) ? [content] : [];
  });
}

function endTokens(facts: unknown): string[] {
  const named = ['bos_token', 'eos_token', 'unk_token', 'pad_token', 'sep_token', 'cls_token', 'mask_token'];
  const found = named.map((name) => stringAt(facts, name) ?? stringAt(facts, name, 'content'));
  return found.filter((token) => token !== undefined);
}

/** What in a chat template looks as if it could be a token: it is asked for, so too many do no harm. */
function literals(facts: unknown): string[] {
  const template = stringAt(facts, 'chat_template') ?? '';
  return (
    template
      .slice(0, limits.templateCharsMax)
      .match(/[<[\]{(@#>|\u25c1~]{1,2}[^\s{}%'"<>[\]]{1,48}[\]>})@#<|\u25b7~[]{1,2}/gu) ?? []
  );
}

/** An HTML tag without attributes: some vocabularies hold them as words of their own. */
export function isPlainTag(token: string): boolean {
  return /^<\/?[a-z][a-z0-9]{0,15}>$/.test(token);
}
