// Late shards on real processes: what a living worker is slow with is asked for once more, elsewhere; what its worker died of is not.

import { expect, test } from 'vitest';
import type { GrmClient, ScoreRequest } from '../../src/rpc/client.js';
import { clientOf, enginesAt, metric, quiet, startCluster } from '../support/cluster.js';
import { closedGate } from '../support/engine-proxy.js';
import { mortalWorkers } from '../support/mortal.js';

// A worker renews what it holds three times within the ack wait: long enough that a busy machine does not miss all of them.
const settings = {
  GRM_NATS__ACK_WAIT_MS: '4000',
  GRM_COORDINATOR__HEDGE__FLOOR_MS: '1000',
  GRM_COORDINATOR__HEDGE__PERCENTILE: '0.5',
  GRM_COORDINATOR__HEDGE__EXTRA_RATIO: '1',
};

function request(name: string, k: number, mark = ''): ScoreRequest {
  return {
    query: `Which answer to ${name} is better?`,
    responses: [`An answer of quality=8 to ${name}. ${mark}`, `Another, quality=3, to ${name}. HARMLESS`],
    idempotencyKey: name,
    k,
  };
}

/** What is late is known from these. */
async function warm(client: GrmClient): Promise<void> {
  for (let i = 0; i < 9; i++) expect(await client.score(request(`warm-${i}`, 8))).toMatchObject({ kValid: 8 });
}

test('a shard that a living worker is slow with is drawn elsewhere', async () => {
  await using cluster = await startCluster({}, settings);
  const coordinator = await cluster.start('coordinator');
  using client = clientOf(coordinator);
  const gate = closedGate();
  let slow = false;
  const look = (body: string, path: string) => (slow && body.includes('SLOW') ? gate.look(body, path) : 'pass');
  await using one = mortalWorkers(cluster, 'grm-worker', enginesAt, () => false, look);
  await using other = mortalWorkers(cluster, 'grm-worker', enginesAt, () => false);
  await one.start();
  await other.start();
  await cluster.serving(client, 2, 0);
  await warm(client);
  slow = true;
  // Enough of them that the slow one has some.
  const verdicts = await Promise.all(
    Array.from({ length: 8 }, (_, i) => client.score(request(`late-${i}`, 4, 'SLOW'), { deadlineMs: 120_000 })),
  );
  for (const verdict of verdicts) expect(verdict).toMatchObject({ kind: 'valid', kValid: 4, degraded: [] });
  expect(await metric(coordinator, 'grm_samples_hedged_total')).toBeGreaterThan(0);
  expect(await metric(other.processes()[0]!, 'grm_hedge_wins_total')).toBeGreaterThan(0);
  gate.open();
  await quiet(client);
}, 240_000);

test('P5: a shard that kills its workers, with others idle beside them, kills so many as it has tries', async () => {
  await using cluster = await startCluster({}, settings);
  const coordinator = await cluster.start('coordinator');
  using client = clientOf(coordinator);
  const kills = (body: string): boolean => body.includes('POISON') && body.indexOf('POISON') < body.indexOf('HARMLESS');
  await using workers = mortalWorkers(cluster, 'grm-worker', enginesAt, kills);
  for (let i = 0; i < 3; i++) await workers.start();
  await cluster.serving(client, 3, 0);
  await warm(client);
  const hedgedBefore = await metric(coordinator, 'grm_samples_hedged_total');
  const verdict = await client.score(request('poisoned', 2, 'POISON'), { deadlineMs: 400_000 });
  const samples = verdict.samples.map(({ sample }) => (sample.kind === 'invalid' ? sample.reason : sample.kind));
  expect(samples.toSorted()).toEqual(['dead_letter', 'scored']);
  expect(workers.deaths()).toBe(5);
  expect(await metric(coordinator, 'grm_samples_hedged_total')).toBe(hedgedBefore);
  await quiet(client);
}, 500_000);
