// 200 requests of 8 samples over two workers and a meta worker, while one worker is killed and another drained.

import { expect, test } from 'vitest';
import type { Verdict } from '../../src/grm/verdict.js';
import type { ScoreRequest } from '../../src/rpc/client.js';
import { clientOf, quiet, startCluster, same } from '../support/cluster.js';

const requests = 200;
const k = 8;

function request(number: number): ScoreRequest {
  return {
    query: `Question ${number}: which answer is better?`,
    responses: [
      `The answer of quality=${(number % 9) + 1} to ${number}.`,
      `Another one, quality=${((number + 4) % 9) + 1}, for ${number}.`,
    ],
    idempotencyKey: `survival-${number}`,
    k,
  };
}

test('P1 P2 P6: 200 requests x k=8 survive a killed and a drained worker; every verdict arrives and no sample counts twice', async () => {
  await using cluster = await startCluster(
    {},
    { GRM_COORDINATOR__DISPATCH_SAMPLES_MAX: '256', GRM_NATS__ACK_WAIT_MS: '2000' },
  );
  // Slow enough that whoever is killed has work in hand.
  cluster.engine.setFaults([{ kind: 'slow', probability: 1, delayMs: 150, on: 'generate' }]);
  const coordinator = await cluster.start('coordinator');
  const [first, second] = await Promise.all([cluster.start('grm-worker'), cluster.start('grm-worker')]);
  await cluster.start('meta-worker');
  using client = clientOf(coordinator);
  await cluster.serving(client, 2, 1);

  const verdicts = new Map<number, Verdict>();
  let spare: ReturnType<typeof cluster.start> | undefined;
  for await (const result of client.scoreMany(
    Array.from({ length: requests }, (_, number) => request(number)),
    { concurrency: 64, deadlineMs: 120_000 },
  )) {
    if (result.kind === 'fault')
      throw new Error(`request ${result.index}: ${result.fault.kind} ${result.fault.message}`);
    expect(verdicts.has(result.index)).toBe(false);
    verdicts.set(result.index, result.verdict);
    if (verdicts.size === 20) {
      first.kill('SIGKILL');
      spare = cluster.start('grm-worker');
    }
    if (verdicts.size === 80) second.kill('SIGTERM');
  }
  await spare;

  expect(verdicts.size).toBe(requests);
  for (const [number, verdict] of verdicts) {
    expect(verdict.kind, `request ${number}`).toBe('valid');
    expect(
      verdict.samples.map(({ sample }) => sample.index),
      `request ${number}`,
    ).toEqual([0, 1, 2, 3, 4, 5, 6, 7]);
    expect(verdict.vote).toBe('meta_topk');
    expect(verdict.kKept).toBe(k / 2);
    expect(verdict.degraded).toEqual([]);
  }
  expect(await second.ended).toBe(0);
  // What the killed one had in hand may still be on its way to somebody else.
  await quiet(client);

  // What is stored is what was answered, and asking again draws nothing.
  const drawnBefore = cluster.engine.stats().requests;
  for (const number of [0, 19, 20, 81, 199]) {
    const again = await client.score(request(number));
    expect(same(again)).toEqual(same(verdicts.get(number)));
  }
  expect(cluster.engine.stats().requests).toBe(drawnBefore);
  // Whoever was killed had samples in hand: those alone may have been drawn twice.
  const drawn = [...verdicts.values()].flatMap((verdict) => verdict.samples).length;
  expect(drawn).toBe(requests * k);

  await quiet(client);
  expect((await client.status()).dead).toBe(0);
}, 180_000);
