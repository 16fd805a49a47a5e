// The openai engine over real HTTP: against the fake vLLM, and against scripted servers for what no engine should do.
import { afterEach, describe, expect, it } from 'vitest';
import { type FakeEngine, startFakeEngine } from '../../../services/fake-engine/server.js';
import type { FakeEngineOptions } from '../../../services/fake-engine/options.js';
import type { DrawJob, DrawResult, Engine } from '../../../src/engine/engine.js';
import { type OpenAiEngineOptions, openOpenAiEngine } from '../../../src/engine/openai.js';
import { scriptedServer } from '../../support/scripted-server.js';

const cleanups: (() => Promise<void>)[] = [];
afterEach(async () => {
  for (const cleanup of cleanups.splice(0).reverse()) await cleanup();
});

async function fakeServer(options: FakeEngineOptions = {}): Promise<FakeEngine> {
  const server = await startFakeEngine({ instant: true, ...options });
  cleanups.push(() => server.close());
  return server;
}

async function engineAt(baseUrl: string, more: Partial<OpenAiEngineOptions> = {}): Promise<Engine> {
  const engine = await openOpenAiEngine({
    name: 'e',
    baseUrl,
    mode: 'chat',
    slots: 16,
    requestTimeoutMs: 60_000,
    ...more,
  });
  cleanups.push(() => engine.close());
  return engine;
}

function jobOf(more: Partial<DrawJob> & { readonly k?: number } = {}): DrawJob {
  const { k = 1, ...rest } = more;
  const response = (at: number, text: string) => `<<<response ${at} ab12>>>\n${text}\n<<<end of response ${at} ab12>>>`;
  return {
    messages: [
      {
        role: 'user',
        content: `${'Judge with care. '.repeat(40)}\n${response(1, 'quality=8')}\n${response(2, 'quality=3')}`,
      },
    ],
    samples: Array.from({ length: k }, (_, index) => ({ index, seed: 1000 + index })),
    temperature: 0.5,
    topP: 1,
    maxTokens: 512,
    deadlineAtMs: Date.now() + 60_000,
    priority: 0,
    requestId: 'integration',
    ...rest,
  };
}

async function draw(
  engine: Engine,
  job: DrawJob,
  signal: AbortSignal = new AbortController().signal,
): Promise<DrawResult[]> {
  const results: DrawResult[] = [];
  await engine.draw(job, (result) => results.push(result), signal);
  return results.sort((a, b) => a.index - b.index);
}

async function drawOne(engine: Engine, more: Partial<DrawJob> = {}): Promise<DrawResult> {
  const [result] = await draw(engine, jobOf(more));
  return result!;
}

describe('opening', () => {
  it('takes the first model, and knows the fake for what it is', async () => {
    const server = await fakeServer();
    const engine = await engineAt(`${server.url}/v1/`);
    expect([engine.model, engine.fake, engine.description]).toEqual(['fake-grm', true, `openai ${server.url}`]);
    await using real = await scriptedServer((_req, res) => res.writeHead(404).end());
    expect((await engineAt(real.url)).fake).toBe(false);
  });

  it('rejects with a plain reason: no server, another model, a password in the address', async () => {
    const server = await fakeServer();
    await expect(engineAt(server.url, { model: 'other' })).rejects.toThrow(
      'does not serve "other"; it serves fake-grm',
    );
    await server.close();
    await expect(engineAt(server.url)).rejects.toThrow('is the server up');
    const refused = engineAt('http://user:hunter2@127.0.0.1:1');
    await expect(refused).rejects.toThrow('holds a password');
    await expect(refused).rejects.not.toThrow('hunter2');
  });
});

