// The meta engine over real HTTP: every kind of head, against the fake vLLM and SGLang.
import { afterEach, describe, expect, it } from 'vitest';
import { renderChat } from '../../../services/fake-engine/generation-request.js';
import { metaLogit } from '../../../services/fake-engine/meta-judge.js';
import { type FakeEngine, startFakeEngine } from '../../../services/fake-engine/server.js';
import type { FakeEngineOptions } from '../../../services/fake-engine/options.js';
import type { MetaEngine, RankJob, RankResult } from '../../../src/engine/engine.js';
import { type MetaEngineOptions, openMetaEngine } from '../../../src/engine/meta.js';
import { type MetaKind, metaKinds } from '../../../src/engine/meta-heads.js';
import { scriptedServer } from '../../support/scripted-server.js';

const cleanups: (() => Promise<void>)[] = [];
afterEach(async () => {
  for (const cleanup of cleanups.splice(0).reverse()) await cleanup();
});

async function fakeServer(kind: MetaKind, options: FakeEngineOptions = {}): Promise<FakeEngine> {
  const classifyShape = kind === 'sglang_classify' ? 'sglang' : 'vllm';
  const server = await startFakeEngine({ instant: true, classifyShape, metaAccuracy: 1, ...options });
  cleanups.push(() => server.close());
  return server;
}

async function metaAt(kind: MetaKind, baseUrl: string, more: Partial<MetaEngineOptions> = {}): Promise<MetaEngine> {
  const engine = await openMetaEngine({ name: 'm', kind, baseUrl, slots: 8, requestTimeoutMs: 60_000, ...more });
  cleanups.push(() => engine.close());
  return engine;
}

function jobOf(scores: string, more: Partial<RankJob> = {}): RankJob {
  const response = (at: number, text: string) => `<<<response ${at} ab12>>>\n${text}\n<<<end of response ${at} ab12>>>`;
  const text = `Query: which?\n${response(1, 'quality=8')}\n${response(2, 'quality=3')}\nCritique: ...\nScores: \\boxed{${scores}}`;
  return {
    messages: [{ role: 'user', content: text }],
    text,
    deadlineAtMs: Date.now() + 60_000,
    requestId: 'r',
    ...more,
  };
}

const never = new AbortController().signal;
const rewardOf = (result: RankResult) => {
  if (result.kind !== 'logit') throw new Error(JSON.stringify(result));
  return result.metaReward;
};

describe.each(metaKinds)('%s', (kind) => {
  it('passes the self-test and ranks a right critique above a wrong one, as raw logits', async () => {
    const server = await fakeServer(kind);
    const engine = await metaAt(kind, server.url);
    expect([engine.model, engine.fake, engine.description]).toEqual(['fake-grm', true, `${kind} ${server.url}`]);
    expect(await engine.selfTest(never)).toEqual({ kind: 'ok' });
    expect(rewardOf(await engine.rank(jobOf('8, 3'), never))).toBeGreaterThan(2);
    expect(rewardOf(await engine.rank(jobOf('3, 8'), never))).toBeLessThan(-2);
    expect(await engine.health(never)).toEqual({ kind: 'ok' });
    expect((await engine.gauges()).running).toBe(0);
  });

  it('classifies faults: 500, 429 with its delay, a cut connection, a reply that is not JSON', async () => {
    const server = await fakeServer(kind);
    const engine = await metaAt(kind, server.url);
    server.setFaults([
      { kind: '500', next: 1 },
      { kind: '429', next: 1, retryAfterSeconds: 2 },
      { kind: 'cut', next: 1 },
    ]);
    expect(await engine.rank(jobOf('8, 3'), never)).toEqual({
      kind: 'retryable',
      reason: 'HTTP 500: a fault on demand',
      trouble: 'failing',
    });
    expect(await engine.rank(jobOf('8, 3'), never)).toMatchObject({ kind: 'retryable', retryAfterMs: 2000 });
    server.setFaults([{ kind: 'cut', probability: 1 }]);
    expect(await engine.rank(jobOf('8, 3'), never)).toMatchObject({ kind: 'retryable' });
    server.setFaults([{ kind: 'garbage', next: 1 }]);
    // M2: whatever the garbage is, it is no logit.
    expect((await engine.rank(jobOf('8, 3'), never)).kind).not.toBe('logit');
    expect(await engine.rank(jobOf('8, 3'), never)).toMatchObject({ kind: 'logit' });
  });

  it('M1: is cancelled by its signal, and left at the deadline; the server is free again', async () => {
    const server = await fakeServer(kind, { faults: [{ kind: 'hang', probability: 1 }] });
    const engine = await metaAt(kind, server.url);
    const controller = new AbortController();
    const ranking = engine.rank(jobOf('8, 3'), controller.signal);
    await expect.poll(async () => (await engine.gauges()).running).toBe(1);
    controller.abort();
    expect(await ranking).toEqual({ kind: 'cancelled' });
    const late = await engine.rank(jobOf('8, 3', { deadlineAtMs: Date.now() + 50 }), never);
    expect(late.kind === 'retryable' && late.reason).toContain('deadline');
    await expect.poll(async () => (await engine.gauges()).running).toBe(0);
    await engine.close();
    expect(await engine.rank(jobOf('8, 3'), never)).toEqual({ kind: 'cancelled' });
  });

  it('says that a text which does not fit is terminal', async () => {
    const server = await fakeServer(kind, { maxModelLen: 20 });
    const result = await (await metaAt(kind, server.url)).rank(jobOf('8, 3'), never);
    expect(result.kind === 'terminal' && result.reason).toContain('maximum context length');
  });
});

