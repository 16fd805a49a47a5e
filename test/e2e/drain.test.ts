// Drains, by order and by signal: nobody who asks notices. Of whole clusters: rolling.test.ts.

import { setTimeout as sleep } from 'node:timers/promises';
import { expect, test } from 'vitest';
import type { ScoreRequest } from '../../src/rpc/client.js';
import {
  clientOf,
  enginesAt,
  metric,
  once,
  quiet,
  settled,
  startCluster,
  type ServiceProcess,
} from '../support/cluster.js';
import { closedGate, startEngineProxy } from '../support/engine-proxy.js';
import { until } from '../support/processes.js';

const k = 8;
/** Samples that a worker runs at once: two whole requests. */
const slots = 16;

function request(name: string): ScoreRequest {
  return {
    query: `Which answer to ${name} is better?`,
    responses: [`An answer of quality=8 to ${name}.`, `Another, quality=3, to ${name}.`],
    idempotencyKey: name,
    k,
  };
}

test('P6: orders to drain, to resume and to change slots act on a busy worker', async () => {
  await using cluster = await startCluster();
  cluster.engine.setFaults([{ kind: 'slow', probability: 1, delayMs: 500, on: 'generate' }]);
  const coordinator = await cluster.start('coordinator');
  const gates = [closedGate(), closedGate()] as const;
  await using leftEngine = await startEngineProxy(cluster.engine.url, gates[0].look);
  await using rightEngine = await startEngineProxy(cluster.engine.url, gates[1].look);
  const [left, right] = await Promise.all([
    cluster.start('grm-worker', enginesAt(leftEngine.url, slots)),
    cluster.start('grm-worker', enginesAt(rightEngine.url, slots)),
  ]);
  using client = clientOf(coordinator);
  await cluster.serving(client, 2, 0);
  let asked = 0;
  const score = (many: number) =>
    Promise.all(
      Array.from({ length: many }, () => client.score(request(`ordered-${asked++}`), { deadlineMs: 90_000 })),
    );
  const workersOf = (verdicts: Awaited<ReturnType<typeof score>>) => {
    for (const verdict of verdicts) expect(verdict).toMatchObject({ kind: 'valid', kValid: k, degraded: [] });
    return new Set(verdicts.flatMap((verdict) => verdict.samples.map(({ sample }) => sample.worker)));
  };
  const nodeOf = async (service: ServiceProcess) =>
    (await client.status()).nodes.find((node) => node.id === service.node);

  // Drained while it works: what it has it finishes, then it rests; the other does the rest.
  const busy = score(12);
  await until(() => gates.every((gate) => gate.held() === slots), 'both have all that they have room for');
  expect(await client.drain([left.node])).toEqual([left.node]);
  await until(async () => (await nodeOf(left))?.draining === true, 'the left one drains');
  expect((await nodeOf(left))?.running).toBe(slots);
  for (const gate of gates) gate.open();
  const finished = await busy;
  expect(workersOf(finished)).toEqual(new Set([left.node, right.node]));
  const drawnBy = finished.flatMap((verdict) => verdict.samples.map(({ sample }) => sample.worker));
  expect(drawnBy.filter((worker) => worker === left.node)).toHaveLength(slots);
  await until(async () => {
    const node = await nodeOf(left);
    return node?.draining === true && node.running === 0;
  }, 'the left one rests');
  expect(workersOf(await score(6))).toEqual(new Set([right.node]));

  // Room for one sample: one at a time, whatever waits.
  expect(await client.setSlots(right.node, 1)).toBe(1);
  await until(async () => (await nodeOf(right))?.slots === 1, 'the coordinator knows of it');
  let most = 0;
  let watching = true;
  const watch = (async () => {
    while (watching) {
      most = Math.max(most, cluster.engine.stats().running);
      await sleep(10);
    }
  })();
  expect(workersOf(await score(2))).toEqual(new Set([right.node]));
  watching = false;
  await watch;
  expect(most).toBe(1);
  expect(await client.setSlots(right.node, slots)).toBe(slots);

  // Back at work.
  expect(await client.resume([left.node])).toEqual([left.node]);
  await cluster.serving(client, 2, 0);
  await until(async () => workersOf(await score(8)).has(left.node), 'the left one works again', 60_000);

  // Orders that nobody can take.
  expect(await client.drain([coordinator.node])).toEqual([]);
  expect((await nodeOf(coordinator))?.draining).toBe(false);
  expect(await client.drain(['grm-worker-0000000000'])).toEqual([]);
  await expect(client.setSlots(coordinator.node, 4)).rejects.toMatchObject({ kind: 'failed_precondition' });
  await expect(client.setSlots('nobody', 4)).rejects.toMatchObject({ kind: 'not_found' });

  // Everybody drained: requests wait, and go on when somebody comes back.
  expect([...(await client.drain())].sort()).toEqual([left.node, right.node].sort());
  const waiting = score(2);
  await sleep(1_000);
  expect(cluster.engine.stats().running).toBe(0);
  await client.resume();
  expect(workersOf(await waiting).size).toBeGreaterThan(0);
  await quiet(client);
}, 180_000);

