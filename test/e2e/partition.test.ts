// A worker whose network is gone: nobody tells it and nobody is told. Others do its work, and it takes part again when the network is back.

import { expect, test } from 'vitest';
import { clientOf, enginesAt, metric, quiet, startCluster, same } from '../support/cluster.js';
import { closedGate, startEngineProxy } from '../support/engine-proxy.js';
import { openNetwork, refusalToIsolate } from '../support/namespace.js';
import { startTcpProxy } from '../support/tcp-proxy.js';
import { until } from '../support/processes.js';

const k = 8;
const isAllowed = (await refusalToIsolate()) === undefined;

function request(name: string) {
  return {
    query: `Which answer to ${name} is better?`,
    responses: [`An answer of quality=8 to ${name}.`, `Another, quality=3, to ${name}.`],
    idempotencyKey: name,
    k,
  };
}

test.runIf(isAllowed)(
  'P1 P2: a busy worker is cut off from NATS and engine at once: another draws its samples, each counts once, and after the cut it works again',
  async () => {
    await using cluster = await startCluster({}, { GRM_NATS__ACK_WAIT_MS: '2000' });
    await using network = await openNetwork();
    const island = await network.openNamespace();
    const gate = closedGate();
    await using engine = await startEngineProxy(cluster.engine.url, gate.look);
    const host = network.hostAddress;
    await using toNats = await startTcpProxy(cluster.nats.port, host);
    await using toEngine = await startTcpProxy(Number(new URL(engine.url).port), host);
    const coordinator = await cluster.start('coordinator');
    const far = await cluster.start(
      'grm-worker',
      { GRM_NATS__SERVERS: JSON.stringify([`nats://${toNats.address}`]), ...enginesAt(`http://${toEngine.address}`) },
      island.enter,
    );
    using client = clientOf(coordinator);
    await cluster.serving(client, 1, 0);
    const verdict = client.score(request('cut off'), { deadlineMs: 240_000 });
    await until(() => gate.held() === k, 'it draws all samples');

    await island.cut();
    const near = await cluster.start('grm-worker');
    const answered = await verdict;
    expect(answered).toMatchObject({ kind: 'valid', best: 0, kValid: k, degraded: [] });
    expect(new Set(answered.samples.map(({ sample }) => sample.worker))).toEqual(new Set([near.node]));

    expect(await metric(near, 'grm_redeliveries_total')).toBeGreaterThan(0);

    // What it may still say of the request comes too late to change anything.
    gate.open();
    await island.join();
    await cluster.serving(client, 2, 0);
    expect(same((await client.verdict('cut off'))?.verdict)).toEqual(same(answered));
    await client.drain([near.node]);
    const after = await client.score(request('together again'), { deadlineMs: 240_000 });
    expect(new Set(after.samples.map(({ sample }) => sample.worker))).toEqual(new Set([far.node]));
    await quiet(client);
    expect(await metric(near, 'grm_samples_total')).toBe(k);
    expect((await client.status()).dead).toBe(0);
  },
  300_000,
);
