// Collect: what notices, silence, the clock and the meta RM do to one request; the whole path is in score.test.ts.

import fc from 'fast-check';
import { expect, test } from 'vitest';
import { uint32Stream } from '../../../src/grm/seed.js';
import type { Verdict } from '../../../src/grm/verdict.js';
import { scriptedEngine, seededScores } from '../../support/scripted-engine.js';
import { ask, virtualCluster, type VirtualCluster } from '../../support/virtual-cluster.js';

function slow(cluster: VirtualCluster, afterMs: (index: number) => number) {
  return scriptedEngine({
    clock: cluster.clock,
    answer: (spec, job, n) => ({ kind: 'scores', shown: seededScores(spec, job, n), afterMs: afterMs(spec.index) }),
  });
}

test('the meta RM is gone before it ranked: after metaPatienceMs the vote goes on without (meta_unavailable)', async () => {
  const cluster = await virtualCluster({ settings: { metaPatienceMs: 5_000 } });
  const a = cluster.coordinator('a');
  await cluster.worker('w');
  const verdict = await cluster.verdict(a.score(ask({ k: 4, meta: true })));
  expect(verdict).toMatchObject({ kind: 'valid', vote: 'sum', kValid: 4, kKept: 4, degraded: ['meta_unavailable'] });
  expect(verdict.durationMs).toBeGreaterThanOrEqual(5_000);
  expect(verdict.durationMs).toBeLessThan(8_000);
  expect(cluster.nats.tasks()).toBe(0); // S2: its meta tasks left the queue
});

test('the meta RM dies half-way: the rewards there are decide (meta_partial)', async () => {
  const cluster = await virtualCluster({ detectMs: 1_000 });
  const a = cluster.coordinator('a');
  await cluster.worker('w', { engine: slow(cluster, (index) => 100 + index * 200) });
  const meta = await cluster.metaWorker('m');
  const outcome = a.score(ask({ k: 8, vote: 'meta_topk' }));
  await cluster.clock.advance(750);
  meta.kill();
  const verdict = await cluster.verdict(outcome);
  expect(verdict).toMatchObject({ kind: 'valid', vote: 'meta_topk', kValid: 8, degraded: ['meta_partial'] });
  expect(verdict.samples.filter(({ metaReward }) => metaReward !== undefined).length).toBeGreaterThan(0);
  expect(verdict.samples.some(({ kept }) => kept === 'no_meta_reward')).toBe(true);
  expect(cluster.nats.tasks()).toBe(0);
});

test('a meta RM that comes back within its patience is waited for', async () => {
  const cluster = await virtualCluster({ settings: { metaPatienceMs: 5_000 } });
  const a = cluster.coordinator('a');
  await cluster.worker('w');
  const outcome = a.score(ask({ k: 4, meta: true }));
  await cluster.clock.advance(4_000);
  await cluster.metaWorker('late');
  expect(await cluster.verdict(outcome)).toMatchObject({ kind: 'valid', kKept: 2, degraded: [] });
});

test('while membership is unknown the meta RM is not given up', async () => {
  const cluster = await virtualCluster({ settings: { metaPatienceMs: 1_000 } });
  const a = cluster.coordinator('a');
  await cluster.worker('w');
  cluster.membershipKnown = false;
  const outcome = a.score(ask({ k: 2, meta: true }));
  await cluster.clock.advance(20_000);
  await cluster.metaWorker('m');
  expect(await cluster.verdict(outcome)).toMatchObject({ degraded: [] });
});

test('a full meta queue loses no sample: they are sent again until there is room (P4)', async () => {
  const cluster = await virtualCluster({ workMessagesMax: 3, settings: { shardSamplesMax: 8 } });
  const a = cluster.coordinator('a');
  await cluster.worker('w');
  const outcome = a.score(ask({ k: 8, meta: true }));
  await cluster.clock.advance(500);
  expect(cluster.told('trouble')).not.toEqual([]);
  await cluster.metaWorker('m');
  expect(await cluster.verdict(outcome)).toMatchObject({ kind: 'valid', kValid: 8, kKept: 4, degraded: [] });
});

test('a resumed request has nothing ranked twice (P2)', async () => {
  const cluster = await virtualCluster();
  const a = cluster.coordinator('a');
  const b = cluster.coordinator('b');
  await cluster.worker('w', { engine: slow(cluster, (index) => (index === 7 ? 9_000 : 100)) });
  const meta = await cluster.metaWorker('m');
  void a.score(ask({ k: 8 }, { idempotencyKey: 'resumed' }));
  await cluster.clock.advance(1_000);
  expect(meta.engine.ranked).toHaveLength(7);
  a.kill();
  await cluster.clock.advance(30_000);
  const stored = await cluster.clock.until(b.service.stored('resumed', 'default'), 10);
  expect(stored?.verdict).toMatchObject({ kValid: 8, kKept: 4, degraded: [] });
  expect(meta.engine.ranked).toHaveLength(8);
  // Nor was anybody asked to: what has its reward is not put into the meta queue again.
  const asked = cluster.told('result.suppressed').filter(({ stage }) => stage === 'meta');
  expect(asked.filter(({ where }) => where === 'before_engine')).toEqual([]);
});

/** All of a verdict that may not depend on who did the work and when. */
function timeless({ durationMs: _, finishedAtMs: __, samples, ...rest }: Verdict): unknown {
  return {
    ...rest,
    samples: samples.map(({ sample, ...judged }) => {
      const { worker: _worker, queueMs: _queue, engineMs: _engine, ...drawn } = sample;
      return { ...judged, sample: drawn };
    }),
  };
}

