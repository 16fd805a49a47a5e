// The publisher: its bounds, with a nats-server that holds its connections and answers nobody, and tries that overtake each other in a cluster.

import { setTimeout as sleep } from 'node:timers/promises';
import { expect, test } from 'vitest';
import { openLink } from '../../../src/queue/link.js';
import { openQueue } from '../../../src/queue/jetstream.js';
import { Publisher, publisherBounds } from '../../../src/queue/publisher.js';
import { messageIdHeader, Requests } from '../../../src/queue/requests.js';
import { startNats } from '../../support/nats.js';
import { startNatsCluster } from '../../support/nats-cluster.js';
import { queueOptions } from '../../support/queue-options.js';

test('U1, U3 (Q4): a publish waits for room, and not for ever', async () => {
  await using nats = await startNats();
  const queue = await openQueue(queueOptions(nats));
  const link = await openLink(queueOptions(nats), () => undefined);
  const bounds = { pendingMax: 1, pendingBytesMax: 1_000, roomMs: 2_000, publishForMs: 60_000 };
  const publisher = new Publisher(link, Requests.open(link), () => undefined, bounds);
  const put = (id: string) => publisher.publish(`grm.res.${id}.0`, new Uint8Array(1));
  nats.pause();
  await sleep(100); // a signal takes its time
  const first = put('one');
  await expect(put('two')).rejects.toMatchObject({ fault: { kind: 'queue_unavailable' } });
  const third = put('three');
  nats.resume();
  expect(await first).toMatchObject({ kind: 'stored' });
  expect(await third).toMatchObject({ kind: 'stored' });
  // Many more than there is room for, one after the other.
  const many = await Promise.all(Array.from({ length: 50 }, (_, i) => put(`many${i}`)));
  expect(new Set(many.map(({ kind }) => kind))).toEqual(new Set(['stored']));
  await link.close();
  await queue.close();
});

test('U2 (P1): a try that comes while the cluster still stores the one before it ends as stored, and once', async () => {
  await using nats = await startNatsCluster();
  const servers = nats.servers.map(({ url }) => url);
  const options = queueOptions(nats.servers[0]!, { servers, replicas: 3 });
  const queue = await openQueue(options);
  const link = await openLink(options, () => undefined);
  const publisher = new Publisher(link, Requests.open(link), () => undefined, publisherBounds(60_000));
  const ids = Array.from({ length: 20 }, (_, i) => `twice${i}`);
  const put = (id: string) => publisher.publish(`grm.work.p.rl.${id}.0`, new Uint8Array(9), messageIdHeader(id));
  // On one connection, so they come one right after the other.
  const results = await Promise.all(ids.flatMap((id) => [put(id), put(id), put(id)]));
  expect(new Set(results.map(({ kind }) => kind))).toEqual(new Set(['stored']));
  for (const id of ids) expect(await queue.work.countTasks(id)).toBe(1);
  await link.close();
  await queue.close();
}, 240_000);
