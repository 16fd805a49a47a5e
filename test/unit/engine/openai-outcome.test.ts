import { describe, expect, it } from 'vitest';
import { limits } from '../../../src/limits.js';
import { errorMessage } from '../../../src/engine/openai-http.js';
import { classifyReply, parseRetryAfter } from '../../../src/engine/openai-outcome.js';

describe('classifying a failed reply', () => {
  it.each([
    "This model's maximum context length is 8192 tokens. However, you requested 9000 tokens (8000 in the messages, 1000 in the completion).",
    'The decoder prompt (length 9000) is longer than the maximum model length of 8192.',
    "The input (9000 tokens) is longer than the model's context length (8192 tokens).",
    'the request exceeds the available context size, try increasing it',
    "Requested token count exceeds the model's maximum context length of 8192 tokens.",
    'exceed_context_size_error',
  ])('a 400 that says so is context_exceeded: %s', (message) => {
    expect(classifyReply({ status: 400, message })).toMatchObject({ kind: 'terminal', why: 'context_exceeded' });
  });

  it.each([400, 404, 405, 422])('another %d is rejected for good', (status) => {
    expect(classifyReply({ status, message: 'no such model' })).toEqual({
      kind: 'terminal',
      why: 'rejected',
      reason: `HTTP ${status}: no such model`,
    });
  });

  it.each([401, 403])('a %d names the key as the cause and repeats nothing', (status) => {
    const failure = classifyReply({ status, message: 'key sk-123 is unknown' });
    expect(failure).toMatchObject({ kind: 'terminal', why: 'rejected' });
    expect(failure.reason).toContain('API key');
    expect(failure.reason).not.toContain('sk-123');
  });

  it.each([408, 425, 500, 502, 504])('a %d may pass', (status) => {
    expect(classifyReply({ status, message: '' })).toEqual({ kind: 'retryable', reason: `HTTP ${status}` });
  });

  it.each([429, 503])('a %d may pass, and was not taken', (status) => {
    expect(classifyReply({ status, message: '' })).toEqual({
      kind: 'retryable',
      reason: `HTTP ${status}`,
      untaken: true,
    });
  });

  it('takes the delay that the server asks for', () => {
    expect(classifyReply({ status: 429, message: '', retryAfterMs: 1500 })).toMatchObject({ retryAfterMs: 1500 });
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
