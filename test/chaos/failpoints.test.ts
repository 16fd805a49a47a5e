// A coordinator dies at each step of a request's way, and another one finishes it as if nothing had happened.

import { describe, expect, test } from 'vitest';
import { failpointOf } from '../../services/coordinator/failpoint.js';
import { failpoints, type Failpoint } from '../../src/coordinator/failpoints.js';
import type { Verdict } from '../../src/grm/verdict.js';
import type { ScoreRequest } from '../../src/rpc/client.js';
import { essence, gist } from '../sim/gist.js';
import { clientOf, metric, once, quiet, settled, startCluster } from '../support/cluster.js';
import { until } from '../support/processes.js';
import { chaosJudge, patientMeta, undisturbed } from './calm.js';

const k = 8;

/** Where each one dies: at the first time, or in the middle of what comes several times. */
const where: Readonly<Record<Failpoint, string>> = {
  admitted: 'admitted',
  accepted: 'accepted',
  resumed: 'resumed',
  asked: 'asked:2',
  sampled: 'sampled:3',
  ranking: 'ranking:2',
  gathered: 'gathered',
  withdrawn: 'withdrawn',
  voted: 'voted',
  stored: 'stored',
};

function request(point: Failpoint): ScoreRequest {
  return {
    query: `Which answer is better when a coordinator dies at ${point}?`,
    responses: [`An answer of quality=7 to ${point}.`, `Another, quality=5, to ${point}.`, `A third, quality=4.`],
    idempotencyKey: point,
    k,
    vote: 'meta_topk',
    meta: true,
    timeBudgetMs: 3_600_000,
  };
}

describe('GRM_FAILPOINT', () => {
  test('nothing dies without it, nor at another point, nor before its time', () => {
    expect(failpointOf(undefined, () => undefined)).toBeUndefined();
    expect(failpointOf('', () => undefined)).toBeUndefined();
    const deaths: string[] = [];
    const passes = failpointOf('sampled:2', () => void deaths.push('dead'));
    for (const point of failpoints) passes?.(point);
    expect(deaths).toEqual([]);
    passes?.('sampled');
    expect(deaths).toEqual(['dead']);
  });

  test.each(['sampld', 'sampled:0', 'sampled:x', ':3'])('%s is refused, with the names that there are', (text) => {
    const words = /GRM_FAILPOINT: came .* expected one of admitted, accepted, /;
    expect(() => failpointOf(text, () => undefined)).toThrow(words);
  });
});

test('P1 P2 P3: a coordinator killed at any failpoint leaves its request to another, whose verdict is that of an undisturbed run', async () => {
  const expected = await undisturbed(failpoints.map(request));
  // Shards of two samples, one at a time: whoever dies has some samples stored, some drawn and some not even asked for.
  await using cluster = await startCluster(chaosJudge, {
    ...patientMeta,
    GRM_COORDINATOR__SHARD_SAMPLES_MAX: '2',
    GRM_COORDINATOR__DISPATCH_SAMPLES_MAX: '2',
    GRM_COORDINATOR__TAKEOVER_EVERY_MS: '500',
  });
  // It dies when it takes over what the others leave; the heir comes after it.
  const second = await cluster.start('coordinator', { GRM_FAILPOINT: where.resumed });
  await Promise.all([cluster.start('grm-worker'), cluster.start('meta-worker')]);
  using watching = clientOf(second);
  await cluster.serving(watching, 1, 1);

  const dieAt = async (point: Failpoint, deadlineMs: number): Promise<void> => {
    const doomed = await cluster.start('coordinator', { GRM_FAILPOINT: where[point] });
    using caller = clientOf(doomed, once);
    const told = await settled(caller.score(request(point), { deadlineMs }));
    expect(await doomed.ended, point).toBe('SIGKILL');
    // Its own caller is told that the connection broke; at most its deadline came first. Never a verdict.
    expect(['unreachable', 'deadline_exceeded'], point).toContain(told.kind);
  };
  // Something is withdrawn when a caller's time ends before the samples are there: one of them hangs.
  cluster.engine.setFaults([{ kind: 'hang', next: 1, on: 'generate' }]);
  await dieAt('withdrawn', 10_000);
  expect(cluster.engine.stats().faultsFired.hang).toBe(1);
  const others = failpoints.filter((point) => point !== 'withdrawn' && point !== 'resumed');
  await Promise.all(others.map((point) => dieAt(point, 600_000)));

  expect(await second.ended).toBe('SIGKILL');
  const heir = await cluster.start('coordinator');
  using client = clientOf(heir);
  const accepted = [...others, 'withdrawn' as const].filter((point) => point !== 'admitted');
  const verdicts = new Map<Failpoint, Verdict>();
  await until(
    async () => {
      for (const point of accepted) {
        const stored = verdicts.has(point) ? undefined : await client.verdict(point);
        if (stored) verdicts.set(point, stored.verdict);
      }
      return verdicts.size === accepted.length;
    },
    'every accepted request has its verdict',
    240_000,
  );
  // What was not stored was not accepted: nobody finishes it, and its caller's retry begins it.
  expect(await client.verdict('admitted')).toBeUndefined();
  verdicts.set('admitted', await client.score(request('admitted'), { deadlineMs: 120_000 }));

  for (const [point, verdict] of verdicts) {
    const calm = expected.get(point)!;
    expect(gist(verdict), point).toBe(gist(calm));
    const said = ({ samples }: Verdict) => samples.map(({ sample }) => essence(sample));
    expect(said(verdict), point).toEqual(said(calm));
  }
  // The one that died at `stored` had finished: nobody took that over.
  expect(await metric(heir, 'grm_requests_taken_over_total')).toBe(accepted.length - 1);
  await quiet(client);
  expect((await client.status()).dead).toBe(0);
}, 600_000);
