// Reads the body of /v1/chat/completions and /v1/completions; what is wrong comes back as the message of a 400.
import { isRecord } from './reply.js';

export interface GenerationRequest {
  readonly chat: boolean;
  readonly model: string;
  /** After the chat template. */
  readonly prompt: string;
  readonly n: number;
  readonly seed: number | undefined;
  readonly temperature: number;
  /** undefined: all that the context holds. */
  readonly maxTokens: number | undefined;
  readonly stop: readonly string[];
  readonly stream: boolean;
  readonly includeUsage: boolean;
  /** Entries per token; undefined: no logprobs wanted. */
  readonly topLogprobs: number | undefined;
  readonly priority: number;
}

const topLogprobsMax = 20;
const samplesMax = 1_024;

export function readGenerationRequest(chat: boolean, body: unknown, defaultModel: string): GenerationRequest | string {
  if (!isRecord(body)) return 'the body must be a JSON object';
  const prompt = chat ? renderChat(body['messages']) : body['prompt'];
  if (typeof prompt !== 'string')
    return chat ? 'messages must be a list of {role, content} with text content' : 'prompt must be a string';

  const temperature = numberOr(body['temperature'], 1);
  if (!(temperature >= 0)) return `temperature must be non-negative, got ${temperature}.`;
  const n = numberOr(body['n'], 1);
  if (!(Number.isInteger(n) && n >= 1 && n <= samplesMax)) return `n must be at least 1, got ${n}.`;
  if (n > 1 && temperature === 0) return `n must be 1 when using greedy sampling, got ${n}.`;
  const maxTokens = body['max_completion_tokens'] ?? body['max_tokens'] ?? (chat ? undefined : 16);
  if (maxTokens !== undefined && !(typeof maxTokens === 'number' && Number.isInteger(maxTokens) && maxTokens >= 1)) {
    return `max_tokens must be at least 1, got ${JSON.stringify(maxTokens)}.`;
  }
  const stop = typeof body['stop'] === 'string' ? [body['stop']] : (body['stop'] ?? []);
  if (!Array.isArray(stop) || !stop.every((word) => typeof word === 'string'))
    return 'stop must be a string or a list of strings';
  const topLogprobs = readTopLogprobs(chat, body);
  if (topLogprobs !== undefined && !(topLogprobs >= 0 && topLogprobs <= topLogprobsMax)) {
    return `Requested sample logprobs of ${topLogprobs}, which is greater than max allowed: ${topLogprobsMax}`;
  }
  const streamOptions = body['stream_options'];
  const seed = body['seed'];
  return {
    chat,
    model: typeof body['model'] === 'string' ? body['model'] : defaultModel,
    prompt,
    n,
    seed: typeof seed === 'number' ? seed : undefined,
    temperature,
    maxTokens,
    stop,
    stream: body['stream'] === true,
    includeUsage: isRecord(streamOptions) && streamOptions['include_usage'] === true,
    topLogprobs,
    priority: numberOr(body['priority'], 0),
  };
}

function readTopLogprobs(chat: boolean, body: Readonly<Record<string, unknown>>): number | undefined {
  if (!chat) return typeof body['logprobs'] === 'number' ? body['logprobs'] : undefined;
  return body['logprobs'] === true ? numberOr(body['top_logprobs'], 0) : undefined;
}

/** The chat template; undefined when the messages are not what a chat is. */
export function renderChat(messages: unknown): string | undefined {
  if (!Array.isArray(messages) || messages.length === 0) return undefined;
  const turns: string[] = [];
  for (const message of messages as unknown[]) {
    if (!isRecord(message) || typeof message['role'] !== 'string') return undefined;
    const text = contentText(message['content']);
    if (text === undefined) return undefined;
    turns.push(`<|${message['role']}|>\n${text}\n`);
  }
  return `${turns.join('')}<|assistant|>\n`;
}

function contentText(content: unknown): string | undefined {
  if (typeof content === 'string') return content;
  if (!Array.isArray(content)) return undefined;
  const parts = (content as unknown[]).map((part) => (isRecord(part) ? part['text'] : undefined));
  return parts.every((part) => typeof part === 'string') ? parts.join('') : undefined;
}

function numberOr(value: unknown, otherwise: number): number {
  return typeof value === 'number' ? value : otherwise;
}
