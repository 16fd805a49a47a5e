// A guarded engine over real HTTP: whose fault a failure is, and what the engine says of itself.
import { afterEach, describe, expect, it } from 'vitest';
import type { DrawJob, DrawResult, Engine, MetaEngine, RankJob } from '../../../src/engine/engine.js';
import { guardEngine, guardMetaEngine } from '../../../src/engine/guarded.js';
import { openMetaEngine } from '../../../src/engine/meta.js';
import { openOpenAiEngine, type OpenAiEngineOptions } from '../../../src/engine/openai.js';
import { limits } from '../../../src/limits.js';
import { Events, type EventMap } from '../../../src/observe/events.js';
import { scriptedServer, type Script } from '../../support/scripted-server.js';

const cleanups: (() => Promise<void>)[] = [];
afterEach(async () => {
  for (const cleanup of cleanups.splice(0).reverse()) await cleanup();
});

interface Asked {
  readonly messages: readonly { readonly role: string; readonly content: string }[];
  readonly max_tokens: number;
  readonly temperature: number;
}
/** What the server does with one generation. */
type Answer = 'text' | 'reset' | 'hang' | 'empty' | 'page' | { readonly status: number; readonly message?: string };

interface Setting {
  readonly engine: Engine;
  /** Bodies of the generations, in the order in which they came. */
  readonly asked: Asked[];
  /** Those of them that were work. */
  work(): Asked[];
  readonly told: EventMap['engine.service'][];
}

function reply(res: Parameters<Script>[1], answer: Answer): void {
  if (answer === 'hang') return;
  if (answer === 'reset') res.socket?.destroy();
  else if (answer === 'empty') res.writeHead(200, { 'content-type': 'text/event-stream' }).end();
  else if (answer === 'page') res.writeHead(200, { 'content-type': 'text/html' }).end('<html>Please sign in</html>');
  else if (answer === 'text') {
    const chunk = { choices: [{ index: 0, delta: { content: 'Scores: \\boxed{8, 3}' }, finish_reason: 'stop' }] };
    const body = `data: ${JSON.stringify(chunk)}\n\ndata: [DONE]\n\n`;
    res.writeHead(200, { 'content-type': 'text/event-stream' }).end(body);
  } else res.writeHead(answer.status).end(JSON.stringify({ error: { message: answer.message ?? 'no' } }));
}

const isProbe = (asked: Asked): boolean => asked.max_tokens === 1;

async function engineThat(
  answer: (asked: Asked, number: number) => Answer,
  more: Partial<OpenAiEngineOptions> = {},
): Promise<Setting> {
  const asked: Asked[] = [];
  const server = await scriptedServer((req, res, body) => {
    if (req.method !== 'POST') return void res.writeHead(404).end();
    const parsed = JSON.parse(body) as Asked;
    asked.push(parsed);
    reply(res, answer(parsed, asked.length));
  });
  const events = new Events();
  const told: EventMap['engine.service'][] = [];
  events.on('engine.service', (event) => void told.push(event));
  const options = {
    name: 'e',
    baseUrl: server.url,
    mode: 'chat',
    slots: 8,
    requestTimeoutMs: 60_000,
    ...more,
  } as const;
  const engine = guardEngine(await openOpenAiEngine(options), { events, random: () => 0 });
  cleanups.push(
    async () => server[Symbol.asyncDispose](),
    () => engine.close(),
  );
  return { engine, asked, work: () => asked.filter((each) => !isProbe(each)), told };
}

function jobOf(more: Partial<DrawJob> & { readonly k?: number } = {}): DrawJob {
  const { k = 1, ...rest } = more;
  return {
    messages: [
      { role: 'system', content: 'You judge.' },
      { role: 'user', content: 'Which one?' },
    ],
    samples: Array.from({ length: k }, (_, index) => ({ index, seed: index })),
    temperature: 0.5,
    topP: 1,
    maxTokens: 64,
    deadlineAtMs: Date.now() + 60_000,
    priority: 0,
    requestId: 'r',
    ...rest,
  };
}

async function draw(engine: Engine, job = jobOf(), signal = new AbortController().signal): Promise<DrawResult[]> {
  const results: DrawResult[] = [];
  await engine.draw(job, (result) => results.push(result), signal);
  return results;
}

const untaken = { kind: 'retryable', untaken: true };

