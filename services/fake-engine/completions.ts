// POST /v1/chat/completions and /v1/completions: judge, schedule, stream.
import { randomUUID } from 'node:crypto';
import type { ServerResponse } from 'node:http';
import { defaultDelayMs, type FaultSpec } from './faults.js';
import { type GenerationRequest, readGenerationRequest } from './generation-request.js';
import { judge } from './judge.js';
import { logprobsShape } from './logprobs.js';
import { metaLogit, yesNoDistribution } from './meta-judge.js';
import type { FakeModel } from './model.js';
import { sendError, sendJson } from './reply.js';
import { countTokens, sliceTokens } from './tokens.js';

interface Output {
  readonly text: string;
  readonly tokens: number;
  readonly reason: 'stop' | 'length';
  readonly logprobs: (from: number, to: number) => unknown;
}

/** A question for one word, with logprobs: that is how the Yes/No meta path asks. */
const yesNoTokensMax = 4;

const garbageText = '%%% lorem \u0000 ipsum \\boxed{ never closed [[ 12 dolor }} sit amet \u2603 '.repeat(6);

/** Share of the output that a truncated generation still gets: the scores come last, so they are lost. */
const truncatedShare = 0.6;

export function complete(
  model: FakeModel,
  chat: boolean,
  body: unknown,
  fault: FaultSpec | undefined,
  res: ServerResponse,
): void {
  const request = readGenerationRequest(chat, body, model.settings.model);
  if (typeof request === 'string') {
    sendError(res, 400, request);
    return;
  }
  if (request.model !== model.settings.model) {
    sendError(res, 404, `The model \`${request.model}\` does not exist.`, { param: 'model' });
    return;
  }
  const promptTokens = countTokens(request.prompt);
  const refusal = refused(model, request, promptTokens);
  if (refusal !== undefined) {
    sendError(res, 400, refusal);
    return;
  }

  const room = request.maxTokens ?? model.settings.maxModelLen - promptTokens;
  const seed = request.seed ?? model.freshSeed();
  const outputs = Array.from({ length: request.n }, (_, index) => outputOf(model, request, seed + index, room, fault));
  const door = request.stream
    ? new StreamedReply(model, request, outputs, res)
    : new WholeReply(model, request, outputs, res);
  const cutAt = fault?.kind === 'cut' ? Math.ceil(outputs[0]!.tokens / 2) : Infinity;
  let cut = false;

  const abort = model.run({
    prompt: request.prompt,
    promptTokens,
    outputs,
    priority: model.settings.priorityScheduling ? request.priority : 0,
    heldMs: fault?.kind === 'hang' ? Infinity : fault?.kind === 'slow' ? (fault.delayMs ?? defaultDelayMs) : 0,
    onTokens(sequence, produced) {
      if (cut) return;
      cut = produced >= cutAt;
      if (cut) door.cut(Math.min(produced, cutAt));
      else door.tokens(sequence, produced);
    },
    onDone({ cachedTokens }) {
      if (!cut) door.done(usageOf(promptTokens, cachedTokens, outputs));
    },
  });
  // A client that goes away takes its sequences with it.
  res.once('close', abort);
}

function refused(model: FakeModel, request: GenerationRequest, promptTokens: number): string | undefined {
  const { maxModelLen, priorityScheduling } = model.settings;
  const completionTokens = request.maxTokens ?? 1;
  if (promptTokens + completionTokens > maxModelLen) {
    return (
      `This model's maximum context length is ${maxModelLen} tokens. However, you requested ${promptTokens + completionTokens} tokens ` +
      `(${promptTokens} in the ${request.chat ? 'messages' : 'prompt'}, ${completionTokens} in the completion). ` +
      `Please reduce the length of the ${request.chat ? 'messages' : 'prompt'} or completion.`
    );
  }
  if (request.priority !== 0 && !priorityScheduling) {
    return `Got priority ${request.priority} but Priority scheduling is not enabled.`;
  }
  return undefined;
}

function outputOf(
  model: FakeModel,
  request: GenerationRequest,
  seed: number,
  room: number,
  fault: FaultSpec | undefined,
): Output {
  const top = request.topLogprobs;
  if (top !== undefined && room <= yesNoTokensMax && fault?.kind !== 'garbage') {
    const distribution = yesNoDistribution(metaLogit(request.prompt, model.settings));
    const text = distribution[0]!.token;
    const listed = [{ token: text, logprob: distribution[0]!.logprob, top: distribution.slice(0, top) }];
    return {
      text,
      tokens: 1,
      reason: 'length',
      logprobs: (from, to) => logprobsShape(request.chat, listed.slice(from, to)),
    };
  }
  const whole =
    fault?.kind === 'garbage'
      ? garbageText
      : judge(request.prompt, { seed, temperature: request.temperature }, model.settings);
  const stopAt = Math.min(...request.stop.map((word) => whole.indexOf(word)).filter((at) => at >= 0), whole.length);
  const stopped = whole.slice(0, stopAt);
  const fullTokens = countTokens(stopped);
  const limit = fault?.kind === 'truncate' ? Math.min(room, Math.floor(fullTokens * truncatedShare)) : room;
  const tokens = Math.min(fullTokens, limit);
  const text = sliceTokens(stopped, 0, tokens);
  const logprobs = (from: number, to: number): unknown => {
    if (top === undefined) return null;
    const listed = Array.from({ length: to - from }, (_, at) => {
      const token = sliceTokens(text, from + at, from + at + 1);
      return { token, logprob: -0.05, top: top > 0 ? [{ token, logprob: -0.05 }] : [] };
    });
    return logprobsShape(request.chat, listed);
  };
  return { text, tokens, reason: tokens < fullTokens ? 'length' : 'stop', logprobs };
}