test('P2, P3: under any weather of lost, late and repeated notices, answers and acks the verdict is the undisturbed one', async () => {
  const input = ask({ k: 6, meta: true, timeBudgetMs: 50_000 }, { idempotencyKey: 'storm' });
  const run = async (seed: number | undefined): Promise<unknown> => {
    const next = uint32Stream(seed ?? 0);
    const chance = (percent: number): boolean => seed !== undefined && next() % 100 < percent;
    const cluster = await virtualCluster({
      ackWaitMs: 3_000,
      weather: {
        call: () => (seed === undefined ? { kind: 'ok' } : { kind: 'ok', toMs: next() % 20, backMs: next() % 20 }),
        notice: () => (chance(25) ? [] : chance(25) ? [next() % 40, next() % 900] : [next() % 40]),
        settle: () => (chance(25) ? undefined : next() % 30),
      },
    });
    const a = cluster.coordinator('a');
    const engines = ['w1', 'w2'].map(() => slow(cluster, () => 5 + (seed === undefined ? 0 : next() % 300)));
    await cluster.clock.until(cluster.worker('w1', { engine: engines[0]!, slots: 4 }), 1_000);
    await cluster.clock.until(cluster.worker('w2', { engine: engines[1]!, slots: 2 }), 1_000);
    await cluster.clock.until(cluster.metaWorker('m'), 1_000);
    const verdict = await cluster.verdict(a.score(input));
    await cluster.clock.advance(20_000);
    expect(cluster.nats.followers()).toBe(0);
    expect(a.service.load()).toMatchObject({ requestsInFlight: 0, waiting: 0 });
    expect(cluster.told('trouble')).toEqual([]);
    return timeless(verdict);
  };
  const undisturbed = await run(undefined);
  await fc.assert(
    fc.asyncProperty(fc.nat(), async (seed) => {
      expect(await run(seed + 1)).toEqual(undisturbed);
    }),
    { numRuns: 15 },
  );
});

test('C4 (P1): tasks that another coordinator has withdrawn are asked for again, and drawn once', async () => {
  const cluster = await virtualCluster();
  const a = cluster.coordinator('a');
  const outcome = a.score(ask({ k: 4, meta: true, timeBudgetMs: 600_000 }));
  await cluster.clock.advance(100);
  const other = cluster.nats.open('other');
  for (const requestId of a.service.busy().requestIds) await cluster.clock.until(other.work.withdraw(requestId), 10);
  expect(cluster.nats.tasks()).toBe(0);
  const worker = await cluster.worker('w');
  await cluster.metaWorker('m');
  expect(await cluster.verdict(outcome, 100_000)).toMatchObject({ kind: 'valid', kValid: 4, degraded: [] });
  expect(worker.engine.drawn).toHaveLength(4);
  expect(cluster.nats.tasks()).toBe(0);
});

test('C4 (P1): what was withdrawn is asked for again though it holds the room that the rest of its request waits for', async () => {
  const cluster = await virtualCluster({ windowSamples: 1, settings: { shardSamplesMax: 2 } });
  const a = cluster.coordinator('a');
  const outcome = a.score(ask({ k: 8, timeBudgetMs: 600_000 }));
  await cluster.clock.advance(100);
  expect([cluster.nats.tasks(), a.service.load().waiting]).toEqual([1, 3]);
  const other = cluster.nats.open('other');
  for (const requestId of a.service.busy().requestIds) await cluster.clock.until(other.work.withdraw(requestId), 10);
  expect(cluster.nats.tasks()).toBe(0);
  const worker = await cluster.worker('w');
  expect(await cluster.verdict(outcome, 200_000)).toMatchObject({ kind: 'valid', kValid: 8, degraded: [] });
  expect(worker.engine.drawn).toHaveLength(8);
  expect(a.service.load().waiting).toBe(0);
});

test('C4: a request whose tasks wait in the queue is silent for long and asks for nothing twice', async () => {
  const cluster = await virtualCluster();
  const a = cluster.coordinator('a');
  const outcome = a.score(ask({ k: 4, timeBudgetMs: 600_000 }));
  await cluster.clock.advance(1);
  const before = cluster.nats.tasks();
  await cluster.clock.advance(200_000);
  expect(cluster.nats.tasks()).toBe(before);
  await cluster.worker('w');
  expect(await cluster.verdict(outcome)).toMatchObject({ kind: 'valid', kValid: 4 });
});

test('a shard whose samples came before its turn is not sent, and its place in the window is free', async () => {
  const cluster = await virtualCluster({ windowSamples: 1, detectMs: 500 });
  const dies = cluster.coordinator('dies');
  const heir = cluster.coordinator('heir');
  const engine = slow(cluster, () => 3_000);
  await cluster.worker('w', { engine });
  void dies.score(ask({ k: 4 }, { idempotencyKey: 'first' }));
  await cluster.clock.advance(100);
  // The heir's window is full of another request while the first one's shard is drawn by the worker, which outlives its coordinator.
  const second = heir.score(ask({ k: 4 }));
  dies.kill();
  await cluster.verdict(second, 60_000);
  await cluster.clock.advance(60_000);
  expect(await cluster.clock.until(heir.service.stored('first', 'default'), 10)).toMatchObject({
    verdict: { kind: 'valid', kValid: 4, degraded: [] },
  });
  expect(engine.drawn).toHaveLength(8);
  expect(heir.service.load().waiting).toBe(0);
});
