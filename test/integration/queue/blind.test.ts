// J6: a consumer that does not see its newest messages. No server can be made to fall behind at will, so what such a cluster says is
// played by the test, with a nats-server that has no JetStream of its own; that the cure is one, a real cluster shows.

import { jetstreamManager } from '@nats-io/jetstream';
import { connect } from '@nats-io/transport-node';
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { expect, test } from 'vitest';
import { stepDown } from '../../../src/queue/api.js';
import { openLink } from '../../../src/queue/link.js';
import { Janitor } from '../../../src/queue/janitor.js';
import { openQueue } from '../../../src/queue/jetstream.js';
import { Requests } from '../../../src/queue/requests.js';
import { wantedConsumers } from '../../../src/queue/streams.js';
import { startNats } from '../../support/nats.js';
import { startNatsCluster } from '../../support/nats-cluster.js';
import { until } from '../../support/processes.js';
import { queueOptions } from '../../support/queue-options.js';
import { aShard, freshId } from '../../support/work-values.js';

interface Played {
  waiting: number;
  deliveredSeq: number;
  newestSeq: number;
  canMove: boolean;
}

test('J6: it is given to another server once it was blind for settleMs, whoever works; and not while it delivers', async () => {
  const folder = await mkdtemp(join(tmpdir(), 'grm-blind-'));
  const file = join(folder, 'nats.conf');
  await writeFile(file, 'max_payload: 1MB\n');
  await using nats = await startNats({ file });
  const nc = await connect({ servers: nats.url });
  const [wanted] = wantedConsumers({ grm: ['grm'], meta: [] }, 1_000);
  const name = wanted!.config.durable_name;
  const requestId = freshId();
  const played: Played = { waiting: 0, deliveredSeq: 5, newestSeq: 9, canMove: true };
  const asked: string[] = [];
  nc.subscribe('$JS.API.>', {
    callback: (_error, msg) => {
      const call = msg.subject.slice('$JS.API.'.length);
      if (!/INFO|LIST|MSG\.GET/.test(call)) asked.push(call);
      msg.respond(JSON.stringify(answer(call)));
    },
  });
  const answer = (call: string): object => {
    if (call.startsWith('STREAM.INFO'))
      return {
        config: { max_bytes: 1e9 },
        state: {
          messages: 4,
          bytes: 1,
          first_seq: 6,
          last_seq: 9,
          subjects: { [`grm.work.grm.rl.${requestId}.0`]: 4 },
        },
        total: 1,
      };
    if (call.startsWith('CONSUMER.LIST.GRM_WORK'))
      return {
        total: 1,
        consumers: [
          {
            name,
            config: {},
            num_pending: played.waiting,
            num_ack_pending: 0,
            num_redelivered: 0,
            ack_floor: { stream_seq: 5 },
            delivered: { consumer_seq: 5, stream_seq: played.deliveredSeq },
          },
        ],
      };
    if (call.startsWith('CONSUMER.LIST')) return { total: 0, consumers: [] };
    if (call.startsWith('STREAM.MSG.GET')) return { message: { seq: played.newestSeq, subject: 's', data: '' } };
    if (call.startsWith('CONSUMER.LEADER.STEPDOWN') && !played.canMove)
      return { error: { code: 400, err_code: 10_010, description: 'JetStream clustering support required' } };
    return { success: true, config: {}, name };
  };
  const link = await openLink(queueOptions(nats), () => undefined);
  const told: string[] = [];
  const janitorOf = (settleMs: number, replicas = 3): Janitor =>
    new Janitor({
      link,
      requests: Requests.open(link),
      jsm,
      trimmer: { trim: () => Promise.resolve() },
      consumers: [wanted!],
      replicas,
      settleMs,
      onEvent: (event) => {
        if (event.kind === 'topology') told.push(`${event.what} ${event.action}`);
      },
    });
  const jsm = await jetstreamManager(nc, { checkAPI: false });
  const sweep = (janitor: Janitor) =>
    janitor.sweep({ busy: new Set([requestId]), complete: true, oldestOpenAtMs: Date.now() });

  const patient = janitorOf(60_000);
  await sweep(patient);
  await sweep(patient);
  expect(asked).toEqual([]);

  const prompt = janitorOf(0);
  for (const seen of [{ waiting: 4 }, { waiting: 0, deliveredSeq: 9 }, { deliveredSeq: 5, newestSeq: 5 }]) {
    Object.assign(played, seen);
    await sweep(prompt);
    expect(asked, JSON.stringify(played)).toEqual([]);
  }

  Object.assign(played, { newestSeq: 9 });
  await sweep(prompt);
  expect(asked).toEqual([`CONSUMER.LEADER.STEPDOWN.GRM_WORK.${name}`]);
  expect(told).toEqual([`consumer ${name} of GRM_WORK moved`]);

  // Nobody else is there to lead it.
  played.canMove = false;
  asked.length = 0;
  await sweep(prompt);
  expect(asked.map((call) => call.split('.').slice(0, 2).join('.'))).toContain('CONSUMER.DELETE');
  expect(told.at(-1)).toBe(`consumer ${name} of GRM_WORK recreated`);

  // It has delivered more than its stream ever held: no other leader would know better, and it sees nothing until the stream has caught up.
  Object.assign(played, { canMove: true, deliveredSeq: 2_256 });
  asked.length = 0;
  await sweep(patient);
  expect(asked).toEqual([]);
  await sweep(prompt);
  expect(asked.map((call) => call.split('.').slice(0, 2).join('.'))).toContain('CONSUMER.DELETE');
  expect(asked.join()).not.toContain('STEPDOWN');
  // A server alone has no copy that lags: nothing is waited for.
  asked.length = 0;
  await sweep(janitorOf(60_000, 1));
  expect(asked.map((call) => call.split('.').slice(0, 2).join('.'))).toContain('CONSUMER.DELETE');
  await link.close();
  await nc.close();
  await rm(folder, { recursive: true });
});

test('J6: in a real cluster the lead moves, and what waits is delivered all the same', async () => {
  await using nats = await startNatsCluster();
  const [first] = nats.servers;
  const queue = await openQueue(queueOptions(first!, { replicas: 3 }));
  const link = await openLink(queueOptions(first!), () => undefined);
  const nc = await connect({ servers: first!.url });
  const jsm = await jetstreamManager(nc);
  await nats.whole();
  const leader = async (): Promise<string | undefined> =>
    (await jsm.consumers.info('GRM_WORK', 'grm-rl').catch(() => undefined))?.cluster?.leader;
  const before = await leader();
  await queue.work.putShards('grm', 'e', [aShard(freshId(), 0)]);
  await stepDown(Requests.open(link), 'GRM_WORK', 'grm-rl');
  await until(async () => {
    const now = await leader();
    return now !== undefined && now !== '' && now !== before;
  }, 'another server leads it');
  const puller = await queue.work.pullShards('grm');
  await until(async () => {
    const [delivery] = await puller.pull(1, new AbortController().signal);
    delivery?.ack();
    return delivery !== undefined;
  }, 'the task comes');
  await puller.close();
  await link.close();
  await nc.close();
  await queue.close();
});