describe('the activation switch', () => {
  it.each(['vllm_classify', 'vllm_pooling'] as const)(
    'M3: %s finds the name that an old server obeys',
    async (kind) => {
      for (const activationName of ['activation', 'softmax'] as const) {
        const engine = await metaAt(kind, (await fakeServer(kind, { activationName })).url);
        const before = rewardOf(await engine.rank(jobOf('3, 8'), never));
        expect(before).toBeGreaterThan(0);
        expect(await engine.selfTest(never)).toEqual({ kind: 'ok' });
        expect(rewardOf(await engine.rank(jobOf('3, 8'), never))).toBeLessThan(-2);
      }
    },
  );

  it('a server that ignores every name fails the self-test, with the fix in the reason', async () => {
    const engine = await metaAt('vllm_classify', (await fakeServer('vllm_classify', { activationName: 'none' })).url);
    const health = await engine.selfTest(never);
    expect(health.kind === 'failing' && health.reason).toMatch(/squashed scores.*--pooler-config/);
  });
});

describe('yes/no log-odds', () => {
  it('are the logit that the model has, when both words are listed', async () => {
    const engine = await metaAt('yes_no', (await fakeServer('yes_no', { metaAccuracy: 0.7 })).url);
    const job = jobOf('8, 3');
    const logit = metaLogit(renderChat(job.messages)!, { metaAccuracy: 0.7, seed: 0 });
    expect(rewardOf(await engine.rank(job, never))).toBeCloseTo(logit, 6);
  });

  it('are bounded when one word is too unlikely to be listed', async () => {
    const engine = await metaAt('yes_no', (await fakeServer('yes_no', { metaAccuracy: 1 })).url);
    const reward = rewardOf(await engine.rank(jobOf('8, 3'), never));
    expect(reward).toBeGreaterThan(5);
    expect(reward).toBeLessThanOrEqual(12.5);
  });

  it('M2: are no number at a server that returns no probabilities', async () => {
    await using server = await scriptedServer((_req, res) => {
      res.writeHead(200, { 'content-type': 'application/json' });
      res.end(JSON.stringify({ choices: [{ message: { content: 'Yes' }, finish_reason: 'length' }] }));
    });
    const engine = await metaAt('yes_no', server.url);
    const result = await engine.rank(jobOf('8, 3'), never);
    expect(result).toMatchObject({ kind: 'retryable', trouble: 'unclear' });
    expect(result.kind === 'retryable' && result.reason).toContain('logprobs');
    expect(await engine.selfTest(never)).toMatchObject({ kind: 'failing' });
  });
});
