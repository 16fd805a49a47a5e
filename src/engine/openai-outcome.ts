// Which failures of an OpenAI-compatible server another try can mend, and which none can. Pure.
//
// The protocol has no code for "the prompt does not fit": vLLM, SGLang and llama-server all answer 400 and say so in words of their own, so
// this one distinction is read from the message.
import { limits } from '../limits.js';
import type { Untaken } from './engine.js';

export type Failure =
  | {
      readonly kind: 'retryable';
      readonly reason: string;
      readonly retryAfterMs?: number;
      readonly untaken?: Untaken;
    }
  | { readonly kind: 'terminal'; readonly why: 'context_exceeded' | 'rejected'; readonly reason: string };

export interface FailedReply {
  /** HTTP status, or the code inside an error event of a stream. */
  readonly status: number;
  /** The server's own words, already free of secrets. */
  readonly message: string;
  readonly retryAfterMs?: number | undefined;
}

/** vLLM (three generations), SGLang, llama-server, OpenAI; in this order. */
const contextWords = [
  /maximum context length/i,
  /longer than the maximum model length/i,
  /longer than the model's context length/i,
  /exceeds? the (?:model's )?(?:maximum|available) context/i,
  /exceed_context_size/i,
  /context_length_exceeded/i,
];

/** Statuses below 500 that pass by themselves: time-out, too early, too many requests. */
const passing: ReadonlySet<number> = new Set([408, 425, 429]);
/** The server, or a proxy before it, turned the request away unread. */
const turnedAway: ReadonlySet<number> = new Set([429, 503]);

export function classifyReply({ status, message, retryAfterMs }: FailedReply): Failure {
  const reason = `HTTP ${status}${message === '' ? '' : `: ${message}`}`;
  if (status === 401 || status === 403) {
    return {
      kind: 'terminal',
      why: 'rejected',
      reason: `the engine refused the API key (HTTP ${status}): check the engine's key`,
    };
  }
  if (status === 413) return { kind: 'terminal', why: 'context_exceeded', reason };
  if (status >= 400 && status < 500 && !passing.has(status)) {
    const fits = !contextWords.some((words) => words.test(message));
    return { kind: 'terminal', why: fits ? 'rejected' : 'context_exceeded', reason };
  }
  return {
    kind: 'retryable',
    reason,
    ...(retryAfterMs !== undefined && { retryAfterMs }),
    ...(turnedAway.has(status) && { untaken: true as const }),
  };
}

/** Retry-After as RFC 9110 10.2.3 has it, seconds or a date, in milliseconds from now; never longer than the limit. */
export function parseRetryAfter(value: string | undefined, nowMs: number): number | undefined {
  if (value === undefined || value.trim() === '') return undefined;
  const seconds = Number(value);
  const delayMs = Number.isFinite(seconds) ? seconds * 1000 : Date.parse(value) - nowMs;
  return Number.isNaN(delayMs) ? undefined : Math.min(Math.max(0, delayMs), limits.engineRetryAfterMsMax);
}
