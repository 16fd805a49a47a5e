// What a coordinator's death leaves behind: others finish it, a restart finishes it, and a retry finds it.

import { expect, test } from 'vitest';
import { GrmError, type ScoreRequest } from '../../src/rpc/client.js';
import type { Verdict } from '../../src/grm/verdict.js';
import { clientOf, enginesAt, freePort, metric, once, quiet, settled, startCluster, same } from '../support/cluster.js';
import { closedGate, startEngineProxy } from '../support/engine-proxy.js';
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

/** Shards of two samples, one shard of a request at a time: whoever is killed has some samples stored, some drawn and some not even asked for. */
const stepwise = {
  GRM_COORDINATOR__SHARD_SAMPLES_MAX: '2',
  GRM_COORDINATOR__DISPATCH_SAMPLES_MAX: '10',
  GRM_COORDINATOR__TAKEOVER_EVERY_MS: '500',
};

test.concurrent(
  'P1 P2: a coordinator killed mid-request leaves its requests to the other, and no stored sample is drawn again',
  async () => {
    await using cluster = await startCluster({}, stepwise);
    const [first, second] = await Promise.all([cluster.start('coordinator'), cluster.start('coordinator')]);
    const gate = closedGate(20);
    await using engine = await startEngineProxy(cluster.engine.url, gate.look);
    await cluster.start('grm-worker', enginesAt(engine.url));
    using doomed = clientOf(first, once);
    using client = clientOf(second);
    await cluster.serving(client, 1, 0);

    const names = Array.from({ length: 8 }, (_, number) => `taken-over-${number}`);
    const calls = names.map((name) => settled(doomed.score(request(name), { deadlineMs: 90_000 })));
    await until(() => cluster.engine.stats().done === 20 && gate.held() > 0, 'a third of the samples is drawn');
    first.kill('SIGKILL');
    await first.ended;
    gate.open();
    const answers = await Promise.all(calls);
    const cutOff = answers.filter((answer) => answer.kind === 'unreachable').length;
    expect(cutOff).toBeGreaterThan(names.length / 2);

    const verdicts = new Map<string, Verdict>();
    await until(
      async () => {
        for (const name of names) {
          const stored = verdicts.has(name) ? undefined : await client.verdict(name);
          if (stored) verdicts.set(name, stored.verdict);
        }
        return verdicts.size === names.length;
      },
      'the other coordinator has finished every request',
      90_000,
    );
    for (const verdict of verdicts.values()) {
      expect(verdict).toMatchObject({ kind: 'valid', best: 0, kValid: k, degraded: [] });
      expect(verdict.samples.map(({ sample }) => sample.index)).toEqual([0, 1, 2, 3, 4, 5, 6, 7]);
    }
    expect(await metric(second, 'grm_requests_taken_over_total')).toBeGreaterThan(names.length / 2);
    expect(await metric(second, 'grm_requests_taken_over_total')).toBeLessThanOrEqual(cutOff);
    await quiet(client);
    expect(cluster.engine.stats().requests).toBe(names.length * k);

    // Asked again, the stored verdict comes and nothing is drawn.
    for (const name of names) expect(same(await client.score(request(name)))).toEqual(same(verdicts.get(name)));
    expect(cluster.engine.stats().requests).toBe(names.length * k);
  },
  180_000,
);

test.concurrent(
  'P1 P2: a lone coordinator, killed and started again, finishes what it had accepted; a retry under the same key joins',
  async () => {
    await using cluster = await startCluster({}, stepwise);
    const gate = closedGate(12);
    await using engine = await startEngineProxy(cluster.engine.url, gate.look);
    const address = `127.0.0.1:${await freePort()}`;
    const first = await cluster.start('coordinator', { GRM_GRPC__LISTEN: address });
    await cluster.start('grm-worker', enginesAt(engine.url));
    using patient = clientOf(first, { retries: { triesMax: 100 } });
    using doomed = clientOf(first, once);
    await cluster.serving(patient, 1, 0);

    // Three callers wait and try again by themselves; three others never come back.
    const waited = ['a', 'b', 'c'].map((name) => patient.score(request(name), { deadlineMs: 120_000 }));
    const left = ['d', 'e', 'f'].map((name) => settled(doomed.score(request(name), { deadlineMs: 120_000 })));
    await until(() => cluster.engine.stats().done === 12 && gate.held() > 0, 'a quarter of the samples is drawn');
    first.kill('SIGKILL');
    await first.ended;
    gate.open();
    const again = await cluster.start('coordinator', { GRM_GRPC__LISTEN: address });

    for (const [at, name] of ['a', 'b', 'c'].entries()) {
      const verdict = await waited[at];
      expect(verdict).toMatchObject({ kind: 'valid', best: 0, kValid: k, degraded: [] });
      expect((await patient.verdict(name))?.verdict).toEqual({ ...verdict, stored: true });
    }
    await Promise.all(left);
    for (const name of ['d', 'e', 'f']) {
      await until(async () => (await patient.verdict(name)) !== undefined, `${name} is finished`, 60_000);
      expect((await patient.verdict(name))?.verdict).toMatchObject({ kind: 'valid', best: 0, kValid: k });
    }
    await quiet(patient);
    expect(await metric(again, 'grm_requests_taken_over_total')).toBeGreaterThan(3);
    expect(cluster.engine.stats().requests).toBe(6 * k);
  },
  180_000,
);

