import { describe, expect, it } from 'vitest';
import type { DrawJob } from '../../../src/engine/engine.js';
import { engineRequestId, requestBody, type RequestOptions } from '../../../src/engine/openai-request.js';

const job: DrawJob = {
  messages: [
    { role: 'system', content: 'Be a judge.' },
    { role: 'user', content: 'Judge.' },
  ],
  samples: [{ index: 2, seed: 77 }],
  temperature: 0.5,
  topP: 0.95,
  maxTokens: 100,
  deadlineAtMs: 0,
  priority: 3,
  requestId: 'r',
};
const options: RequestOptions = { mode: 'chat', model: 'm', stop: [], priorityScheduling: false, extraBody: {} };

describe('a sample’s request', () => {
  it('is one streamed choice with its own seed', () => {
    expect(requestBody(job, job.samples[0]!, options)).toEqual({
      model: 'm',
      messages: job.messages,
      n: 1,
      seed: 77,
      temperature: 0.5,
      top_p: 0.95,
      max_tokens: 100,
      stream: true,
      stream_options: { include_usage: true },
    });
  });

  it('carries a priority and stops only when told, and extra fields that cannot replace ours', () => {
    const body = requestBody(job, job.samples[0]!, {
      ...options,
      mode: 'completions',
      stop: ['[End'],
      priorityScheduling: true,
      extraBody: { seed: 1, stream: false, top_k: 5 },
    });
    expect(body).toMatchObject({ seed: 77, stream: true, top_k: 5, priority: 3, stop: ['[End'] });
    expect(body['prompt']).toBe('Be a judge.\n\nJudge.');
    expect(body).not.toHaveProperty('messages');
  });

  it('has an id that a header can carry', () => {
    expect(engineRequestId('re quest\r\nX: é', 4, 'abcd')).toBe('re_quest__X:__-4-abcd'.replace(':', '_'));
    expect(engineRequestId('x'.repeat(500), 0, 'n').length).toBeLessThan(128);
  });
});
