// A sample whose ranking kills meta workers, on real processes.

import { expect, test } from 'vitest';
import { clientOf, quiet, startCluster } from '../support/cluster.js';
import { mortalWorkers } from '../support/mortal.js';

const k = 8;

test('P5: one sample that kills whoever ranks it is lost alone, its request is answered with the others ranked', async () => {
  await using cluster = await startCluster(
    {},
    { GRM_NATS__ACK_WAIT_MS: '4000', GRM_COORDINATOR__META_PATIENCE_MS: '120000' },
  );
  const coordinator = await cluster.start('coordinator');
  await cluster.start('grm-worker');
  using client = clientOf(coordinator);
  // The first one that comes; each sample's text is its own.
  let killer: string | undefined;
  const engines = (url: string) => ({
    GRM_META__ENGINES: JSON.stringify([{ kind: 'vllm_classify', base_url: url, slots: 16 }]),
  });
  await using workers = mortalWorkers(cluster, 'meta-worker', engines, (body) => {
    if (!body.includes('unlucky')) return false; // the self-test
    killer ??= body;
    return body === killer;
  });
  await workers.start();
  await cluster.serving(client, 1, 1);
  const verdict = await client.score(
    { query: 'Is this unlucky?', responses: ['An answer of quality=6.'], k, vote: 'meta_topk' },
    { deadlineMs: 400_000 },
  );
  expect(verdict).toMatchObject({ kind: 'valid', kValid: k, degraded: ['meta_partial'] });
  expect(verdict.samples.filter(({ metaReward }) => metaReward !== undefined)).toHaveLength(k - 1);
  expect(workers.deaths()).toBe(5);
  await quiet(client);
  const letters = await client.listDead();
  expect(letters).toMatchObject([{ stage: 'meta', deliveries: 6 }]);
  expect(letters[0]?.samples).toHaveLength(1);
}, 500_000);
