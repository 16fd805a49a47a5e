// Opening a queue: who makes the streams, how differences are told, and what is said when it cannot work.

import { jetstreamManager } from '@nats-io/jetstream';
import { connect } from '@nats-io/transport-node';
import { expect, test } from 'vitest';
import { FaultError } from '../../../src/fault.js';
import { limits } from '../../../src/limits.js';
import type { QueueEvent } from '../../../src/queue/events.js';
import { openQueue } from '../../../src/queue/jetstream.js';
import { wantedConsumers, wantedStreams } from '../../../src/queue/streams.js';
import { startNats } from '../../support/nats.js';
import { queueOptions } from '../../support/queue-options.js';

async function faultOf(opening: Promise<{ close(): Promise<void> }>): Promise<{ kind: string; message: string }> {
  try {
    await (await opening).close();
  } catch (error) {
    if (error instanceof FaultError) return error.fault;
    throw error;
  }
  throw new Error('the queue opened');
}

test('T1, T2, T3: nats-server 2.9 takes every setting of the table', async () => {
  await using nats = await startNats();
  const queue = await openQueue(queueOptions(nats));
  expect(queue.drift).toEqual([]);
  expect(queue.serverVersion).toMatch(/^2\./);
  await queue.close();
  const again = await openQueue(queueOptions(nats)); // nothing to change the second time
  expect(again.drift).toEqual([]);
  await again.close();
});

test('streams altered by hand: told by those who do not own them, put right by the owner', async () => {
  await using nats = await startNats();
  await (await openQueue(queueOptions(nats))).close();
  const nc = await connect({ servers: nats.url });
  const jsm = await jetstreamManager(nc);
  await jsm.streams.update('GRM_RES', { max_age: 600_000_000_000 });
  await jsm.consumers.update('GRM_WORK', 'grm-rl', { ack_wait: 2_000_000_000 });
  const events: QueueEvent[] = [];
  const worker = await openQueue(queueOptions(nats, { own: false, onEvent: (event) => void events.push(event) }));
  expect(worker.drift).toEqual([
    'stream GRM_RES: max_age should be 86400000000000, the server has 600000000000',
    'consumer grm-rl of GRM_WORK: ack_wait should be 1000000000, the server has 2000000000',
  ]);
  expect(events.filter(({ kind }) => kind === 'drift')).toHaveLength(2);
  await worker.close();
  const owner = await openQueue(queueOptions(nats, { onEvent: (event) => void events.push(event) }));
  expect(owner.drift).toEqual([]);
  expect(events).toContainEqual({ kind: 'topology', what: 'stream GRM_RES', action: 'updated' });
  expect((await jsm.streams.info('GRM_RES')).config.max_age).toBe(86_400_000_000_000);
  await owner.close();
  await nc.close();
});

test('consumers of a version that let fewer deliveries out are raised by the owner', async () => {
  await using nats = await startNats();
  await (await openQueue(queueOptions(nats))).close();
  const nc = await connect({ servers: nats.url });
  const jsm = await jetstreamManager(nc);
  await jsm.consumers.update('GRM_WORK', 'grm-rl', { max_ack_pending: 10_000 });
  const owner = await openQueue(queueOptions(nats));
  expect(owner.drift).toEqual([]);
  expect((await jsm.consumers.info('GRM_WORK', 'grm-rl')).config.max_ack_pending).toBe(limits.ackPendingMax);
  await owner.close();
  await nc.close();
});

test('a setting that cannot be changed any more stays as drift, with the server’s reason', async () => {
  await using nats = await startNats();
  const nc = await connect({ servers: nats.url });
  const jsm = await jetstreamManager(nc);
  const wanted = wantedStreams({
    storage: 'file',
    replicas: 1,
    storageBytesMax: 512 * 1024 * 1024,
    retention: { ledgerMs: 86_400_000, workMs: 7_200_000, deadMs: 604_800_000, leaseMs: 6_000 },
  });
  const work = wanted.find(({ name }) => name === 'GRM_WORK')!;
  const { duplicate_window: _, ...rest } = work;
  await jsm.streams.add({ ...rest, retention: 'limits' });
  const queue = await openQueue(queueOptions(nats));
  expect(queue.drift.join('\n')).toMatch(/GRM_WORK: retention should be "workqueue", the server has "limits" \(.+\)/);
  await queue.close();
  await nc.close();
});

