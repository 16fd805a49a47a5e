// Rolling restarts and drains: nobody who asks notices.

import { setTimeout as sleep } from 'node:timers/promises';
import { expect, test } from 'vitest';
import { GrmClient, type ScoreRequest } from '../../src/rpc/client.js';
import {
  clientOf,
  enginesAt,
  freePort,
  metric,
  quiet,
  startCluster,
  type Role,
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

test('P6: every process is stopped and started again, one by one, under load: no request fails, none is degraded', async () => {
  await using cluster = await startCluster();
  cluster.engine.setFaults([{ kind: 'slow', probability: 1, delayMs: 200, on: 'generate' }]);
  const ports = [await freePort(), await freePort()] as const;
  const atPort = (port: number) => ({ GRM_GRPC__LISTEN: `127.0.0.1:${port}` });
  const first = await cluster.start('coordinator', atPort(ports[0]));
  const fleet: { role: Role; env: Record<string, string>; process: ServiceProcess }[] = [
    { role: 'coordinator', env: atPort(ports[0]), process: first },
  ];
  const start = async (role: Role, env: Record<string, string> = {}): Promise<void> => {
    fleet.push({ role, env, process: await cluster.start(role, env) });
  };
  await Promise.all([
    start('coordinator', atPort(ports[1])),
    ...(['grm-worker', 'grm-worker', 'meta-worker', 'meta-worker'] as const).map((role) => start(role)),
  ]);
  // The vote is named: left to a coordinator, it depends on whether that one has seen a meta worker yet.
  const ranked = (name: string): ScoreRequest => ({ ...request(name), vote: 'meta_topk' });
  // Both doors behind one name, as DNS would give them.
  using client = GrmClient.connect({ address: `ipv4:127.0.0.1:${ports[0]},127.0.0.1:${ports[1]}` });
  await cluster.serving(client, 2, 2);

  const stop = new AbortController();
  let verdicts = 0;
  const asking = (async () => {
    const endless = (function* () {
      for (let number = 0; !stop.signal.aborted; number++) yield ranked(`stream-${number}`);
    })();
    for await (const result of client.scoreMany(endless, { concurrency: 12, deadlineMs: 60_000 })) {
      expect(result.kind === 'fault' ? result.fault : result.verdict).toMatchObject({
        kind: 'valid',
        kValid: k,
        vote: 'meta_topk',
        degraded: [],
      });
      verdicts++;
    }
  })();
  const askingOne = (async () => {
    for (let number = 0; !stop.signal.aborted; number++) {
      const verdict = await client.score(ranked(`single-${number}`), { deadlineMs: 60_000 });
      expect(verdict).toMatchObject({ kind: 'valid', kValid: k, vote: 'meta_topk', degraded: [] });
    }
  })();
  const failure = Promise.all([asking, askingOne]).then(() => undefined);

  const roll = async (): Promise<void> => {
    for (const member of fleet) {
      const before = verdicts;
      member.process.kill('SIGTERM');
      expect(await member.process.ended, `${member.role}: ${member.process.log().slice(-2_000)}`).toBe(0);
      member.process = await cluster.start(member.role, member.env);
      await cluster.serving(client, 2, 2);
      await until(() => verdicts > before, 'the load goes on', 60_000);
    }
  };
  await Promise.race([roll(), failure]);
  stop.abort();
  await failure;
  expect(verdicts).toBeGreaterThan(fleet.length);
  await quiet(client);
  expect((await client.status()).dead).toBe(0);
}, 240_000);

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

  // Room for one sample: one shard at a time, whatever waits.
  expect(await client.setSlots(right.node, 1)).toBe(1);
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
  expect(most).toBe(k / 2);
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

test('P6: a worker whose grace is shorter than its samples hands them back at once', async () => {
  // Long: the verdict can only come because the shards were given back, not because they were missed.
  await using cluster = await startCluster({}, { GRM_NATS__ACK_WAIT_MS: '100000' });
  const coordinator = await cluster.start('coordinator');
  const hasty = await cluster.start('grm-worker', { GRM_WORKER__DRAIN_GRACE_MS: '200' });
  using client = clientOf(coordinator);
  await cluster.serving(client, 1, 0);
  // Samples that never end, for the hasty one alone.
  cluster.engine.setFaults([{ kind: 'hang', next: k, on: 'generate' }]);
  const verdict = client.score({ ...request('handed back'), timeBudgetMs: 90_000 });
  await until(() => cluster.engine.stats().running === k, 'the hasty one is busy');
  const other = await cluster.start('grm-worker');
  await cluster.serving(client, 2, 0);
  hasty.kill('SIGTERM');
  expect(await verdict).toMatchObject({ kind: 'valid', best: 0, kValid: k, degraded: [] });
  expect(new Set((await verdict).samples.map(({ sample }) => sample.worker))).toEqual(new Set([other.node]));
  expect(await hasty.ended).toBe(0);
  await until(() => cluster.engine.stats().running === 0, 'what hung is stopped');
  expect(cluster.engine.stats().aborted).toBe(k);
  await quiet(client);
  expect(await metric(other, 'grm_redeliveries_total')).toBe(0);
}, 120_000);