describe('drawing', () => {
  it('N1: streams k samples of one prompt, each reproducible by its seed, and the prefix cache serves k-1 of them', async () => {
    const server = await fakeServer();
    const engine = await engineAt(server.url);
    const first = await draw(engine, jobOf({ k: 8 }));
    expect(first.map((result) => [result.index, result.kind])).toEqual(
      [0, 1, 2, 3, 4, 5, 6, 7].map((index) => [index, 'text']),
    );
    const texts = first.map((result) => (result.kind === 'text' ? result.text : ''));
    expect(texts.every((text) => /Scores: \\boxed\{\d+, \d+\}$/.test(text))).toBe(true);

    const cached = first.map((result) => (result.kind === 'text' ? result.usage.cachedTokens : 0));
    const { promptTokens } = (first[0] as Extract<DrawResult, { kind: 'text' }>).usage;
    expect(cached.filter((tokens) => tokens > 0.8 * promptTokens)).toHaveLength(7);

    const again = await draw(engine, jobOf({ k: 8 }));
    expect(again.map((result) => (result.kind === 'text' ? result.text : ''))).toEqual(texts);

    const gauges = await engine.gauges();
    expect(gauges.prefixQueriesTotal).toBe(16 * promptTokens);
    expect(gauges.prefixHitsTotal).toBe(server.stats().prefixHitsTokens);
    expect(gauges.prefixHitsTotal! / gauges.prefixQueriesTotal!).toBeGreaterThan(0.8);
  });

  it('the accuracy that the fake is set to is the accuracy that comes out', async () => {
    const engine = await engineAt((await fakeServer({ accuracy: 0.8 })).url);
    const results = await draw(engine, jobOf({ k: 400 }));
    const right = results.filter((result) => {
      const [, a, b] = /\\boxed\{(\d+), (\d+)\}/.exec(result.kind === 'text' ? result.text : '') ?? [];
      return Number(a) > Number(b);
    });
    // Standard error 0.02.
    expect(Math.abs(right.length / 400 - 0.8)).toBeLessThan(0.08);
  });

  it('runs no more than its slots at once, and reports what finishes before the rest', async () => {
    const server = await fakeServer({ instant: false, stepBaseMs: 1, stepPerSequenceMs: 0 });
    const engine = await engineAt(server.url, { slots: 2 });
    const running: number[] = [];
    await engine.draw(
      jobOf({ k: 6, maxTokens: 20 }),
      () => running.push(server.stats().running),
      new AbortController().signal,
    );
    expect(running).toHaveLength(6);
    expect(Math.max(...running)).toBeLessThanOrEqual(2);
    expect(server.stats().done).toBe(6);
  });

  it('sends priorities only when the server schedules by them', async () => {
    const plain = await engineAt((await fakeServer()).url);
    expect(await drawOne(plain, { priority: 2 })).toMatchObject({ kind: 'text' });
    const scheduling = await engineAt((await fakeServer({ priorityScheduling: true })).url, {
      priorityScheduling: true,
    });
    expect(await drawOne(scheduling, { priority: 2 })).toMatchObject({ kind: 'text' });
    const wrong = await engineAt((await fakeServer()).url, { priorityScheduling: true });
    expect(await drawOne(wrong, { priority: 2 })).toMatchObject({ kind: 'retryable', trouble: 'unclear' });
  });

  it('ends at a stop text', async () => {
    const engine = await engineAt((await fakeServer()).url, { stop: ['Analysis:'] });
    const result = await drawOne(engine);
    expect(result).toMatchObject({ kind: 'text', finishReason: 'stop' });
    expect(result.kind === 'text' && result.text).not.toContain('Analysis:');
  });
});