describe('T2: an engine whose probe fails as well is out of service with its reason, and its work is untaken', () => {
  it.each<[string, Answer, Partial<EventMap['engine.service']>]>([
    ['a wrong key', { status: 401 }, { cause: 'refused', reason: expect.stringContaining('API key') as string }],
    ['a forbidden one', { status: 403 }, { cause: 'refused' }],
    ['no such model', { status: 404, message: 'no such model' }, { reason: 'HTTP 404: no such model' }],
    ['a method that is not allowed', { status: 405 }, { cause: 'refused' }],
    ['a redirect', { status: 308 }, { cause: 'refused' }],
    ['a sign-in page', 'page', { cause: 'refused', reason: expect.stringContaining('sign-in') as string }],
    ['a bad gateway', { status: 502 }, { cause: 'failing' }],
    ['an overloaded server', { status: 500 }, { cause: 'failing' }],
    ['a gateway without an answer in time', { status: 504 }, { cause: 'failing' }],
    ['a request time-out', { status: 408 }, { cause: 'failing' }],
    ['an empty reply', 'empty', { cause: 'failing' }],
    ['a gateway that resets every connection', 'reset', { cause: 'broke' }],
    [
      'a parameter that the model does not know',
      { status: 400, message: "Unsupported parameter: 'max_tokens'" },
      { cause: 'unclear', reason: "HTTP 400: Unsupported parameter: 'max_tokens'" },
    ],
    ['a role that it does not know', { status: 400, message: 'System role not supported' }, { cause: 'unclear' }],
    ['a body that it cannot read', { status: 422 }, { cause: 'unclear' }],
  ])('%s', async (_, answer, told) => {
    const s = await engineThat(() => answer);
    const results = await draw(s.engine, jobOf({ k: 4 }));
    expect(results).toHaveLength(4);
    for (const result of results) expect(result).toMatchObject(untaken);
    expect(s.told).toMatchObject([{ engine: 'e', state: 'out', ...told }]);
    expect(s.engine.outOfService?.()?.reason).toBe(s.told[0]?.reason);
    // One for the list of models is none of them. Four samples and one probe, which asks for one token in the same roles.
    expect(s.work()).toHaveLength(4);
    const probes = s.asked.filter(isProbe);
    expect(probes.length).toBeLessThanOrEqual(2);
    expect(probes[0]?.messages.map(({ role }) => role)).toEqual(['system', 'user']);
    expect(probes[0]?.temperature).toBe(0.5);
  });

  it('T4: it is probed until it serves again', async () => {
    let broken = true;
    const s = await engineThat(() => (broken ? { status: 502 } : 'text'));
    expect(await draw(s.engine)).toMatchObject([untaken]);
    broken = false;
    await expect.poll(() => s.engine.outOfService?.(), { timeout: 10_000 }).toBeUndefined();
    expect(s.told.map(({ state }) => state)).toEqual(['out', 'back']);
    expect(await draw(s.engine)).toMatchObject([{ kind: 'text' }]);
    expect(s.work()).toHaveLength(2);
  });

  it('T4: a closed one is probed no more', async () => {
    const s = await engineThat(() => ({ status: 401 }));
    await draw(s.engine);
    await s.engine.close();
    const { length } = s.asked;
    await new Promise((resolve) => setTimeout(resolve, 2 * limits.breakerWaitMsMin));
    expect(s.asked).toHaveLength(length);
  });

  it('one that is away is out of service, and so is one that asks for patience three times', async () => {
    const away = await engineThat(() => 'text');
    await cleanups.splice(-2, 1)[0]!();
    expect(await draw(away.engine)).toMatchObject([untaken]);
    expect(away.told).toMatchObject([{ cause: 'away', reason: 'connection failed: ECONNREFUSED' }]);

    const busy = await engineThat(() => ({ status: 429 }));
    expect(await draw(busy.engine, jobOf({ k: 2 }))).toMatchObject([untaken, untaken]);
    expect(busy.told).toEqual([]);
    expect(await draw(busy.engine)).toMatchObject([untaken]);
    expect(busy.told).toMatchObject([{ cause: 'busy' }]);
  });
});

describe('T1: where a probe passes, the work is at fault', () => {
  it('U1: a prompt that is rejected twice is terminal', async () => {
    const s = await engineThat((asked) => (isProbe(asked) ? 'text' : { status: 400, message: 'content filter' }));
    expect(await draw(s.engine)).toEqual([
      { kind: 'terminal', index: 0, why: 'rejected', reason: 'HTTP 400: content filter' },
    ]);
    expect(s.work()).toHaveLength(2);
    expect(s.told).toEqual([]);
  });

  it.each<Answer>([{ status: 400 }, { status: 502 }, { status: 404 }, 'empty'])(
    'U1: a gateway that had a bad moment costs no sample: %j',
    async (answer) => {
      const s = await engineThat((_, number) => (number === 1 ? answer : 'text'));
      expect(await draw(s.engine)).toMatchObject([{ kind: 'text' }]);
      expect(s.told).toEqual([]);
    },
  );

  it.each<[string, Answer]>([
    ['a 500', { status: 500 }],
    ['a 403 of a firewall that does not like the prompt', { status: 403 }],
    ['a 404', { status: 404 }],
    ['a connection that breaks', 'reset'],
    ['an empty reply', 'empty'],
  ])('%s counts as a try, and is not the last word', async (_, answer) => {
    const s = await engineThat((asked) => (isProbe(asked) ? 'text' : answer));
    const [result] = await draw(s.engine);
    expect(result?.kind).toBe('retryable');
    expect(result).not.toHaveProperty('untaken');
    expect(s.told).toEqual([]);
    // P5: what may have killed an engine is not put to it again at once.
    expect(s.work()).toHaveLength(answer === 'reset' ? 1 : 2);
  });

  it('T2: what a caller’s own settings cause takes nothing from the others', async () => {
    const s = await engineThat(({ temperature }) => (temperature === 2 ? { status: 400, message: 'too hot' } : 'text'));
    expect(await draw(s.engine)).toMatchObject([{ kind: 'text' }]);
    expect(await draw(s.engine, jobOf({ temperature: 2 }))).toMatchObject([{ kind: 'terminal', why: 'rejected' }]);
    expect(s.told).toEqual([]);
    expect(await draw(s.engine)).toMatchObject([{ kind: 'text' }]);
  });

  it('a prompt that does not fit is told at once, without a probe', async () => {
    const message = 'max_tokens must be at least 1, got -186.';
    const s = await engineThat(() => ({ status: 400, message }));
    expect(await draw(s.engine)).toMatchObject([{ kind: 'terminal', why: 'context_exceeded' }]);
    expect(s.asked).toHaveLength(1);
  });
});

