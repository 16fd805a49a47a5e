// A shard that kills whoever works on it, and an engine that is away.

import { expect, test } from 'vitest';
import type { ScoreRequest } from '../../src/rpc/client.js';
import { clientOf, enginesAt, quiet, startCluster, type ServiceProcess, same } from '../support/cluster.js';
import { cliFolder } from '../support/cli.js';
import { startEngineProxy, type EngineProxy } from '../support/engine-proxy.js';

const k = 8;

function request(name: string, mark = ''): ScoreRequest {
  return {
    query: `Which answer to ${name} is better?`,
    responses: [`An answer of quality=8 to ${name}. ${mark}`, `Another, quality=3, to ${name}. HARMLESS`],
    idempotencyKey: name,
    k,
  };
}

// A worker renews what it holds three times within the ack wait: long enough that a busy machine does not miss all of them, or a delivery
// would count to which nobody died.
test('P5: a shard that kills its worker on every delivery ends in quarantine, its request is answered without it, neighbours finish, and it can be run again', async () => {
  await using cluster = await startCluster({}, { GRM_NATS__ACK_WAIT_MS: '4000' });
  const coordinator = await cluster.start('coordinator');
  using client = clientOf(coordinator);

  let poisonous = true;
  let deaths = 0;
  const proxies: EngineProxy[] = [];
  /** A worker that dies of the prompt in which the marked response stands first, and comes back, as under Kubernetes. */
  const workerThatDies = async (): Promise<void> => {
    const victim: { process?: ServiceProcess } = {};
    let dying = false;
    const proxy = await startEngineProxy(cluster.engine.url, (body) => {
      const poison = poisonous && body.includes('POISON') && body.indexOf('POISON') < body.indexOf('HARMLESS');
      if (!poison) return 'pass';
      // The four samples of an order come at once and are one death.
      if (!dying) {
        dying = true;
        deaths += 1;
        victim.process?.kill('SIGKILL');
        reborn = reborn.then(workerThatDies);
      }
      return 'break';
    });
    proxies.push(proxy);
    victim.process = await cluster.start('grm-worker', enginesAt(proxy.url));
  };
  let reborn: Promise<void> = Promise.resolve();
  try {
    // A single worker: whoever is in its hands dies with it, again and again.
    await workerThatDies();
    await cluster.serving(client, 1, 0);

    cluster.engine.setFaults([{ kind: 'slow', probability: 1, delayMs: 200, on: 'generate' }]);
    const ask = (name: string, mark?: string) => client.score(request(name, mark), { deadlineMs: 150_000 });
    const before = [0, 1, 2, 3].map((number) => ask(`before-${number}`));
    const poisoned = ask('poisoned', 'POISON');
    const after = [0, 1, 2, 3, 4, 5, 6, 7].map((number) => ask(`after-${number}`));
    for (const neighbour of await Promise.all([...before, ...after])) {
      expect(neighbour).toMatchObject({ kind: 'valid', best: 0, kValid: k, degraded: [] });
    }
    const verdict = await poisoned;
    expect(verdict).toMatchObject({ kind: 'valid', best: 0, kValid: k / 2, degraded: ['samples_invalid'] });
    const reasons = verdict.samples.map(({ sample }) => (sample.kind === 'invalid' ? sample.reason : sample.kind));
    expect(reasons.filter((reason) => reason === 'dead_letter')).toHaveLength(k / 2);
    expect(deaths).toBe(5);
    await quiet(client);

    const [letter, ...more] = await client.listDead();
    expect(more).toEqual([]);
    expect(letter).toMatchObject({ stage: 'sample', deliveries: 6, requestId: verdict.requestId });
    expect(letter?.samples).toHaveLength(k / 2);
    expect(letter?.reason).toMatch(/5 deliveries and none was finished/);
    // As an operator sees it.
    await using cli = await cliFolder({ GRM_ADDRESS: coordinator.grpc });
    const table = await cli.run(['dead', 'list']);
    expect([table.code, table.err]).toEqual([0, '']);
    expect(table.out).toContain(letter?.id);
    expect(table.out).toContain('5 deliveries and none was finished');
    const listed = JSON.parse((await cli.run(['dead', 'list', '--json'])).out) as unknown;
    expect(listed).toMatchObject([{ id: letter?.id, request_id: verdict.requestId, stage: 'sample', deliveries: 6 }]);
    // Answered as it is, as long as nobody has it run again.
    expect(same(await client.score(request('poisoned', 'POISON')))).toEqual(same(verdict));

    // The cause is mended: it runs again, from the good samples.
    poisonous = false;
    await reborn;
    await cluster.serving(client, 1, 0);
    const drawnBefore = cluster.engine.stats().requests;
    expect(await cli.run(['dead', 'retry', letter?.id ?? ''])).toEqual({
      code: 0,
      out: `1 request runs again, 1 shard taken back: ${verdict.requestId}\n`,
      err: '',
    });
    const mended = await client.score(request('poisoned', 'POISON'), { deadlineMs: 60_000 });
    expect(mended).toMatchObject({ kind: 'valid', best: 0, kValid: k, degraded: [] });
    expect(cluster.engine.stats().requests - drawnBefore).toBe(k / 2);
    expect(await client.listDead()).toEqual([]);
    const gone = 'r00000000000000000000000000000000.sample.0';
    expect((await client.retryDead([gone])).refused.size).toBe(1);
    const unknown = await cli.run(['dead', 'retry', gone, '--json']);
    expect(unknown.out, unknown.err).toContain(`"refused":{"${gone}"`);
    expect(unknown.code).toBe(1);
  } finally {
    poisonous = false;
    await reborn;
    for (const proxy of proxies) await proxy[Symbol.asyncDispose]();
  }
}, 240_000);