describe('faults', () => {
  it('500 and 429 are retryable, the latter with its delay; the next try succeeds', async () => {
    const server = await fakeServer();
    const engine = await engineAt(server.url);
    server.setFaults([
      { kind: '500', next: 1 },
      { kind: '429', next: 1, retryAfterSeconds: 3 },
    ]);
    expect(await drawOne(engine)).toEqual({
      kind: 'retryable',
      index: 0,
      reason: 'HTTP 500: a fault on demand',
      trouble: 'failing',
    });
    expect(await drawOne(engine)).toEqual({
      kind: 'retryable',
      index: 0,
      reason: 'HTTP 429: a fault on demand',
      retryAfterMs: 3000,
      untaken: true,
      trouble: 'busy',
    });
    expect(await drawOne(engine)).toMatchObject({ kind: 'text' });
    expect(server.stats().requests).toBe(3);
  });

  it('a cut stream is retryable and never a text', async () => {
    const server = await fakeServer({ faults: [{ kind: 'cut', next: 1 }] });
    const result = await drawOne(await engineAt(server.url));
    expect(result).toMatchObject({ kind: 'retryable', index: 0 });
    expect(result.kind === 'retryable' && result.reason).toContain('cut');
    expect(server.stats()).toMatchObject({ requests: 1, running: 0 });
  });

  it('garbage and truncation are texts: judging them is the parser’s business', async () => {
    const server = await fakeServer({
      faults: [
        { kind: 'garbage', next: 1 },
        { kind: 'truncate', next: 1 },
      ],
    });
    const engine = await engineAt(server.url);
    const garbage = await drawOne(engine);
    expect(garbage).toMatchObject({ kind: 'text', finishReason: 'stop' });
    expect(garbage.kind === 'text' && garbage.text).toContain('lorem');
    const truncated = await drawOne(engine);
    expect(truncated).toMatchObject({ kind: 'text', finishReason: 'length' });
    expect(truncated.kind === 'text' && truncated.text).not.toContain('boxed');
  });

  it('a slow engine is waited for', async () => {
    const server = await fakeServer({ faults: [{ kind: 'slow', next: 1, delayMs: 150 }] });
    const result = await drawOne(await engineAt(server.url));
    expect(result).toMatchObject({ kind: 'text' });
    expect(server.stats().faultsFired.slow).toBe(1);
  });

  it('N3: a hanging engine is left at the request time-out, or at the deadline, and is free again', async () => {
    const server = await fakeServer({ faults: [{ kind: 'hang', next: 2 }] });
    const hasty = await engineAt(server.url, { requestTimeoutMs: 1_000 });
    const late = await drawOne(hasty);
    expect(late.kind === 'retryable' && late.reason).toContain('time-out');
    const patient = await engineAt(server.url);
    const expired = await drawOne(patient, { deadlineAtMs: Date.now() + 1_000 });
    expect(expired.kind === 'retryable' && expired.reason).toContain('deadline');
    await expect.poll(() => server.stats().running).toBe(0);
    expect(server.stats().aborted).toBe(2);
  });

  it('N2: cancelling drops the running gauge to 0; what waited for a slot is cancelled too', async () => {
    const server = await fakeServer({ faults: [{ kind: 'hang', probability: 1 }] });
    const engine = await engineAt(server.url, { slots: 4 });
    const controller = new AbortController();
    const drawing = draw(engine, jobOf({ k: 6 }), controller.signal);
    await expect.poll(async () => (await engine.gauges()).running).toBe(4);
    controller.abort();
    expect((await drawing).map((result) => result.kind)).toEqual(Array(6).fill('cancelled'));
    await expect.poll(async () => (await engine.gauges()).running).toBe(0);
    expect(server.stats()).toMatchObject({ aborted: 4, requests: 4 });
  });

  it('a prompt that does not fit is context_exceeded; a bad key and a missing model are the engine’s fault', async () => {
    const small = await engineAt((await fakeServer({ maxModelLen: 300 })).url);
    expect(await drawOne(small)).toMatchObject({ kind: 'terminal', why: 'context_exceeded' });

    const locked = await fakeServer({ apiKey: 'right-key' });
    await expect(engineAt(locked.url, { apiKey: 'wrong-key' })).rejects.toThrow('API key');
    expect(await drawOne(await engineAt(locked.url, { apiKey: 'right-key' }))).toMatchObject({ kind: 'text' });

    await using gone = await scriptedServer((_req, res) => {
      res
        .writeHead(404)
        .end('{"error":{"message":"The model `scripted` does not exist.","type":"NotFoundError","code":404}}');
    });
    expect(await drawOne(await engineAt(gone.url))).toMatchObject({ kind: 'retryable', trouble: 'refused' });
  });

  it('a server that is gone is retryable', async () => {
    const server = await fakeServer();
    const engine = await engineAt(server.url);
    await server.close();
    expect(await drawOne(engine)).toEqual({
      kind: 'retryable',
      index: 0,
      reason: 'connection failed: ECONNREFUSED',
      untaken: true,
      trouble: 'away',
    });
    expect(await engine.health(new AbortController().signal)).toMatchObject({ kind: 'failing' });
    expect(await engine.gauges()).toEqual({ running: 0, waiting: 0 });
  });
});

