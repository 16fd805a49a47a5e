// Engines that fail in every way they know: verdicts are given with what there is, or they say that there is not enough.

import { expect, test } from 'vitest';
import { startFakeEngine } from '../../services/fake-engine/server.js';
import type { ScoreRequest } from '../../src/rpc/client.js';
import { clientOf, enginesAt, freePort, quiet, startCluster } from '../support/cluster.js';
import { until } from '../support/processes.js';

const k = 8;

function request(name: string, more: Partial<ScoreRequest> = {}): ScoreRequest {
  return {
    query: `Which answer to ${name} is better?`,
    responses: [`An answer of quality=9 to ${name}.`, `Another, quality=2, to ${name}.`],
    idempotencyKey: name,
    k,
    ...more,
  };
}

test('P1 P2 P7: 500s, 429s, cut streams, garbage and truncation at once: every request is answered, what is invalid says why and is no number', async () => {
  await using cluster = await startCluster();
  const coordinator = await cluster.start('coordinator');
  await cluster.start('grm-worker', enginesAt(cluster.engine.url, 64));
  await cluster.start('meta-worker');
  using client = clientOf(coordinator);
  await cluster.serving(client, 1, 1);
  cluster.engine.setFaults([
    { kind: '500', probability: 0.04 },
    { kind: '429', probability: 0.03, retryAfterSeconds: 0.2 },
    { kind: 'cut', probability: 0.04 },
    { kind: 'garbage', probability: 0.08, on: 'generate' },
    { kind: 'truncate', probability: 0.08, on: 'generate' },
    { kind: 'slow', probability: 0.05, delayMs: 300 },
  ]);

  let invalid = 0;
  const reasons = new Set<string>();
  const requests = Array.from({ length: 60 }, (_, number) => request(`faulty-${number}`));
  for await (const result of client.scoreMany(requests, { concurrency: 30, deadlineMs: 120_000 })) {
    if (result.kind === 'fault') throw new Error(`${result.fault.kind}: ${result.fault.message}`);
    const { verdict } = result;
    expect(verdict.samples).toHaveLength(k);
    for (const { sample, kept, metaReward } of verdict.samples) {
      if (sample.kind === 'scored') {
        expect(sample.scores.every((score) => score >= 1 && score <= 10)).toBe(true);
        continue;
      }
      invalid++;
      reasons.add(sample.reason);
      expect(kept).toBe('invalid');
      expect(metaReward).toBeUndefined();
      expect('scores' in sample).toBe(false);
    }
    const valid = verdict.samples.filter(({ sample }) => sample.kind === 'scored').length;
    expect(verdict.kValid).toBe(valid);
    expect(verdict.degraded.includes('samples_invalid')).toBe(valid < k);
    // The quorum counts when time runs out alone.
    expect(verdict.degraded).not.toContain('time_budget');
    expect(verdict.kind).toBe(valid > 0 ? 'valid' : 'invalid');
  }
  expect(invalid).toBeGreaterThan(10);
  expect([...reasons]).toEqual(expect.arrayContaining(['no_box', 'truncated']));
  const { faultsFired } = cluster.engine.stats();
  for (const kind of ['500', '429', 'cut', 'garbage', 'truncate', 'slow'] as const) {
    expect(faultsFired[kind], kind).toBeGreaterThan(0);
  }
  await quiet(client);
  expect((await client.status()).dead).toBe(0);
}, 180_000);