/** Longer than the callers have time: the verdict can only come because the tasks were given back, not because they were missed. */
const noRedelivery = { GRM_NATS__ACK_WAIT_MS: '100000' };
const patientMs = 90_000;

test('P6: a busy worker that is taken away hands back at once what it cannot finish, and what it stored is not drawn again', async () => {
  await using cluster = await startCluster({}, noRedelivery);
  const coordinator = await cluster.start('coordinator');
  const hasty = await cluster.start('grm-worker', { GRM_WORKER__DRAIN_GRACE_MS: '200' });
  using client = clientOf(coordinator);
  await cluster.serving(client, 1, 0);
  // Samples that never end, for the hasty one alone: three of each shard of four.
  const hanging = 6;
  cluster.engine.setFaults([{ kind: 'hang', next: hanging, on: 'generate' }]);
  const verdict = client.score({ ...request('handed back'), timeBudgetMs: patientMs });
  await until(() => {
    const { running, done } = cluster.engine.stats();
    return running === hanging && done === k - hanging;
  }, 'the hasty one has stored what it can, and waits for the rest');
  const other = await cluster.start('grm-worker');
  await cluster.serving(client, 2, 0);
  hasty.kill('SIGTERM');
  expect(await verdict).toMatchObject({ kind: 'valid', best: 0, kValid: k, degraded: [] });
  const drawnBy = (await verdict).samples.map(({ sample }) => sample.worker);
  expect(drawnBy.filter((worker) => worker === hasty.node)).toHaveLength(k - hanging);
  expect(drawnBy.filter((worker) => worker === other.node)).toHaveLength(hanging);
  expect(await hasty.ended).toBe(0);
  await until(() => cluster.engine.stats().running === 0, 'what hung is stopped');
  expect(cluster.engine.stats()).toMatchObject({ aborted: hanging, done: k });
  await quiet(client);
  // It says so itself; and the others get a new task, not one that came back for the second time.
  expect(handedBack(hasty)).toBeGreaterThan(0);
  expect(await metric(other, 'grm_redeliveries_total')).toBe(0);
}, 120_000);

test('P6: so does a meta worker', async () => {
  await using cluster = await startCluster({}, noRedelivery);
  const coordinator = await cluster.start('coordinator');
  const [hasty] = await Promise.all([
    cluster.start('meta-worker', { GRM_META__DRAIN_GRACE_MS: '200' }),
    cluster.start('grm-worker'),
  ]);
  using client = clientOf(coordinator);
  await cluster.serving(client, 1, 1);
  const hanging = 5;
  cluster.engine.setFaults([{ kind: 'hang', next: hanging, on: 'meta' }]);
  const verdict = client.score({ ...request('handed back'), vote: 'meta_topk', timeBudgetMs: patientMs });
  await until(() => cluster.engine.stats().running === hanging, 'the hasty one waits');
  const other = await cluster.start('meta-worker');
  await cluster.serving(client, 1, 2);
  hasty.kill('SIGTERM');
  const answered = await verdict;
  expect(answered).toMatchObject({ kind: 'valid', best: 0, kValid: k, vote: 'meta_topk', degraded: [] });
  expect(answered.samples.every(({ metaReward }) => metaReward !== undefined)).toBe(true);
  expect(await hasty.ended).toBe(0);
  await quiet(client);
  // A task holds samples that came together: as many as there were, or fewer.
  expect(handedBack(hasty)).toBeGreaterThan(0);
  expect(await metric(other, 'grm_redeliveries_total')).toBe(0);
}, 120_000);

test('P6: whoever waits at a coordinator that drains is told to go elsewhere, though NATS does not answer', async () => {
  await using cluster = await startCluster({}, { GRM_COORDINATOR__DRAIN_GRACE_MS: '500' });
  cluster.engine.setFaults([{ kind: 'hang', probability: 1, on: 'generate' }]);
  const coordinator = await cluster.start('coordinator');
  await cluster.start('grm-worker');
  using client = clientOf(coordinator, once);
  await cluster.serving(client, 1, 0);
  const names = ['one', 'two', 'three'];
  const scored = names.map((name) => settled(client.score(request(name), { deadlineMs: patientMs })));
  const watch = client.watch(request('watched'), { deadlineMs: patientMs });
  const watched = settled(watch.next());
  const streamed = settled(client.scoreMany([request('streamed')], { deadlineMs: patientMs }).next());
  await until(async () => (await client.status()).requestsInFlight === 5, 'all are accepted');
  cluster.nats.pause();
  coordinator.kill('SIGTERM');
  for (const call of [...scored, watched, streamed]) expect(await call).toMatchObject({ kind: 'draining' });
  // 0 when NATS answers; its lease could not be dropped here.
  expect([0, 4]).toContain(await coordinator.ended);
}, 120_000);

/** Tasks that a worker says it handed back. */
function handedBack(worker: ServiceProcess): number {
  return worker.log().split('handed back by a draining worker').length - 1;
}