describe('connections', () => {
  const reply = (text: string) =>
    `data: ${JSON.stringify({ choices: [{ index: 0, delta: { content: text }, finish_reason: 'stop' }] })}\n\ndata: [DONE]\n\n`;

  it('H2: a kept-alive connection that the server closed is replaced once, without a failed sample', async () => {
    let posts = 0;
    await using server = await scriptedServer((req, res) => {
      posts += 1;
      // The second request arrives on a connection that the server drops without a byte, as one does whose keep-alive ran out.
      if (posts === 2) req.socket.destroy();
      else res.writeHead(200, { 'content-type': 'text/event-stream' }).end(reply(`number ${posts}`));
    });
    const engine = await engineAt(server.url, { slots: 1 });
    expect(await drawOne(engine)).toMatchObject({ kind: 'text', text: 'number 1' });
    expect(await drawOne(engine)).toMatchObject({ kind: 'text', text: 'number 3' });
    expect(server.seen.filter((line) => line.startsWith('POST'))).toHaveLength(3);
  });

  it('H2: the replacement is not replaced, and a fresh connection that is cut is not tried again', async () => {
    let posts = 0;
    await using server = await scriptedServer((req, res) => {
      posts += 1;
      if (posts === 1) res.writeHead(200, { 'content-type': 'text/event-stream' }).end(reply('first'));
      else req.socket.destroy();
    });
    const engine = await engineAt(server.url, { slots: 1 });
    expect(await drawOne(engine)).toMatchObject({ kind: 'text' });
    expect(await drawOne(engine)).toMatchObject({ kind: 'retryable' });
    expect(posts).toBe(3);

    const fresh = await engineAt(server.url, { slots: 1 });
    expect(await drawOne(fresh)).toMatchObject({ kind: 'retryable' });
    expect(posts).toBe(4);
  });

  it('keeps connections alive between samples', async () => {
    await using server = await scriptedServer((_req, res) => {
      res.writeHead(200, { 'content-type': 'text/event-stream' }).end(reply('ok'));
    });
    const engine = await engineAt(server.url, { slots: 1 });
    for (let at = 0; at < 5; at++) expect(await drawOne(engine)).toMatchObject({ kind: 'text' });
    // One for the list of models, one for the samples.
    expect(server.connections()).toBe(2);
  });

  it('H3: a key that the server repeats stands in no reason', async () => {
    const echo = (key: string) => JSON.stringify({ error: { message: `bad header Bearer ${key}`, code: 400 } });
    await using server = await scriptedServer((req, res) => {
      res.writeHead(400).end(echo((req.headers.authorization ?? '').replace('Bearer ', '')));
    });
    const engine = await engineAt(server.url, { apiKey: 'sk-very-secret' });
    const result = await drawOne(engine);
    expect(result).toMatchObject({ kind: 'retryable', trouble: 'unclear', reason: 'HTTP 400: bad header Bearer ***' });
    expect(engine.description).not.toContain('secret');
  });

  it('takes Retry-After from a 503, and a bad gateway’s page as a reason of one line', async () => {
    let posts = 0;
    await using server = await scriptedServer((_req, res) => {
      posts += 1;
      if (posts === 1) res.writeHead(503, { 'retry-after': '2' }).end();
      else res.writeHead(502).end(`<html>\n${'x'.repeat(100_000)}`);
    });
    const engine = await engineAt(server.url);
    expect(await drawOne(engine)).toEqual({
      kind: 'retryable',
      index: 0,
      reason: 'HTTP 503',
      retryAfterMs: 2000,
      untaken: true,
      trouble: 'busy',
    });
    const page = await drawOne(engine);
    expect(page).toMatchObject({ kind: 'retryable' });
    expect(page.kind === 'retryable' && page.reason.length).toBeLessThan(400);
  });

  it('takes a Retry-After that is a date by the clock of the server that says it', async () => {
    await using server = await scriptedServer((_req, res) => {
      const later = 'Fri, 01 Mar 2019 00:00:12 GMT';
      res.writeHead(429, { date: 'Fri, 01 Mar 2019 00:00:05 GMT', 'retry-after': later }).end();
    });
    expect(await drawOne(await engineAt(server.url))).toMatchObject({ kind: 'retryable', retryAfterMs: 7_000 });
  });

  it('N3: a server that sends headers and then nothing is left at the time-out', async () => {
    await using server = await scriptedServer((_req, res) => {
      res.writeHead(200, { 'content-type': 'text/event-stream' }).flushHeaders();
    });
    const engine = await engineAt(server.url, { requestTimeoutMs: 100 });
    const result = await drawOne(engine);
    expect(result.kind === 'retryable' && result.reason).toContain('time-out');
  });
});

