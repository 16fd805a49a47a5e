import { describe, expect, it } from 'vitest';
import { limits } from '../../../src/limits.js';
import { errorMessage } from '../../../src/engine/openai-http.js';
import {
  classifyErrorEvent,
  classifyPage,
  classifyReply,
  parseRetryAfter,
} from '../../../src/engine/openai-outcome.js';

describe('classifying a failed reply', () => {
  it.each([
    "This model's maximum context length is 8192 tokens. However, you requested 9000 tokens (8000 in the messages, 1000 in the completion).",
    'The decoder prompt (length 9000) is longer than the maximum model length of 8192.',
    "The input (9000 tokens) is longer than the model's context length (8192 tokens).",
    'the request exceeds the available context size, try increasing it',
    "Requested token count exceeds the model's maximum context length of 8192 tokens.",
    'exceed_context_size_error',
    'max_tokens must be at least 1, got -186.',
    'max_completion_tokens must be at least 1, got 0.',
  ])('a 400 that says so is context_exceeded: %s', (message) => {
    expect(classifyReply({ status: 400, message })).toMatchObject({ kind: 'terminal', why: 'context_exceeded' });
  });

  it.each([
    [400, 'unclear'],
    [412, 'unclear'],
    [422, 'unclear'],
    [401, 'refused'],
    [402, 'refused'],
    [403, 'refused'],
    [404, 'refused'],
    [405, 'refused'],
    [407, 'refused'],
    [410, 'refused'],
    [421, 'refused'],
    [426, 'refused'],
    [451, 'refused'],
    [301, 'refused'],
    [307, 'refused'],
    [308, 'refused'],
    [429, 'busy'],
    [503, 'busy'],
    [529, 'busy'],
    [408, 'failing'],
    [409, 'failing'],
    [423, 'failing'],
    [425, 'failing'],
    [499, 'failing'],
    [500, 'failing'],
    [502, 'failing'],
    [504, 'failing'],
    [520, 'failing'],
    [599, 'failing'],
    [100, 'failing'],
  ] as const)('O1 O2: a %d is never the prompt’s fault by itself: %s', (status, trouble) => {
    const failure = classifyReply({ status, message: 'no such model' });
    expect(failure).toMatchObject({ kind: 'retryable', trouble });
    expect('untaken' in failure).toBe(trouble === 'busy');
    expect(failure.reason).toContain(`HTTP ${status}`);
  });

  it.each([401, 403])('a %d names the key as the cause and repeats nothing', (status) => {
    const failure = classifyReply({ status, message: 'key sk-123 is unknown' });
    expect(failure.reason).toContain('API key');
    expect(failure.reason).not.toContain('sk-123');
  });

  it('a redirect says where to, and what to do', () => {
    const location = 'https://engine.example/v1/chat/completions';
    const { reason } = classifyReply({ status: 308, message: '', location });
    expect(reason).toBe(`HTTP 308: the address redirects to ${location}; set base_url to where the engine is`);
  });

  it.each([500, 502, 400, 422, 200])('O1: words that name the context count under a status of %d', (status) => {
    const message = "This model's maximum context length is 4096 tokens. However, your messages resulted in 6009.";
    expect(classifyReply({ status, message })).toMatchObject({ kind: 'terminal', why: 'context_exceeded' });
    expect(classifyReply({ status: 401, message })).toMatchObject({ trouble: 'refused' });
  });

  it('a page is no generation, whatever its status', () => {
    expect(classifyPage('text/html; charset=utf-8')).toMatchObject({ kind: 'retryable', trouble: 'refused' });
    expect(classifyPage('text/event-stream')).toBeUndefined();
    expect(classifyPage('application/json')).toBeUndefined();
    expect(classifyPage('')).toBeUndefined();
  });

  it('takes the delay that the server asks for', () => {
    expect(classifyReply({ status: 429, message: '', retryAfterMs: 1500 })).toMatchObject({ retryAfterMs: 1500 });
  });
});

describe('an error inside a stream', () => {
  const event = (error: Record<string, unknown>) => {
    const json = { error };
    return classifyErrorEvent(json, errorMessage(JSON.stringify(json)));
  };

  it('has its code as a number, as text, as a word, or none', () => {
    expect(event({ message: 'm', code: 404 })).toMatchObject({ kind: 'retryable', trouble: 'refused' });
    expect(event({ message: 'm', code: '401' })).toMatchObject({ trouble: 'refused' });
    expect(event({ message: 'm', code: 'invalid_api_key' })).toMatchObject({ trouble: 'refused' });
    expect(event({ message: 'm', type: 'invalid_request_error', code: null })).toMatchObject({ trouble: 'unclear' });
    expect(event({ message: 'm', type: 'server_error' })).toMatchObject({ trouble: 'failing' });
    expect(event({ message: 'm' })).toMatchObject({ trouble: 'failing', reason: 'HTTP 500: m' });
  });

  it('says of a prompt that does not fit what a reply would', () => {
    const message =
      "This model's maximum context length is 4096 tokens. However, your messages resulted in 6009 tokens.";
    const long = { kind: 'terminal', why: 'context_exceeded' };
    expect(event({ message, type: 'invalid_request_error', code: 'context_length_exceeded' })).toMatchObject(long);
    expect(event({ message: 'too long', code: 'context_length_exceeded' })).toMatchObject(long);
  });

  it('was taken: it is neither busy nor untaken', () => {
    expect(event({ message: 'm', code: 503 })).toEqual({
      kind: 'retryable',
      reason: 'HTTP 503: m',
      trouble: 'failing',
    });
  });
});

describe('Retry-After', () => {
  const nowMs = Date.parse('2025-01-01T00:00:00Z');
  it('is seconds or a date, never negative and never beyond the limit', () => {
    expect(parseRetryAfter('2', nowMs)).toBe(2_000);
    expect(parseRetryAfter('0.5', nowMs)).toBe(500);
    expect(parseRetryAfter('Wed, 01 Jan 2025 00:00:30 GMT', nowMs)).toBe(30_000);
    expect(parseRetryAfter('Wed, 01 Jan 2020 00:00:30 GMT', nowMs)).toBe(0);
    expect(parseRetryAfter('999999999', nowMs)).toBe(limits.engineRetryAfterMsMax);
    expect(parseRetryAfter('soon', nowMs)).toBeUndefined();
    expect(parseRetryAfter('', nowMs)).toBeUndefined();
    expect(parseRetryAfter(undefined, nowMs)).toBeUndefined();
  });
});

describe('an error body', () => {
  it('gives its message in every server’s shape', () => {
    expect(errorMessage('{"error":{"message":"new vLLM","code":400}}')).toBe('new vLLM');
    expect(errorMessage('{"object":"error","message":"old vLLM","code":400}')).toBe('old vLLM');
    expect(errorMessage('{"error":"Unauthorized"}')).toBe('Unauthorized');
    expect(errorMessage('{"detail":"Not Found"}')).toBe('Not Found');
    expect(errorMessage('<html>\n bad  gateway </html>')).toBe('<html> bad gateway </html>');
    expect(errorMessage('x'.repeat(10_000))).toHaveLength(limits.engineErrorCharsMax);
  });
});
