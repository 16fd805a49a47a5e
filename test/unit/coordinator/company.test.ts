// Several callers and several coordinators at one request: nobody ends what somebody else still waits for.

import { expect, test } from 'vitest';
import type { ScoreInput, ScoreOptions } from '../../../src/coordinator/coordinator.js';
import { requestIdOfKey } from '../../../src/coordinator/identity.js';
import { scriptedEngine, scriptedMetaEngine, seededScores } from '../../support/scripted-engine.js';
import { ask, virtualCluster } from '../../support/virtual-cluster.js';
import { aVerdict } from '../../support/work-values.js';

const sampleMs = 6_000;

async function slowCluster(afterMs = sampleMs) {
  const cluster = await virtualCluster();
  const engine = scriptedEngine({
    clock: cluster.clock,
    answer: (spec, job, n) => ({ kind: 'scores', shown: seededScores(spec, job, n), afterMs }),
  });
  return { cluster, worker: await cluster.worker('w', { engine }) };
}

test('I2: a run lasts as long as its most patient caller, not as its first', async () => {
  const { cluster, worker } = await slowCluster();
  const input = ask({ k: 2 });
  const a = cluster.coordinator('a');
  const start = cluster.clock.now();
  const hasty = a.score(input, { deadlineAtMs: start + 1_500 });
  await cluster.clock.advance(200);
  const patient = a.score(input, { deadlineAtMs: start + 30_000 });
  expect(await cluster.clock.until(hasty, 2_000)).toMatchObject({
    kind: 'fault',
    fault: { kind: 'deadline_exceeded' },
  });
  expect(await cluster.verdict(patient)).toMatchObject({ kind: 'valid', kValid: 2, degraded: [] });
  expect(worker.engine.drawn).toHaveLength(2);
});

test('P2: a caller who retries at another coordinator keeps the run alive when the first one leaves', async () => {
  const { cluster, worker } = await slowCluster();
  const input = ask({ k: 4 });
  const a = cluster.coordinator('a');
  const b = cluster.coordinator('b');
  const gone = new AbortController();
  const first = a.score(input, { signal: gone.signal });
  await cluster.clock.advance(500);
  const retry = b.score(input);
  await cluster.clock.advance(500);
  gone.abort();
  expect(await cluster.clock.until(first, 100)).toMatchObject({ kind: 'fault', fault: { kind: 'cancelled' } });
  expect(await cluster.verdict(retry)).toMatchObject({ kind: 'valid', kValid: 4 });
  expect(worker.engine.drawn).toHaveLength(4);
});

test('P1: of a dead coordinator the one chosen survivor finishes; a caller at another waits for it and takes nothing away by leaving', async () => {
  const { cluster, worker } = await slowCluster();
  const input = ask({ k: 4 });
  const dead = cluster.coordinator('dead');
  const survivors = ['b', 'c', 'd'].map((id) => cluster.coordinator(id));
  void dead.score(input);
  await cluster.clock.advance(500);
  dead.kill();
  await cluster.clock.advance(8_000);
  const gone = new AbortController();
  const leaving = survivors.map((each) => each.score(input, { signal: gone.signal }));
  await cluster.clock.advance(200);
  const staying = survivors.map((each) => each.score(input));
  gone.abort();
  await Promise.all(leaving.map((each) => cluster.clock.until(each, 1_000)));
  const verdicts = await Promise.all(staying.map((each) => cluster.verdict(each)));
  for (const verdict of verdicts) expect(verdict).toEqual(verdicts[0]);
  expect(verdicts[0]).toMatchObject({ kind: 'valid', kValid: 4 });
  expect(cluster.told('request.taken_over').length).toBeLessThanOrEqual(1);
  // What the dead one had in the engine when it was taken over may be drawn once more, not once per survivor.
  expect(worker.engine.drawn.length).toBeLessThanOrEqual(8);
});

