// Calm: the same requests at a cluster to which nothing happens, for what their verdicts have to be (promise P3).

import type { FakeEngineOptions } from '../../services/fake-engine/options.js';
import type { Verdict } from '../../src/grm/verdict.js';
import type { ScoreRequest } from '../../src/rpc/client.js';
import { clientOf, startCluster } from '../support/cluster.js';

/** A judge that is often wrong, so that samples differ and a vote of other samples would be another vote. */
export const chaosJudge: Partial<FakeEngineOptions> = { accuracy: 0.7, metaAccuracy: 0.8 };

/** The meta RM may be away for as long as a test takes: a verdict without it would be another one. */
export const patientMeta = { GRM_COORDINATOR__META_PATIENCE_MS: '600000' };

/** Verdicts by idempotency key, which every request must have. */
export async function undisturbed(requests: Iterable<ScoreRequest>): Promise<ReadonlyMap<string, Verdict>> {
  await using cluster = await startCluster(chaosJudge, patientMeta);
  const coordinator = await cluster.start('coordinator');
  await Promise.all([cluster.start('grm-worker'), cluster.start('meta-worker')]);
  using client = clientOf(coordinator);
  await cluster.serving(client, 1, 1);
  const verdicts = new Map<string, Verdict>();
  for await (const result of client.scoreMany(requests, { concurrency: 64, deadlineMs: 3_600_000 })) {
    const { idempotencyKey: key = '' } = result.request;
    if (result.kind === 'fault') throw new Error(`${key} fails undisturbed: ${result.fault.message}`);
    verdicts.set(key, result.verdict);
  }
  return verdicts;
}
