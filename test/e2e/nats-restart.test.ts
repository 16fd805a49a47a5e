// nats-server is killed under load, again and again: every request finishes, and nothing of it stays in the queues, so that whoever
// scales workers by them comes to rest. `make kills KILLS=50` kills it more often.

import { jetstreamManager } from '@nats-io/jetstream';
import { connect } from '@nats-io/transport-node';
import { setTimeout as sleep } from 'node:timers/promises';
import { expect, test } from 'vitest';
import type { Verdict } from '../../src/grm/verdict.js';
import type { ScoreRequest } from '../../src/rpc/client.js';
import { clientOf, metric, page, quiet, startCluster, type ServiceProcess } from '../support/cluster.js';
import type { NatsServer } from '../support/nats.js';
import { until } from '../support/processes.js';

const k = 8;
const kills = killsOf(process.env.GRM_NATS_KILLS);
const minute = 60_000;

function killsOf(text = ''): number {
  if (text === '') return 4;
  if (!/^[1-9]\d{0,3}$/.test(text)) throw new RangeError(`KILLS: came ${text}, expected a whole number from 1`);
  return Number(text);
}

function request(number: number): ScoreRequest {
  return {
    query: `Question ${number}: which answer is better?`,
    responses: [`The answer of quality=8 to ${number}.`, `Another one, quality=4, for ${number}.`],
    idempotencyKey: `restart-${number}`,
    k,
  };
}

/** What the server holds of the work queues: messages, and deliveries that it waits for. */
async function left(nats: NatsServer): Promise<{ messages: number; waiting: number; pending: number }> {
  const nc = await connect({ servers: nats.url });
  try {
    const jsm = await jetstreamManager(nc);
    const sum = { messages: 0, waiting: 0, pending: 0 };
    for (const stream of ['GRM_WORK', 'GRM_META']) {
      sum.messages += (await jsm.streams.info(stream)).state.messages;
      for await (const consumer of jsm.consumers.list(stream)) {
        sum.waiting += consumer.num_pending;
        sum.pending += consumer.num_ack_pending;
      }
    }
    return sum;
  } finally {
    await nc.close();
  }
}

/** What autoscalers read: the gauge of every queue, by state. */
async function signal(coordinator: ServiceProcess): Promise<readonly number[]> {
  const { body } = await page(coordinator, '/metrics');
  const lines = body.split('\n').filter((line) => line.startsWith('grm_queue_messages{'));
  return lines.map((line) => Number(line.slice(line.lastIndexOf(' '))));
}

test(
  `P1 P2: nats-server killed again and again under load: every request gets its verdict, no sample counts twice, the queues end empty without phantoms, and what autoscalers read is zero`,
  async () => {
    await using cluster = await startCluster(
      {},
      { GRM_NATS__ACK_WAIT_MS: '2000', GRM_COORDINATOR__SWEEP_EVERY_MS: '1000' },
    );
    cluster.engine.setFaults([{ kind: 'slow', probability: 1, delayMs: 100, on: 'generate' }]);
    const coordinator = await cluster.start('coordinator');
    const workers = await Promise.all([cluster.start('grm-worker'), cluster.start('grm-worker')]);
    await cluster.start('meta-worker');
    using client = clientOf(coordinator);
    await cluster.serving(client, 2, 1);

    const verdicts = new Map<number, Verdict>();
    let underFire = true;
    const restarts = (async () => {
      for (let kill = 1; kill <= kills; kill++) {
        const before = verdicts.size;
        await until(() => verdicts.size >= before + 30, `30 verdicts before kill ${kill}`, 120_000);
        await cluster.nats.kill('SIGKILL');
        await sleep(1_000);
        await cluster.nats.restart();
        for (const each of [coordinator, ...workers]) {
          await until(async () => (await metric(each, 'grm_nats_reconnects_total')) === kill, `${each.role} is back`);
        }
      }
    })().finally(() => (underFire = false));
    // The load ends after the last kill, however long that takes; at most so many are open then.
    const load = (function* () {
      for (let number = 0; underFire; number++) yield request(number);
    })();
    for await (const result of client.scoreMany(load, { concurrency: 32, deadlineMs: (2 + kills) * minute })) {
      if (result.kind === 'fault')
        throw new Error(`request ${result.index}: ${result.fault.kind} ${result.fault.message}`);
      expect(verdicts.has(result.index)).toBe(false);
      verdicts.set(result.index, result.verdict);
    }
    await restarts;

    const requests = verdicts.size;
    expect([...verdicts.keys()].sort((a, b) => a - b)).toEqual(Array.from({ length: requests }, (_, number) => number));
    for (const [number, verdict] of verdicts) {
      expect(verdict, `request ${number}`).toMatchObject({ kind: 'valid', kValid: k });
      expect(verdict.samples.map(({ sample }) => sample.index)).toEqual([0, 1, 2, 3, 4, 5, 6, 7]);
      expect(new Set(verdict.samples.map(({ sample }) => sample.seed)).size).toBe(k);
    }
    // What was answered is what is stored.
    for (const number of [0, 31, 62, 93, requests - 1]) {
      expect((await client.verdict(`restart-${number}`))?.verdict).toEqual({ ...verdicts.get(number), stored: true });
    }

    await quiet(client);
    await until(
      async () => {
        const { messages, waiting, pending } = await left(cluster.nats);
        return messages + waiting + pending === 0;
      },
      'the janitor has cleared what the killed server left',
      60_000,
    ).catch(async (error: unknown) => {
      throw new Error(
        `${String(error)}: ${JSON.stringify(await left(cluster.nats))}\n${coordinator.log().slice(-4_000)}`,
      );
    });
    // Two queues, three classes, two states: all of them told, all of them zero.
    await until(async () => (await signal(coordinator)).every((count) => count === 0), 'autoscalers see nothing to do');
    expect(await signal(coordinator)).toEqual(Array.from({ length: 12 }, () => 0));
    expect((await client.status()).dead).toBe(0);
    for (const process of [coordinator, ...workers])
      expect(await metric(process, 'grm_nats_reconnects_total')).toBe(kills);

    if (kills > 4) {
      const count = async (what: string): Promise<number> => metric(coordinator, what);
      const orphans = await count('grm_queue_orphans_total');
      console.log(
        `${kills} kills, ${requests} requests, ${requests * k} samples, ${orphans} orphans and phantoms swept`,
      );
    }

    // And it works as before.
    expect(await client.score({ query: 'After all that?', responses: ['quality=9', 'quality=1'] })).toMatchObject({
      kind: 'valid',
      best: 0,
      degraded: [],
    });
  },
  (4 + 2 * kills) * minute,
);