test('I2: a caller with a longer time budget gets all of it, though the first one had less', async () => {
  const { cluster } = await slowCluster();
  const a = cluster.coordinator('a');
  const input = ask({ k: 2, timeBudgetMs: 1_500 });
  const hasty = a.score(input);
  await cluster.clock.advance(200);
  const patient = a.score({ ...input, options: { ...input.options, timeBudgetMs: 30_000 } });
  expect(await cluster.verdict(hasty, 2_000)).toMatchObject({ kind: 'invalid', reason: 'quorum_not_met', kValid: 0 });
  const verdict = await cluster.verdict(patient);
  expect(verdict).toMatchObject({ kind: 'valid', kValid: 2, degraded: [] });
  expect((await a.service.stored(verdict.requestId, 'default'))?.verdict).toEqual({ ...verdict, stored: true });
  expect(cluster.nats.tasks()).toBe(0);
});

test('I2: a longer time budget that comes while samples are ranked gets its meta rewards, too', async () => {
  const cluster = await virtualCluster();
  await cluster.worker('w');
  const engine = scriptedMetaEngine({ clock: cluster.clock, rankMs: 3_000 });
  await cluster.metaWorker('m', { engine });
  const a = cluster.coordinator('a');
  const input = ask({ k: 2, meta: true, timeBudgetMs: 1_500, quorum: 1 });
  const hasty = a.score(input);
  await cluster.clock.advance(200);
  const patient = a.score({ ...input, options: { ...input.options, timeBudgetMs: 30_000 } });
  expect(await cluster.verdict(hasty, 2_000)).toMatchObject({
    kind: 'valid',
    degraded: ['meta_unavailable', 'time_budget'],
  });
  expect(await cluster.verdict(patient)).toMatchObject({ kind: 'valid', vote: 'meta_topk', degraded: [] });
});

test('I5: a caller with a shorter time budget is answered with what is there, and the others with all of it', async () => {
  const cluster = await virtualCluster();
  const engine = scriptedEngine({
    clock: cluster.clock,
    answer: (spec, job, n) => ({
      kind: 'scores',
      shown: seededScores(spec, job, n),
      afterMs: spec.index < 3 ? 100 : sampleMs,
    }),
  });
  const worker = await cluster.worker('w', { engine });
  const [a, b] = [cluster.coordinator('a'), cluster.coordinator('b')];
  const input = ask({ k: 4 });
  const within = (options: ScoreOptions): ScoreInput => ({ ...input, options: { ...input.options, ...options } });
  const first = a.score(input);
  await cluster.clock.advance(500);
  for (const [where, door] of [
    ['here', a],
    ['elsewhere', b],
  ] as const) {
    const hasty = door.score(within({ timeBudgetMs: 1_000, quorum: 3 }));
    const strict = door.score(within({ timeBudgetMs: 1_100, quorum: 4 }));
    const told = await cluster.verdict(hasty, 2_000);
    expect(told, where).toMatchObject({
      kind: 'valid',
      kValid: 3,
      degraded: ['time_budget'],
      missing: { notAsked: 0, waiting: 0, unfinished: 1 },
    });
    expect(await cluster.verdict(strict, 500), where).toMatchObject({
      kind: 'invalid',
      reason: 'quorum_not_met',
      kValid: 3,
    });
    expect(await a.service.stored(told.requestId, 'default'), where).toBeUndefined();
  }
  const whole = await cluster.verdict(first);
  expect(whole).toMatchObject({ kind: 'valid', kValid: 4, degraded: [] });
  expect((await a.service.stored(whole.requestId, 'default'))?.verdict).toEqual({ ...whole, stored: true });
  expect(worker.engine.drawn).toHaveLength(4);
});