describe('T3 (P5): a connection that breaks, with nobody there afterwards, counts', () => {
  it('once, and the engine is out of service', async () => {
    const holder: { stop?: () => Promise<void> } = {};
    const s = await engineThat(() => {
      void holder.stop?.();
      return 'reset';
    });
    holder.stop = cleanups.splice(-2, 1)[0]!;
    const [result] = await draw(s.engine);
    expect(result?.kind).toBe('retryable');
    expect(result).not.toHaveProperty('untaken');
    expect(s.told).toMatchObject([{ state: 'out', cause: 'away' }]);
  });
});

it('U2: a sample whose failure is looked into is cancelled with its draw, and its deadline bounds the look', async () => {
  const s = await engineThat((asked) => (isProbe(asked) ? 'hang' : { status: 500 }));
  const cancelled = new AbortController();
  const drawing = draw(s.engine, jobOf(), cancelled.signal);
  await expect.poll(() => s.asked.some(isProbe)).toBe(true);
  cancelled.abort();
  expect(await drawing).toEqual([{ kind: 'cancelled', index: 0 }]);
  expect(await draw(s.engine, jobOf({ deadlineAtMs: Date.now() + 300 }))).toMatchObject([{ kind: 'retryable' }]);
});

describe('a meta engine', () => {
  async function metaThat(answer: (text: string) => { readonly status: number; readonly body?: unknown }) {
    const server = await scriptedServer((req, res, body) => {
      if (req.method !== 'POST') return void res.writeHead(404).end();
      const { status, body: json } = answer((JSON.parse(body) as { input: string }).input);
      res.writeHead(status, { 'content-type': 'application/json' }).end(JSON.stringify(json ?? { error: 'no' }));
    });
    const events = new Events();
    const told: EventMap['engine.service'][] = [];
    events.on('engine.service', (event) => void told.push(event));
    const opened = await openMetaEngine({
      name: 'm',
      kind: 'vllm_classify',
      baseUrl: server.url,
      slots: 4,
      requestTimeoutMs: 60_000,
    });
    const engine: MetaEngine = guardMetaEngine(opened, { events, random: () => 0 });
    cleanups.push(
      async () => server[Symbol.asyncDispose](),
      () => engine.close(),
    );
    return { engine, told };
  }
  const job = (text: string): RankJob => ({
    messages: [{ role: 'user', content: text }],
    text,
    deadlineAtMs: Date.now() + 60_000,
    requestId: 'r',
  });
  const never = new AbortController().signal;
  const ranked = { data: [{ probs: [-1.5] }] };
  const unreadable = { data: [{ probs: [] }] };

  it.each([
    ['a wrong key', { status: 401 }],
    ['a bad gateway', { status: 502 }],
    ['a reply without scores, whatever is asked', { status: 200, body: unreadable }],
  ])('%s: out of service, untaken', async (_, answer) => {
    const m = await metaThat(() => answer);
    expect(await m.engine.rank(job('x'), never)).toMatchObject(untaken);
    expect(m.told).toMatchObject([{ engine: 'm', state: 'out' }]);
    expect(m.engine.outOfService?.()).toBeDefined();
  });

  it('U1: one text that it cannot rank is terminal, and no number (P7)', async () => {
    const m = await metaThat((text) =>
      text === 'odd' ? { status: 200, body: unreadable } : { status: 200, body: ranked },
    );
    expect(await m.engine.rank(job('odd'), never)).toMatchObject({ kind: 'terminal' });
    expect(await m.engine.rank(job('x'), never)).toEqual({ kind: 'logit', metaReward: -1.5 });
    expect(m.told).toEqual([]);
  });
});
