// A request that nobody wants any more frees engines and queues, and may be asked again.

import { expect, test } from 'vitest';
import { requestIdOfKey } from '../../src/coordinator/identity.js';
import type { ScoreRequest } from '../../src/rpc/client.js';
import { clientOf, metric, once, quiet, settled, startCluster } from '../support/cluster.js';
import type { ServiceProcess, TestCluster } from '../support/cluster.js';
import { until } from '../support/processes.js';

const k = 8;

function request(name: string): ScoreRequest {
  return {
    query: `Which answer to ${name} is better?`,
    responses: [`An answer of quality=8 to ${name}.`, `Another, quality=3, to ${name}.`],
    idempotencyKey: name,
    k,
  };
}

/** Half of the next request's samples come and are stored, the other half never comes. What the engine has sent may still be on its way. */
async function halfDone(cluster: TestCluster, worker: ServiceProcess, start: () => void): Promise<void> {
  const stored = (): Promise<number> => metric(worker, 'grm_samples_total', { outcome: 'scored' });
  const storedBefore = await stored();
  cluster.engine.setFaults([{ kind: 'hang', next: k / 2, on: 'generate' }]);
  start();
  await until(
    async () => cluster.engine.stats().running === k / 2 && (await stored()) === storedBefore + k / 2,
    'half of the samples is stored and half hangs',
    60_000,
  );
}

async function allFreed(cluster: TestCluster): Promise<void> {
  await until(() => cluster.engine.stats().running === 0, 'the engine runs nothing', 60_000);
}

test('P2 P4: a request whose caller goes away, or that is cancelled at another coordinator, frees engine and queues; asked again it draws only what is missing', async () => {
  await using cluster = await startCluster({}, { GRM_COORDINATOR__LINGER_MS: '300' });
  const [first, second] = await Promise.all([cluster.start('coordinator'), cluster.start('coordinator')]);
  const worker = await cluster.start('grm-worker');
  using left = clientOf(first, once);
  using right = clientOf(second, once);
  await cluster.serving(left, 1, 0);
  // Both coordinators know each other: an order to cancel finds its way.
  await until(
    async () => (await right.status()).nodes.filter(({ role }) => role === 'coordinator').length === 2,
    'two coordinators',
  );

  // The caller goes away.
  const caller = new AbortController();
  let call: Promise<unknown> = Promise.resolve();
  await halfDone(cluster, worker, () => {
    call = settled(left.score(request('left'), { signal: caller.signal }));
  });
  caller.abort();
  expect(await call).toMatchObject({ kind: 'cancelled' });
  await allFreed(cluster);
  await quiet(left);
  expect(await left.verdict('left')).toBeUndefined();
  const drawnOnce = cluster.engine.stats().requests;
  expect(drawnOnce).toBe(k);

  // Asked again it goes on from the samples that are there.
  expect(await left.score(request('left'))).toMatchObject({ kind: 'valid', best: 0, kValid: k, degraded: [] });
  expect(cluster.engine.stats().requests - drawnOnce).toBe(k / 2);

  // Cancelled by an operator who asks the other coordinator.
  const drawnBefore = cluster.engine.stats().requests;
  await halfDone(cluster, worker, () => {
    call = settled(left.score(request('stopped')));
  });
  const id = requestIdOfKey('stopped', 'default');
  expect(await right.cancel(id)).toBe(true);
  expect(await call).toMatchObject({ kind: 'cancelled' });
  await allFreed(cluster);
  await quiet(left);
  expect(await right.cancel(id)).toBe(false);
  expect(await right.cancel(requestIdOfKey('never seen', 'default'))).toBe(false);

  // Asked again, at the other coordinator.
  expect(await right.score(request('stopped'))).toMatchObject({ kind: 'valid', best: 0, kValid: k, degraded: [] });
  expect(cluster.engine.stats().requests - drawnBefore).toBe(k + k / 2);

  // A stream that is left takes all its requests with it.
  cluster.engine.setFaults([{ kind: 'hang', probability: 1, on: 'generate' }]);
  const leaving = new AbortController();
  const many = (async () => {
    const names = Array.from({ length: 20 }, (_, number) => request(`many-${number}`));
    for await (const result of left.scoreMany(names, { signal: leaving.signal })) expect(result.kind).toBe('fault');
  })();
  await until(() => cluster.engine.stats().running === 16, 'every slot hangs', 60_000);
  leaving.abort();
  await many.catch((error: unknown) => expect(error).toMatchObject({ kind: 'cancelled' }));
  await allFreed(cluster);
  await quiet(left);
  await quiet(right);
}, 180_000);