type Usage = ReturnType<typeof usageOf>;

function usageOf(promptTokens: number, cachedTokens: number, outputs: readonly Output[]) {
  const completionTokens = outputs.reduce((sum, output) => sum + output.tokens, 0);
  return {
    prompt_tokens: promptTokens,
    completion_tokens: completionTokens,
    total_tokens: promptTokens + completionTokens,
    prompt_tokens_details: { cached_tokens: cachedTokens },
  };
}

/** Where tokens go on their way to the client. */
interface Reply {
  tokens(sequence: number, produced: number): void;
  done(usage: Usage): void;
  /** Breaks the connection after `tokens` of the first sequence. */
  cut(tokens: number): void;
}

class WholeReply implements Reply {
  constructor(
    private readonly model: FakeModel,
    private readonly request: GenerationRequest,
    private readonly outputs: readonly Output[],
    private readonly res: ServerResponse,
  ) {}

  tokens(): void {
    // The reply leaves as a whole.
  }

  cut(): void {
    this.res.destroy();
  }

  done(usage: Usage): void {
    const { chat } = this.request;
    const choices = this.outputs.map(({ text, tokens, reason, logprobs }, index) => ({
      index,
      ...(chat ? { message: { role: 'assistant', content: text } } : { text }),
      logprobs: logprobs(0, tokens),
      finish_reason: reason,
      stop_reason: null,
    }));
    sendJson(this.res, 200, { ...envelope(this.model, chat, false), choices, usage });
  }
}

class StreamedReply implements Reply {
  readonly #envelope: Readonly<Record<string, unknown>>;
  readonly #sent: number[];
  #opened = false;

  constructor(
    private readonly model: FakeModel,
    private readonly request: GenerationRequest,
    private readonly outputs: readonly Output[],
    private readonly res: ServerResponse,
  ) {
    this.#envelope = envelope(model, request.chat, true);
    this.#sent = outputs.map(() => 0);
  }

  tokens(sequence: number, produced: number): void {
    const { tokens, reason } = this.outputs[sequence]!;
    const { streamInterval, instant } = this.model.settings;
    const interval = instant ? Math.max(streamInterval, Math.ceil(tokens / 3)) : streamInterval;
    this.#open();
    do {
      const to = Math.min(this.#sent[sequence]! + interval, tokens);
      if (to > produced) return;
      this.#chunk(sequence, to, to === tokens ? reason : null);
    } while (this.#sent[sequence]! < Math.min(produced, tokens));
  }

  cut(tokens: number): void {
    this.#open();
    this.#chunk(0, tokens, null, () => this.res.destroy());
  }

  done(usage: Usage): void {
    this.#open();
    if (this.request.includeUsage) this.#event({ ...this.#envelope, choices: [], usage });
    this.res.end('data: [DONE]\n\n');
  }

  #open(): void {
    if (this.#opened) return;
    this.#opened = true;
    this.res.writeHead(200, { 'content-type': 'text/event-stream; charset=utf-8', 'cache-control': 'no-cache' });
    if (!this.request.chat) return;
    for (let index = 0; index < this.outputs.length; index++) {
      const delta = { role: 'assistant', content: '' };
      this.#event({ ...this.#envelope, choices: [{ index, delta, logprobs: null, finish_reason: null }] });
    }
  }

  #chunk(index: number, to: number, reason: string | null, written?: () => void): void {
    const from = this.#sent[index]!;
    this.#sent[index] = to;
    const { text, logprobs } = this.outputs[index]!;
    const piece = sliceTokens(text, from, to);
    const choice = {
      index,
      ...(this.request.chat ? { delta: { content: piece } } : { text: piece }),
      logprobs: logprobs(from, to),
      finish_reason: reason,
      stop_reason: null,
    };
    this.#event({ ...this.#envelope, choices: [choice] }, written);
  }

  #event(value: unknown, written?: () => void): void {
    this.res.write(`data: ${JSON.stringify(value)}\n\n`, written);
  }
}

function envelope(model: FakeModel, chat: boolean, stream: boolean): Readonly<Record<string, unknown>> {
  return {
    id: `${chat ? 'chatcmpl' : 'cmpl'}-${randomUUID().replaceAll('-', '')}`,
    object: chat ? (stream ? 'chat.completion.chunk' : 'chat.completion') : 'text_completion',
    created: Math.floor(Date.now() / 1000),
    model: model.settings.model,
  };
}
