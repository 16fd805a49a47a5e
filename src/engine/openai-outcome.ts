// What a failure of an OpenAI-compatible server says: of the prompt, or of the server. Pure.
//
//   O1. `terminal` only for what the prompt itself causes, as the server says in so many words: it does not fit. Everything else may be the
//       server's or our configuration's fault; a failure carries what it says of the engine, and engine/attribution.ts decides whose it was.
//   O2. A status that no code of this file knows is taken for a failing engine, never for a bad prompt.
//
// The protocol has no code for "the prompt does not fit": vLLM, SGLang and llama-server all answer 400 and say so in words of their own, so
// this one distinction is read from the message.
import { limits } from '../limits.js';
import type { EngineTrouble, Untaken } from './engine.js';
import { at, numberAt, stringAt } from './openai-json.js';

export type Failure =
  | {
      readonly kind: 'retryable';
      readonly reason: string;
      readonly retryAfterMs?: number;
      readonly untaken?: Untaken;
      readonly trouble?: EngineTrouble;
    }
  | { readonly kind: 'terminal'; readonly why: 'context_exceeded' | 'rejected'; readonly reason: string };

export interface FailedReply {
  /** HTTP status, or the code inside an error event of a stream. */
  readonly status: number;
  /** The server's own words, already free of secrets. */
  readonly message: string;
  readonly retryAfterMs?: number | undefined;
  /** Where a redirect leads, without what follows a "?". */
  readonly location?: string | undefined;
}

/** vLLM (four generations), SGLang, llama-server, OpenAI, TGI; in this order. */
const contextWords = [
  /maximum context length/i,
  /longer than the maximum model length/i,
  /longer than the model's context length/i,
  // We never ask for less than one token: only a prompt that is longer than the context leaves less than none.
  /max(?:_completion|_new)?_tokens must be at least 1, got (?:0|-\d+)/i,
  /exceeds? the (?:model's )?(?:maximum|available) context/i,
  /exceed_context_size/i,
  /context_length_exceeded/i,
  /prompt is too long/i,
  /`?inputs`? tokens \+ `?max_new_tokens`? must be/i,
];

/** The engine answers, but not to us, or not there. */
const refusing: ReadonlySet<number> = new Set([
  401, 402, 403, 404, 405, 406, 407, 410, 411, 415, 421, 426, 428, 451, 511,
]);
/** The server, or a limit before it, turned the request away unread. */
const turnedAway: ReadonlySet<number> = new Set([429, 503, 529]);
/** Statuses below 500 that pass by themselves: time-out, conflict, locked, too early, "client closed request" of a gateway. */
const passing: ReadonlySet<number> = new Set([408, 409, 423, 425, 499]);

export function classifyReply(reply: FailedReply): Failure {
  const { status, message, retryAfterMs } = reply;
  const reason = reasonOf(reply);
  const isDoor = status === 401 || status === 403 || status === 407;
  // The words count whatever the status: gateways wrap a 400 into a 500, streams have no status.
  if (status === 413 || (!isDoor && contextWords.some((words) => words.test(message)))) {
    return { kind: 'terminal', why: 'context_exceeded', reason };
  }
  const trouble = troubleOf(status);
  return {
    kind: 'retryable',
    reason,
    trouble,
    ...(retryAfterMs !== undefined && { retryAfterMs }),
    ...(trouble === 'busy' && { untaken: true as const }),
  };
}

function troubleOf(status: number): EngineTrouble {
  if (turnedAway.has(status)) return 'busy';
  if (refusing.has(status) || (status >= 300 && status < 400)) return 'refused';
  if (status >= 400 && status < 500 && !passing.has(status)) return 'unclear';
  // O2.
  return 'failing';
}

function reasonOf({ status, message, location }: FailedReply): string {
  // What such a server says may repeat the key.
  if (status === 401 || status === 403) {
    return `the engine refused the API key (HTTP ${status}): check the engine's key`;
  }
  const said = `HTTP ${status}${message === '' ? '' : `: ${message}`}`;
  if (status < 300 || status >= 400) return said;
  const where = location === undefined ? '' : ` to ${location.slice(0, limits.engineErrorCharsMax)}`;
  return `HTTP ${status}: the address redirects${where}; set base_url to where the engine is`;
}

/**
 * The error inside an event of a stream that had begun with status 200. Its code may be a number (vLLM), a number as text, or a word (OpenAI);
 * without one it counts as 500. The work had been taken, so it is never untaken.
 * @param message the server's words, already free of secrets
 */
export function classifyErrorEvent(json: unknown, message: string): Failure {
  const error = at(json, 'error');
  const word = stringAt(error, 'code') ?? stringAt(error, 'type') ?? stringAt(json, 'type') ?? '';
  const status = statusIn(error) ?? statusIn(json) ?? statusOfWord(word) ?? 500;
  const failure = classifyReply({ status, message: contextWords.some((words) => words.test(word)) ? word : message });
  if (failure.kind === 'terminal') return { ...failure, reason: `HTTP ${status}: ${message}` };
  const { untaken: _, ...taken } = failure;
  return failure.trouble === 'busy' ? { ...taken, trouble: 'failing' } : taken;
}

function statusIn(value: unknown): number | undefined {
  const code = numberAt(value, 'code') ?? numberAt(value, 'status') ?? Number(stringAt(value, 'code') ?? NaN);
  return Number.isInteger(code) && code >= 100 && code < 600 ? code : undefined;
}

/** OpenAI's words for what HTTP has a status for; others say nothing. */
function statusOfWord(word: string): number | undefined {
  if (/rate_limit|quota|overloaded/i.test(word)) return 429;
  if (/authentication|invalid_api_key|permission/i.test(word)) return 401;
  if (/not_found/i.test(word)) return 404;
  if (/invalid_request|bad_?request/i.test(word)) return 400;
  return undefined;
}

/** Reply of status 200 that no engine gives: a page of a gateway or of a sign-in. Undefined: it may be an engine's. */
export function classifyPage(contentType: string): Failure | undefined {
  if (!/html/i.test(contentType)) return undefined;
  const reason = `HTTP 200 with ${contentType.split(';', 1)[0]!.trim()} instead of a generation: is that a sign-in page, and is base_url right?`;
  return { kind: 'retryable', reason, trouble: 'refused' };
}

/** Retry-After as RFC 9110 10.2.3 has it, seconds or a date, in milliseconds from now; never longer than the limit. */
export function parseRetryAfter(value: string | undefined, nowMs: number): number | undefined {
  if (value === undefined || value.trim() === '') return undefined;
  const seconds = Number(value);
  const delayMs = Number.isFinite(seconds) ? seconds * 1000 : Date.parse(value) - nowMs;
  return Number.isNaN(delayMs) ? undefined : Math.min(Math.max(0, delayMs), limits.engineRetryAfterMsMax);
}