test('I5: when time ends the run, each caller is answered by its own quorum', async () => {
  const cluster = await virtualCluster();
  const engine = scriptedEngine({
    clock: cluster.clock,
    answer: (spec, job, n) => ({
      kind: 'scores',
      shown: seededScores(spec, job, n),
      afterMs: spec.index < 2 ? 100 : 60_000,
    }),
  });
  await cluster.worker('w', { engine });
  const a = cluster.coordinator('a');
  const input = ask({ k: 4, quorum: 4, timeBudgetMs: 2_000 });
  const strict = a.score(input);
  const content = a.score({ ...input, options: { ...input.options, quorum: 2 } });
  expect(await cluster.verdict(strict)).toMatchObject({ kind: 'invalid', reason: 'quorum_not_met', kValid: 2 });
  expect(await cluster.verdict(content)).toMatchObject({ kind: 'valid', kValid: 2, degraded: ['time_budget'] });
  // The same the other way round: what was stored for the first caller does not pass for a quorum that it does not meet.
  const other = ask({ k: 4, quorum: 2, timeBudgetMs: 2_000 });
  const stored = await cluster.verdict(a.score(other));
  expect(stored).toMatchObject({ kind: 'valid', kValid: 2 });
  const again = await cluster.verdict(a.score({ ...other, options: { ...other.options, quorum: 3 } }));
  expect(again).toMatchObject({ kind: 'invalid', reason: 'quorum_not_met', kValid: 2 });
  expect(await cluster.verdict(a.score(other))).toEqual({ ...stored, stored: true });
});

test('I2: a caller with a longer time budget at another coordinator moves the end, too', async () => {
  const { cluster } = await slowCluster();
  const [a, b] = [cluster.coordinator('a'), cluster.coordinator('b')];
  const input = ask({ k: 2, timeBudgetMs: 3_000, quorum: 1 });
  const hasty = a.score(input);
  await cluster.clock.advance(200);
  const patient = b.score({ ...input, options: { ...input.options, timeBudgetMs: 30_000 } });
  expect(await cluster.verdict(hasty, 4_000)).toMatchObject({ kind: 'invalid', kValid: 0 });
  expect(await cluster.verdict(patient)).toMatchObject({ kind: 'valid', kValid: 2, degraded: [] });
  // It ran at the first coordinator to its end: nobody took it over, and nobody began it again.
  expect(cluster.told('request.accepted')).toHaveLength(1);
  expect(cluster.told('request.taken_over')).toHaveLength(0);
});

test('I2: a request that was taken over goes on for as long as it was given, whoever joins it with less', async () => {
  const { cluster } = await slowCluster(20_000);
  const input = ask({ k: 2, timeBudgetMs: 40_000 });
  const dead = cluster.coordinator('dead');
  void dead.score(input);
  await cluster.clock.advance(500);
  dead.kill();
  const b = cluster.coordinator('b');
  await cluster.clock.advance(11_000);
  const hasty = b.score({ ...input, options: { ...input.options, timeBudgetMs: 100 } });
  const told = await cluster.verdict(hasty, 1_000);
  expect(told).toMatchObject({ kind: 'invalid', reason: 'quorum_not_met' });
  const patient = await cluster.verdict(b.score(input));
  expect(patient).toMatchObject({ kind: 'valid', kValid: 2, degraded: [] });
});

test('I6: who comes when time has ended a run is not bound by that end', async () => {
  const { cluster } = await slowCluster();
  const a = cluster.coordinator('a');
  const input = ask({ k: 2, timeBudgetMs: 1_500 });
  const start = cluster.clock.now();
  const hasty = a.score(input);
  await cluster.clock.advance(1_500 - (cluster.clock.now() - start));
  const late = a.score({ ...input, options: { ...input.options, timeBudgetMs: 30_000 } });
  expect(await cluster.verdict(hasty, 1_000)).toMatchObject({ kind: 'invalid' });
  expect(await cluster.verdict(late)).toMatchObject({ kind: 'valid', kValid: 2, degraded: [] });
});

test('S2: what a run has asked for is withdrawn when another coordinator was first to answer', async () => {
  const { cluster, worker } = await slowCluster();
  const a = cluster.coordinator('a');
  const input = { ...ask({ k: 40, quorum: 1 }), idempotencyKey: 'both' };
  const mine = a.score(input);
  await cluster.clock.advance(500);
  const other = cluster.nats.open('other');
  const requestId = requestIdOfKey('both', input.tenant);
  await cluster.clock.until(other.ledger.putVerdict(aVerdict(requestId)), 1_000);
  expect(await cluster.verdict(mine, 1_000)).toEqual(aVerdict(requestId));
  expect(cluster.nats.tasks()).toBe(0);
  const drawn = worker.engine.drawn.length;
  await cluster.clock.advance(3 * sampleMs);
  expect(worker.engine.drawn.length).toBe(drawn);
});