test('one that does not own the streams waits for their owner, and says what is missing when none comes', async () => {
  await using nats = await startNats();
  const alone = await faultOf(openQueue(queueOptions(nats, { own: false, topologyWaitMs: 200 })));
  expect(alone.kind).toBe('failed_precondition');
  expect(alone.message).toContain('stream GRM_REQ is missing');
  const waiting = openQueue(queueOptions(nats, { own: false }));
  const owner = await openQueue(queueOptions(nats));
  const worker = await waiting;
  expect(worker.drift).toEqual([]);
  await worker.close();
  await owner.close();
});

test('several owners may start at once', async () => {
  await using nats = await startNats();
  const owners = await Promise.all([1, 2, 3].map(() => openQueue(queueOptions(nats))));
  expect(owners.map(({ drift }) => drift)).toEqual([[], [], []]);
  await Promise.all(owners.map((owner) => owner.close()));
});

test('too little storage: the error says which knob to turn', async () => {
  await using nats = await startNats({ jetstream: 'max_file_store: 10485760' });
  const fault = await faultOf(openQueue(queueOptions(nats)));
  expect(fault.kind).toBe('failed_precondition');
  expect(fault.message).toContain('storageBytesMax');
  expect(fault.message).toContain('max_file_store');
  const small = await openQueue(queueOptions(nats, { storageBytesMax: 8 * 1024 * 1024 }));
  expect(small.drift).toEqual([]);
  await small.close();
});

test('no server: the error names the addresses that were tried; wrong token: it says so at once', async () => {
  await using nats = await startNats({ config: 'authorization { token: "right" }' });
  const nobody = await faultOf(
    openQueue(queueOptions(nats, { servers: ['nats://127.0.0.1:9', 'nats://127.0.0.1:10'], connectMs: 300 })),
  );
  expect(nobody.kind).toBe('queue_unavailable');
  expect(nobody.message).toContain('nats://127.0.0.1:9, nats://127.0.0.1:10');
  const wrong = await faultOf(openQueue(queueOptions(nats, { token: 'wrong' })));
  expect(wrong.kind).toBe('permission_denied');
  const right = await openQueue(queueOptions(nats, { token: 'right' }));
  expect(right.connected()).toBe(true);
  await right.close();
});

test('T1, T3: the table itself', () => {
  const streams = wantedStreams({
    storage: 'file',
    replicas: 3,
    storageBytesMax: 4 * 1024 ** 3,
    retention: { ledgerMs: 1, workMs: 1, deadMs: 1, leaseMs: 1 },
  });
  const total = streams.reduce((sum, { max_bytes: bytes = 0 }) => sum + bytes, 0);
  expect(total).toBeLessThanOrEqual(4 * 1024 ** 3);
  expect(total).toBeGreaterThan(3.99 * 1024 ** 3);
  for (const name of ['GRM_REQ', 'GRM_RES', 'GRM_FIN']) {
    expect(streams.find((stream) => stream.name === name)).toMatchObject({
      max_msgs_per_subject: 1,
      discard: 'new',
      discard_new_per_subject: true,
    });
  }
  const consumers = wantedConsumers({ grm: ['grm', 'grm', 'big'], meta: ['meta'] }, 30_000);
  expect(consumers.map(({ config }) => config.durable_name)).toEqual([
    'grm-interactive',
    'grm-rl',
    'grm-batch',
    'big-interactive',
    'big-rl',
    'big-batch',
    'meta-interactive',
    'meta-rl',
    'meta-batch',
  ]);
  for (const { config } of consumers) {
    expect(config.max_deliver).toBe(-1);
    expect(config).not.toHaveProperty('backoff');
    expect(config).not.toHaveProperty('inactive_threshold');
  }
});