describe('health and gauges', () => {
  it.each<[string, object, object, boolean]>([
    ['vLLM: the same', { id: 'judge', root: '/models/qwen' }, { id: 'judge', root: '/mnt/qwen', created: 9 }, true],
    ['vLLM: another model of that alias', { id: 'judge', root: 'Qwen/7B' }, { id: 'judge', root: 'Qwen/32B' }, false],
    ['vLLM: an adapter on another base', { id: 'judge', parent: 'a' }, { id: 'judge', parent: 'b' }, false],
    ['another name', { id: 'judge' }, { id: 'other' }, false],
    [
      'llama-server: another file',
      { id: 'a.gguf', owned_by: 'llamacpp' },
      { id: 'b.gguf', owned_by: 'llamacpp' },
      false,
    ],
    [
      'llama-server: another file under its alias',
      { id: 'judge', owned_by: 'llamacpp', meta: { size: 1, n_params: 2 } },
      { id: 'judge', owned_by: 'llamacpp', meta: { size: 3, n_params: 2 } },
      false,
    ],
    ['a real model in place of the fake one', { id: 'x', owned_by: 'grm-cluster-fake' }, { id: 'x' }, false],
  ])('a server that was started anew with another model is not healthy: %s', async (_what, before, after, healthy) => {
    let entry = before;
    const server = await scriptedServer(
      (req, res) => {
        res.writeHead(200, { 'content-type': 'application/json' });
        res.end(req.url === '/v1/models' ? JSON.stringify({ data: [entry] }) : '{}');
      },
      { answersAll: true },
    );
    cleanups.push(async () => server[Symbol.asyncDispose]());
    const never = new AbortController().signal;
    const engine = await engineAt(server.url);
    expect(await engine.health(never)).toEqual({ kind: 'ok' });
    entry = after;
    expect((await engine.health(never)).kind).toBe(healthy ? 'ok' : 'failing');
    // Opened anew it is another judge, or the same.
    const told = ({ model, fake, traits }: Engine): string => JSON.stringify([model, fake, traits]);
    expect(told(await engineAt(server.url)) === told(engine)).toBe(healthy);
  });

  it('health falls back to the list of models, and says what fails', async () => {
    await using server = await scriptedServer((_req, res) => res.writeHead(404).end());
    const engine = await engineAt(server.url);
    expect(await engine.health(new AbortController().signal)).toEqual({ kind: 'ok' });
    // The last one looks whether it is still the same model.
    expect(server.seen.slice(-3)).toEqual(['GET /health', 'GET /v1/models', 'GET /v1/models']);

    await using loading = await scriptedServer((_req, res) =>
      res.writeHead(503).end('{"error":{"message":"Loading model"}}'),
    );
    const health = await (await engineAt(loading.url)).health(new AbortController().signal);
    expect(health).toEqual({ kind: 'failing', reason: 'HTTP 503: Loading model' });
  });

  it('without metrics the gauges are our own counts', async () => {
    await using server = await scriptedServer((req, res) => {
      if (req.method === 'GET') res.writeHead(404).end();
    });
    const engine = await engineAt(server.url, { slots: 2 });
    const controller = new AbortController();
    const drawing = draw(engine, jobOf({ k: 5 }), controller.signal);
    expect(await engine.gauges()).toEqual({ running: 2, waiting: 3 });
    controller.abort();
    await drawing;
    expect(await engine.gauges()).toEqual({ running: 0, waiting: 0 });
  });
});