test('P7: when time runs out the verdict says so; below the quorum it is INVALID, is not stored, and a retry goes on from what is there', async () => {
  await using cluster = await startCluster({}, { GRM_COORDINATOR__META_PATIENCE_MS: '500' });
  const coordinator = await cluster.start('coordinator');
  await cluster.start('grm-worker');
  using client = clientOf(coordinator);
  await cluster.serving(client, 1, 0);

  /** Long enough for what comes to have come, on a busy machine too. */
  const timeBudgetMs = 6_000;
  // Six of eight come: enough.
  cluster.engine.setFaults([{ kind: 'hang', next: 2, on: 'generate' }]);
  const cut = await client.score(request('enough', { timeBudgetMs }));
  expect(cut).toMatchObject({ kind: 'valid', best: 0, k, kValid: 6, degraded: ['time_budget'] });
  await until(() => cluster.engine.stats().running === 0, 'what hung is stopped');
  expect(await client.score(request('enough', { timeBudgetMs }))).toEqual({ ...cut, stored: true });

  // Two of eight come: not enough, and not the last word.
  cluster.engine.setFaults([{ kind: 'hang', next: 6, on: 'generate' }]);
  const short = await client.score(request('short', { timeBudgetMs }));
  expect(short).toMatchObject({ kind: 'invalid', reason: 'quorum_not_met', kValid: 2, degraded: ['time_budget'] });
  expect('rewards' in short).toBe(false);
  expect(await client.verdict('short')).toBeUndefined();
  await until(() => cluster.engine.stats().running === 0, 'what hung is stopped');
  const before = cluster.engine.stats().requests;
  const whole = await client.score(request('short', { timeBudgetMs: 60_000 }));
  expect(whole).toMatchObject({ kind: 'valid', best: 0, kValid: k, degraded: [] });
  expect(cluster.engine.stats().requests - before).toBe(6);

  // The caller's own deadline is the shorter one: it still gets an answer before it.
  cluster.engine.setFaults([{ kind: 'hang', next: 4, on: 'generate' }]);
  const inTime = await client.score(request('deadline', { quorum: 4 }), { deadlineMs: timeBudgetMs });
  expect(inTime).toMatchObject({ kind: 'valid', kValid: 4, degraded: ['time_budget'] });

  // Nothing valid at all: INVALID with its reason, and stored, because time did not decide it.
  cluster.engine.setFaults([{ kind: 'garbage', probability: 1, on: 'generate' }]);
  const none = await client.score(request('none'));
  expect(none).toMatchObject({ kind: 'invalid', reason: 'no_valid_sample', kValid: 0, degraded: ['samples_invalid'] });
  expect((await client.verdict('none'))?.verdict).toEqual({ ...none, stored: true });
  cluster.engine.setFaults([]);

  // A meta RM that never was there, asked for by name.
  const naive = await client.score(request('naive', { vote: 'meta_topk', timeBudgetMs: 60_000 }));
  expect(naive).toMatchObject({ kind: 'valid', kValid: k });
  expect(naive.degraded).toContain('meta_unavailable');
  await quiet(client);
}, 180_000);

test('P7: a meta RM that is there and does not serve yet is waited for, and its absence stands in the verdict; none at all is no fault', async () => {
  await using cluster = await startCluster({}, { GRM_COORDINATOR__META_PATIENCE_MS: '500' });
  const coordinator = await cluster.start('coordinator');
  await cluster.start('grm-worker');
  // A meta RM that comes changes the judge.
  using client = clientOf(coordinator, { allowJudgeChange: true });
  await cluster.serving(client, 1, 0);
  expect(await client.score(request('no meta RM'))).toMatchObject({ vote: 'sum', degraded: [] });

  const port = await freePort();
  await cluster.start('meta-worker', {
    GRM_META__ENGINES: JSON.stringify([{ kind: 'vllm_classify', base_url: `http://127.0.0.1:${port}`, slots: 16 }]),
  });
  await until(
    async () => (await client.status()).nodes.some(({ role }) => role === 'meta-worker'),
    'the meta worker is there',
  );
  expect(await client.score(request('it loads'))).toMatchObject({ vote: 'sum', degraded: ['meta_unavailable'] });
  const engine = await startFakeEngine({ instant: true, accuracy: 1, port });
  try {
    await cluster.serving(client, 1, 1);
    expect(await client.score(request('it serves'))).toMatchObject({ vote: 'meta_topk', degraded: [] });
  } finally {
    await engine.close();
  }
});

test('P1 P5: an engine that is away for a while costs no request its samples: nothing is quarantined for it', async () => {
  await using cluster = await startCluster();
  const port = await freePort();
  let engine = await startFakeEngine({ instant: true, accuracy: 1, port });
  try {
    const coordinator = await cluster.start('coordinator');
    await cluster.start('grm-worker', enginesAt(engine.url));
    using client = clientOf(coordinator);
    await cluster.serving(client, 1, 0);
    engine.setFaults([{ kind: 'slow', probability: 1, delayMs: 300, on: 'generate' }]);
    const verdicts = Array.from({ length: 12 }, (_, number) => client.score(request(`away-${number}`)));
    await until(() => engine.stats().done >= 16, 'some samples are drawn');
    await engine.close();
    await new Promise((resolve) => setTimeout(resolve, 12_000));
    engine = await startFakeEngine({ instant: true, accuracy: 1, port });
    for (const verdict of await Promise.all(verdicts)) {
      expect(verdict).toMatchObject({ kind: 'valid', best: 0, kValid: k, degraded: [] });
    }
    await quiet(client);
    expect((await client.status()).dead).toBe(0);
  } finally {
    await engine.close();
  }
}, 180_000);
