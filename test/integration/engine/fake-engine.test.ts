// The fake engine as a client of vLLM sees it: plain HTTP, vLLM's shapes.
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { type FakeEngine, type FakePrompts, startFakeEngine } from '../../../services/fake-engine/server.js';

let server: FakeEngine;
beforeAll(async () => {
  server = await startFakeEngine({ instant: true, maxModelLen: 2_000 });
});
afterAll(() => server.close());

const messages = [{ role: 'user', content: '[The Begin of Response 1]\nquality=9\n[The End of Response 1]' }];
const post = (path: string, body: unknown) =>
  fetch(`${server.url}${path}`, { method: 'POST', body: JSON.stringify(body) });

describe('protocol', () => {
  it('lists its model, marked as fake', async () => {
    expect(await (await fetch(`${server.url}/v1/models`)).json()).toMatchObject({
      object: 'list',
      data: [{ id: 'fake-grm', owned_by: 'grm-cluster-fake', max_model_len: 2_000 }],
    });
    expect((await fetch(`${server.url}/health`)).status).toBe(200);
  });

  it('tells the blocks of the prompts that it began, the first ones, where it is asked to', async () => {
    const recording = await startFakeEngine({ instant: true, recordPrompts: 3 });
    try {
      const ask = (prompt: string) =>
        fetch(`${recording.url}/v1/completions`, {
          method: 'POST',
          body: JSON.stringify({ prompt, n: 2, max_tokens: 4 }),
        }).then((reply) => reply.text());
      await ask('q'.repeat(64 * 2 + 4));
      await ask('q'.repeat(64) + 'r'.repeat(64));
      const told = (await (await fetch(`${recording.url}/fake/prompts`)).json()) as FakePrompts;
      expect(told.blockTokens).toBe(16);
      // One lookup for each of the sequences of a request.
      expect(told.prompts.map(({ keys, promptTokens }) => [keys.length, promptTokens])).toEqual([
        [2, 33],
        [2, 33],
        [2, 32],
      ]);
      expect(told.prompts[2]!.keys[0]).toBe(told.prompts[0]!.keys[0]);
      expect(told.prompts[2]!.keys[1]).not.toBe(told.prompts[0]!.keys[1]);
    } finally {
      await recording.close();
    }
    const unasked = (await (await fetch(`${server.url}/fake/prompts`)).json()) as FakePrompts;
    expect(unasked.prompts).toEqual([]);
  });

  it('answers n > 1 as a whole, with child seeds seed + index', async () => {
    const body = { messages, n: 3, seed: 5, temperature: 0.7, max_tokens: 400 };
    const reply = (await (await post('/v1/chat/completions', body)).json()) as {
      choices: { index: number; message: { content: string }; finish_reason: string }[];
      usage: { prompt_tokens: number; completion_tokens: number; total_tokens: number };
    };
    expect(reply.choices.map((choice) => [choice.index, choice.finish_reason])).toEqual(
      [0, 1, 2].map((index) => [index, 'stop']),
    );
    expect(reply.usage.total_tokens).toBe(reply.usage.prompt_tokens + reply.usage.completion_tokens);
    const alone = (await (await post('/v1/chat/completions', { ...body, n: 1, seed: 7 })).json()) as typeof reply;
    expect(alone.choices[0]!.message.content).toBe(reply.choices[2]!.message.content);
  });

  it('streams n > 1 with choices[].index, usage last and [DONE]', async () => {
    const body = {
      prompt: messages[0]!.content,
      n: 2,
      seed: 5,
      max_tokens: 400,
      stream: true,
      stream_options: { include_usage: true },
    };
    const lines = (await (await post('/v1/completions', body)).text()).split('\n\n').filter((line) => line !== '');
    expect(lines.at(-1)).toBe('data: [DONE]');
    const events = lines
      .slice(0, -1)
      .map((line) => JSON.parse(line.slice(6)) as { choices: { index: number; text: string }[]; usage?: object });
    expect(events.at(-1)).toMatchObject({
      choices: [],
      usage: { prompt_tokens_details: { cached_tokens: expect.any(Number) as number } },
    });
    const text = (index: number) =>
      events
        .flatMap((event) => event.choices.filter((choice) => choice.index === index))
        .map((choice) => choice.text)
        .join('');
    expect(text(0)).toMatch(/boxed\{\d+\}$/);
    expect(text(1)).toMatch(/boxed\{\d+\}$/);
    expect(text(0)).not.toBe(text(1));
  });

  it('gives token probabilities in both shapes', async () => {
    const chat = (await (
      await post('/v1/chat/completions', { messages, logprobs: true, top_logprobs: 5, max_tokens: 1 })
    ).json()) as {
      choices: { logprobs: { content: { top_logprobs: unknown[] }[] } }[];
    };
    expect(chat.choices[0]!.logprobs.content[0]!.top_logprobs).toHaveLength(5);
    const plain = (await (await post('/v1/completions', { prompt: 'x', logprobs: 5, max_tokens: 1 })).json()) as {
      choices: { logprobs: { tokens: string[]; top_logprobs: object[] } }[];
    };
    expect(Object.keys(plain.choices[0]!.logprobs.top_logprobs[0]!)).toHaveLength(5);
    const long = (await (
      await post('/v1/completions', { prompt: 'x', logprobs: 1, max_tokens: 40 })
    ).json()) as typeof plain;
    expect(long.choices[0]!.logprobs.tokens).toHaveLength(40);
  });

  it.each([
    ['/v1/chat/completions', { model: 'other', messages }, 404, 'NotFoundError', 'does not exist'],
    [
      '/v1/chat/completions',
      { messages: [{ role: 'user', content: 'x'.repeat(9_000) }] },
      400,
      'BadRequestError',
      'maximum context length is 2000',
    ],
    ['/v1/chat/completions', { messages, priority: 1 }, 400, 'BadRequestError', 'Priority scheduling is not enabled'],
    ['/v1/chat/completions', { messages: 'hello' }, 400, 'BadRequestError', 'messages'],
    ['/v1/completions', { prompt: 'x', max_tokens: 0 }, 400, 'BadRequestError', 'max_tokens'],
    ['/v1/completions', { prompt: 'x', temperature: -1 }, 400, 'BadRequestError', 'temperature'],
    ['/classify', { input: [] }, 400, 'BadRequestError', 'input'],
  ])('refuses as vLLM does: %s %j', async (path, body, status, type, words) => {
    const reply = await post(path, body);
    expect(reply.status).toBe(status);
    const { error } = (await reply.json()) as { error: { message: string; type: string; code: number } };
    expect([error.type, error.code]).toEqual([type, status]);
    expect(error.message).toContain(words);
  });

  it('serves vLLM’s metric names with its labels, all present from the start', async () => {
    const fresh = await startFakeEngine({ instant: true });
    try {
      const text = await (await fetch(`${fresh.url}/metrics`)).text();
      for (const name of [
        'vllm:num_requests_running',
        'vllm:num_requests_waiting',
        'vllm:kv_cache_usage_perc',
        'vllm:prefix_cache_queries_total',
        'vllm:prefix_cache_hits_total',
        'vllm:prompt_tokens_total',
        'vllm:generation_tokens_total',
        'vllm:time_to_first_token_seconds_count',
        'vllm:inter_token_latency_seconds_count',
        'vllm:e2e_request_latency_seconds_count',
        'vllm:request_queue_time_seconds_count',
      ]) {
        expect(text).toContain(`\n${name}{model_name="fake-grm",engine="0"} 0`);
      }
      expect(text).toContain('vllm:request_success_total{model_name="fake-grm",engine="0",finished_reason="length"} 0');
    } finally {
      await fresh.close();
    }
  });

  it('takes faults over HTTP and tells which are left', async () => {
    const planned = await post('/fake/faults', { faults: [{ kind: '500', next: 2 }] });
    expect(await planned.json()).toMatchObject({ faults: [{ kind: '500', next: 2 }] });
    expect((await post('/v1/chat/completions', { messages })).status).toBe(500);
    expect(await (await fetch(`${server.url}/fake/faults`)).json()).toMatchObject({
      faults: [{ kind: '500', next: 1 }],
      fired: { '500': 1 },
    });
    await fetch(`${server.url}/fake/faults`, { method: 'DELETE' });
    expect((await post('/v1/chat/completions', { messages })).status).toBe(200);
    expect((await post('/fake/faults', { faults: [{ kind: 'melt' }] })).status).toBe(400);
  });
});
