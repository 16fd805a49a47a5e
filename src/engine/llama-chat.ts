// Chat: messages to prompt tokens, by the template that the GGUF file carries (the same Jinja that vLLM and transformers render).
//
//   T1. Text inside a message never becomes a control token: a response that spells `<|im_end|>` closes nothing (promise P8).
//   T2. Otherwise the tokens are those of the whole rendered text, as other engines make them: no seams at the message's edges.
//   T3. Exactly one BOS where the model wants one, whether or not the template writes it.

import { randomUUID } from 'node:crypto';
import type { LlamaModel, Token } from 'node-llama-cpp';
import { limits } from '../limits.js';
import type { PromptMessage } from './engine.js';
import type { JinjaModule } from './llama-runtime.js';
import { isPlainTag } from './openai-tokens.js';

export type Prompt =
  { readonly kind: 'tokens'; readonly tokens: Token[] } | { readonly kind: 'refused'; readonly reason: string };

export interface Chat {
  readonly hasTemplate: boolean;
  /** The vocabulary's own tokens that a text must not spell (promise P8). */
  readonly specialTokens: readonly string[];
  /** The prompt up to where the assistant begins to speak. Refused when the template raises (roles it cannot order, say). */
  prompt(messages: readonly PromptMessage[]): Prompt;
}

type Render = (messages: readonly PromptMessage[]) => string;

export function openChat(model: LlamaModel, jinja: JinjaModule): Chat {
  const source = model.fileInfo.metadata.tokenizer.chat_template;
  const render = source === undefined ? renderPlain : templateRenderer(model, new jinja.Template(source));
  const control = controlTexts(model);
  const bos = model.tokens.shouldPrependBosToken ? model.tokens.bos : null;

  function tokensOf(messages: readonly PromptMessage[]): Token[] {
    const spells = messages.some((message) => control.some((text) => message.content.includes(text)));
    const tokens = spells ? tokenizeApart(model, render, messages) : model.tokenize(render(messages), true);
    return bos !== null && tokens[0] !== bos ? [bos, ...tokens] : tokens;
  }

  return {
    hasTemplate: source !== undefined,
    specialTokens: [...control, ...userTexts(model)].slice(0, limits.specialTokensToldMax),
    prompt(messages) {
      try {
        const tokens = tokensOf(messages);
        return tokens.length > 0 ? { kind: 'tokens', tokens } : { kind: 'refused', reason: 'the prompt has no tokens' };
      } catch (error) {
        return { kind: 'refused', reason: `chat template: ${error instanceof Error ? error.message : String(error)}` };
      }
    },
  };
}

/** T1: the template's text is tokenized with control tokens, each message's content without. */
function tokenizeApart(model: LlamaModel, render: Render, messages: readonly PromptMessage[]): Token[] {
  const mark = randomUUID();
  const marked = render(messages.map((message, at) => ({ role: message.role, content: `${mark}:${at};` })));
  const pieces = marked.split(new RegExp(`${mark}:(\\d+);`));
  // split() with a group alternates: template text, message number, template text, ...
  return pieces.flatMap((piece, at) => {
    if (at % 2 === 0) return model.tokenize(piece, true, 'trimLeadingSpace');
    return model.tokenize(messages[Number(piece)]?.content ?? '', false, 'trimLeadingSpace');
  });
}

function templateRenderer(model: LlamaModel, template: { render(items: Record<string, unknown>): string }): Render {
  const names = { bos_token: model.tokens.bosString ?? '', eos_token: model.tokens.eosString ?? '' };
  const render: Render = (messages) => template.render({ messages, add_generation_prompt: true, ...names });
  const takesSystem = accepts(render, [
    { role: 'system', content: 'a' },
    { role: 'user', content: 'b' },
  ]);
  return takesSystem ? render : (messages) => render(systemIntoUser(messages));
}

function accepts(render: Render, messages: readonly PromptMessage[]): boolean {
  try {
    const text = render(messages);
    return messages.every((message) => text.includes(message.content));
  } catch {
    return false;
  }
}

/** For templates without a system turn: its text stands before the first user turn. */
function systemIntoUser(messages: readonly PromptMessage[]): readonly PromptMessage[] {
  const system = messages.filter((message) => message.role === 'system').map((message) => message.content);
  const rest = messages.filter((message) => message.role !== 'system');
  const first = rest.findIndex((message) => message.role === 'user');
  if (system.length === 0) return rest;
  if (first === -1) return [{ role: 'user', content: system.join('\n\n') }, ...rest];
  return rest.map((message, at) =>
    at === first ? { role: message.role, content: [...system, message.content].join('\n\n') } : message,
  );
}

/** No template in the file: a base model. The turns one after the other, as a text to go on with. */
function renderPlain(messages: readonly PromptMessage[]): string {
  return `${messages.map((message) => message.content).join('\n\n')}\n`;
}

/** The texts that the tokenizer would turn into control tokens. */
function controlTexts(model: LlamaModel): readonly string[] {
  return textsOf(model, (attributes) => attributes.control);
}

/** Tokens that the library finds in any text, control or not (Phi's turns, Qwen's <think>). Vocabularies hold HTML and white space among them. */
function userTexts(model: LlamaModel): readonly string[] {
  return textsOf(model, (attributes) => attributes.userDefined).filter((text) => !isPlainTag(text));
}

function textsOf(model: LlamaModel, wanted: (attributes: ReturnType<LlamaModel['getTokenAttributes']>) => boolean) {
  const texts: string[] = [];
  for (const token of model.iterateAllTokens()) {
    if (!wanted(model.getTokenAttributes(token))) continue;
    const text = model.detokenize([token], true);
    if (text.length > 0) texts.push(text);
  }
  return texts;
}