test.concurrent(
  'P2: 50 calls of one key at two coordinators are one request: one verdict, the same in every byte, k samples drawn',
  async () => {
    await using cluster = await startCluster();
    cluster.engine.setFaults([{ kind: 'slow', probability: 1, delayMs: 300, on: 'generate' }]);
    const [first, second] = await Promise.all([cluster.start('coordinator'), cluster.start('coordinator')]);
    await cluster.start('grm-worker');
    using left = clientOf(first);
    using right = clientOf(second);
    await cluster.serving(left, 1, 0);

    const verdicts = await Promise.all(
      Array.from({ length: 50 }, (_, number) => (number % 2 === 0 ? left : right).score(request('the same'))),
    );
    expect(new Set(verdicts.map((verdict) => JSON.stringify(same(verdict)))).size).toBe(1);
    expect(verdicts[0]).toMatchObject({ kind: 'valid', best: 0, kValid: k });
    expect(cluster.engine.stats().requests).toBe(k);
    expect(JSON.stringify(same((await right.verdict('the same'))?.verdict))).toBe(JSON.stringify(same(verdicts[0])));

    const other = { ...request('the same'), k: 4 };
    expect(await settled(left.score(other))).toMatchObject({ kind: 'key_reused' });
  },
  120_000,
);

test.concurrent(
  'P2: a coordinator and a worker that were frozen and come back change nothing: one verdict, the samples that came first',
  async () => {
    await using cluster = await startCluster({}, { ...stepwise, GRM_NATS__ACK_WAIT_MS: '1500' });
    const [frozen, second] = await Promise.all([cluster.start('coordinator'), cluster.start('coordinator')]);
    // The only worker has samples in the engine when it and its coordinator freeze; they are drawn while it sleeps.
    const gate = closedGate();
    await using engine = await startEngineProxy(cluster.engine.url, gate.look);
    const sleeper = await cluster.start('grm-worker', enginesAt(engine.url));
    using sleeping = clientOf(frozen, once);
    using client = clientOf(second);
    await cluster.serving(client, 1, 0);
    const asked = settled(sleeping.score(request('frozen'), { deadlineMs: 90_000 }));
    await until(() => gate.held() > 0, 'samples are drawn');
    sleeper.kill('SIGSTOP');
    frozen.kill('SIGSTOP');
    gate.open();
    const awake = await cluster.start('grm-worker');

    await until(async () => (await client.verdict('frozen')) !== undefined, 'the others have finished it', 90_000);
    const verdict = (await client.verdict('frozen'))?.verdict;
    expect(verdict).toMatchObject({ kind: 'valid', best: 0, kValid: k, degraded: [] });
    expect(new Set(verdict?.samples.map(({ sample }) => sample.worker))).toEqual(new Set([awake.node]));

    // They wake with their samples and their request in hand.
    sleeper.kill('SIGCONT');
    frozen.kill('SIGCONT');
    const answer = await asked;
    // Its own caller is told the same, or that the connection broke meanwhile: never anything else.
    if (answer instanceof GrmError) expect(answer.kind).toBe('unreachable');
    else expect(same(answer)).toEqual(same(verdict));
    await until(
      async () => (await metric(sleeper, 'grm_duplicates_suppressed_total')) > 0,
      'what the sleeper had drawn is suppressed',
      60_000,
    );
    await quiet(client);
    expect((await client.verdict('frozen'))?.verdict).toEqual({ ...verdict, stored: true });
    expect(same(await sleeping.score(request('frozen')))).toEqual(same(verdict));
  },
  180_000,
);
