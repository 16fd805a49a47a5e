// Reads the reply to one sample's request: a stream of events, or one JSON document from a server that does not stream.
//
//   R1. Text counts only when the server says that it ended: by a finish reason that is more than blanks, or by [DONE] for servers that give none.
//       A stream that ends without either was cut, however much text came.
//       A text that ended without a reason and has as many tokens as it may have was cut: "length".
//   R2. No more than `bytesMax` of a reply is read.
import { createParser } from 'eventsource-parser';
import type { TokenUsage } from './engine.js';
import { finishOf } from '../grm/finish.js';
import { connectionReason, errorMessage } from './openai-http.js';
import { at, numberAt, parseJson, stringAt } from './openai-json.js';
import { classifyErrorEvent, type Failure } from './openai-outcome.js';

export type Generation =
  { readonly kind: 'text'; readonly text: string; readonly finishReason: string; readonly usage: TokenUsage } | Failure;

export async function readGeneration(
  reply: { readonly contentType: string; readonly body: AsyncIterable<Buffer> },
  bytesMax: number,
  redact: (text: string) => string,
  tokensMax = Infinity,
): Promise<Generation> {
  const gathering = new Gathering(redact, tokensMax);
  const plain = reply.contentType.includes('json');
  const decoder = new TextDecoder();
  const parser = createParser({
    maxBufferSize: bytesMax,
    onEvent: (event) => gathering.event(event.data),
    onError: (error) => {
      if (error.type === 'max-buffer-size-exceeded') gathering.fail('an event is larger than a reply may be');
    },
  });
  let whole = '';
  let bytes = 0;
  try {
    for await (const chunk of reply.body) {
      bytes += chunk.length;
      if (bytes > bytesMax) gathering.fail(`the reply is larger than ${bytesMax} bytes`);
      if (gathering.failure !== undefined) return gathering.failure;
      const text = decoder.decode(chunk, { stream: true });
      if (plain) whole += text;
      else parser.feed(text);
    }
  } catch (error) {
    // A connection that breaks after the end of the text has taken nothing away.
    gathering.broken = connectionReason(error);
  }
  if (plain) gathering.event(whole);
  return gathering.result();
}

class Gathering {
  failure: Failure | undefined;
  broken: string | undefined;
  readonly #redact: (text: string) => string;
  readonly #tokensMax: number;
  #text = '';
  #events = 0;
  #chunks = 0;
  #finishReason = '';
  #done = false;
  #usage: unknown;

  constructor(redact: (text: string) => string, tokensMax: number) {
    this.#redact = redact;
    this.#tokensMax = tokensMax;
  }

  fail(reason: string): void {
    this.failure ??= { kind: 'retryable', reason, trouble: 'failing' };
  }

  event(data: string): void {
    if (data === '') return;
    if (data.trim() === '[DONE]') {
      this.#done = true;
      return;
    }
    const json = parseJson(data);
    if (json === undefined) {
      this.fail('the reply is not JSON');
      return;
    }
    this.#events += 1;
    const error = at(json, 'error');
    if (error !== undefined && error !== null) {
      this.failure ??= classifyErrorEvent(json, this.#redact(errorMessage(data)));
      return;
    }
    const piece =
      stringAt(json, 'choices', 0, 'delta', 'content') ??
      stringAt(json, 'choices', 0, 'message', 'content') ??
      stringAt(json, 'choices', 0, 'text');
    if (piece !== undefined && piece !== '') {
      this.#text += piece;
      this.#chunks += 1;
    }
    // Some servers send an empty one with every piece, and again after the real one.
    const finishReason = stringAt(json, 'choices', 0, 'finish_reason');
    if (finishReason !== undefined && finishReason.trim() !== '') this.#finishReason = finishReason;
    this.#usage = at(json, 'usage') ?? this.#usage;
  }

  result(): Generation {
    if (this.failure !== undefined) return this.failure;
    const finishReason = this.#finishReason;
    if (finishReason === '' && !this.#done) {
      const reason = `the stream was cut${this.broken === undefined ? '' : ` (${this.broken})`}`;
      // One that ended in order without a word was no generation.
      const isEmpty = this.broken === undefined && this.#events === 0;
      return { kind: 'retryable', reason, trouble: isEmpty ? 'failing' : 'broke' };
    }
    if (finishOf(finishReason) === 'gave_up')
      return { kind: 'retryable', reason: `the engine gave up: ${finishReason}`, trouble: 'failing' };
    const usage = this.#tokens();
    const atLimit = finishReason === '' && usage.completionTokens >= this.#tokensMax;
    return { kind: 'text', text: this.#text, finishReason: atLimit ? 'length' : finishReason, usage };
  }

  /** A server that does not report usage is counted by its chunks: one token each, as most send them. */
  #tokens(): TokenUsage {
    return {
      promptTokens: numberAt(this.#usage, 'prompt_tokens') ?? 0,
      cachedTokens: numberAt(this.#usage, 'prompt_tokens_details', 'cached_tokens') ?? 0,
      completionTokens: numberAt(this.#usage, 'completion_tokens') ?? this.#chunks,
    };
  }
}
