// Streams that somebody removes, empties or changes while all is running: noticed, made anew, and told.

import { jetstreamManager, type JetStreamManager } from '@nats-io/jetstream';
import { connect } from '@nats-io/transport-node';
import { setTimeout as sleep } from 'node:timers/promises';
import { expect, test } from 'vitest';
import { limits } from '../../../src/limits.js';
import type { QueueEvent } from '../../../src/queue/events.js';
import { openQueue, type QueueOptions } from '../../../src/queue/jetstream.js';
import type { Look, QueueSystem } from '../../../src/queue/queue.js';
import { startNats, type NatsServer } from '../../support/nats.js';
import { queueOptions } from '../../support/queue-options.js';
import { aRecord, aSample, aShard, aVerdict, freshId } from '../../support/work-values.js';
import { putSample } from '../../support/lanes.js';

const never = new AbortController().signal;
/** Looks when the test says so. */
const seldom = { storageLookMs: 3_600_000 } as const;

interface Setting extends AsyncDisposable {
  readonly nats: NatsServer;
  readonly jsm: JetStreamManager;
  readonly queue: QueueSystem;
  readonly events: QueueEvent[];
  readonly looks: Look[];
}

async function setting(options: Partial<QueueOptions> = seldom, jetstream?: string): Promise<Setting> {
  const nats = await startNats(jetstream === undefined ? {} : { jetstream });
  const nc = await connect({ servers: nats.url, maxReconnectAttempts: -1, reconnectTimeWait: 50 });
  const events: QueueEvent[] = [];
  const looks: Look[] = [];
  const queue = await openQueue(queueOptions(nats, { ...options, onEvent: (event) => void events.push(event) }));
  queue.storage.onLook((look) => void looks.push(look));
  return {
    nats,
    jsm: await jetstreamManager(nc),
    queue,
    events,
    looks,
    async [Symbol.asyncDispose]() {
      await queue.close();
      await nc.close();
      await nats[Symbol.asyncDispose]();
    },
  };
}

const names = [
  'GRM_REQ',
  'GRM_RES',
  'GRM_FIN',
  'GRM_WORK',
  'GRM_META',
  'GRM_DEAD',
  'OBJ_GRM_BLOBS',
  'KV_GRM_TEMPLATES',
  'KV_GRM_CLUSTER',
];

test.each(names)('W1, W4: %s is removed: a look makes it anew, with its consumers, and tells of it', async (name) => {
  await using s = await setting();
  await s.queue.storage.look();
  expect(s.queue.storage.troubles()).toEqual([]);
  await s.jsm.streams.delete(name);
  await s.queue.storage.look();
  expect(s.looks.at(-1)?.lost).toEqual([name]);
  expect(s.events).toContainEqual({ kind: 'stream_lost', stream: name });
  expect(s.events).toContainEqual({ kind: 'topology', what: `stream ${name}`, action: 'created' });
  expect(s.queue.storage.troubles()).toEqual([]);
  expect(s.queue.drift).toEqual([]);
  const id = freshId();
  expect(await s.queue.work.putShards('grm', 'e', [aShard(id, 0)])).toEqual({ kind: 'stored' });
  const puller = await s.queue.work.pullShards('grm');
  const [delivery] = await puller.pull(1, never);
  expect(delivery?.requestId).toBe(id);
  delivery?.ack();
  await puller.close();
});

test('W1: whoever publishes to a stream that is gone waits a moment: it is looked for at once, and the message is stored', async () => {
  await using s = await setting();
  await s.jsm.streams.delete('GRM_REQ');
  await s.jsm.streams.delete('GRM_FIN');
  await sleep(limits.storageLookMsMin);
  const id = freshId();
  expect(await s.queue.ledger.accept(aRecord(id))).toEqual({ kind: 'new' });
  expect(await s.queue.ledger.putVerdict(aVerdict(id))).toBe('stored');
  expect(await s.queue.ledger.verdict(id)).toEqual(aVerdict(id));
});

test('W1: consumers that are removed are made anew', async () => {
  await using s = await setting();
  await s.jsm.consumers.delete('GRM_WORK', 'grm-rl');
  await s.jsm.consumers.delete('GRM_META', 'meta-batch');
  await s.queue.storage.look();
  expect(s.events).toContainEqual({ kind: 'stream_lost', stream: 'GRM_WORK grm-rl' });
  expect((await s.jsm.consumers.info('GRM_WORK', 'grm-rl')).config.durable_name).toBe('grm-rl');
  expect((await s.jsm.consumers.info('GRM_META', 'meta-batch')).config.durable_name).toBe('meta-batch');
  expect(s.queue.storage.troubles()).toEqual([]);
});

test('W1: what cannot be made anew stays a trouble that names the stream and why, until it can', async () => {
  await using s = await setting({ ...seldom, storageBytesMax: 64 * 1024 * 1024 }, 'max_file_store: 64MB');
  await s.queue.storage.look();
  await s.jsm.streams.delete('GRM_RES');
  await s.jsm.streams.add({ name: 'SOMEBODY', subjects: ['somebody'], max_bytes: 12 * 1024 * 1024 });
  await s.queue.storage.look();
  expect(s.queue.storage.troubles().join()).toMatch(/stream GRM_RES cannot be made anew: .*storageBytesMax/);
  expect(s.events.filter(({ kind }) => kind === 'stream_trouble').length).toBeGreaterThan(0);
  await s.jsm.streams.delete('SOMEBODY');
  await s.queue.storage.look();
  expect(s.queue.storage.troubles()).toEqual([]);
});

test('W4: emptied ledger streams are told, and work queues that are empty', async () => {
  await using s = await setting();
  const id = freshId();
  await s.queue.ledger.accept(aRecord(id));
  await putSample(s.queue.ledger, id, aSample(0));
  await s.queue.work.putShards('grm', 'e', [aShard(id, 0)]);
  await s.queue.storage.look();
  expect(s.looks.at(-1)).toEqual({ lost: [], isIdle: false });
  for (const name of ['GRM_REQ', 'GRM_RES', 'GRM_WORK']) await s.jsm.streams.purge(name);
  await s.queue.storage.look();
  expect(s.looks.at(-1)).toEqual({ lost: ['GRM_REQ', 'GRM_RES'], isIdle: true });
});

test('W2: a setting that is changed is put right once; changed again it is told as drift, and what the promises rest on is a trouble', async () => {
  await using s = await setting();
  await s.queue.storage.look();
  const { max_bytes: bytesMax } = (await s.jsm.streams.info('GRM_RES')).config;
  const change = async (): Promise<void> => {
    const { config } = await s.jsm.streams.info('GRM_RES');
    const { republish: _, ...rest } = config;
    await s.jsm.streams.update('GRM_RES', { ...rest, max_bytes: 1_000_000 });
    await s.queue.storage.look();
  };
  await change();
  await s.queue.storage.look();
  expect((await s.jsm.streams.info('GRM_RES')).config).toMatchObject({ max_bytes: bytesMax });
  expect(s.queue.drift).toEqual([]);
  await change();
  await s.queue.storage.look();
  expect((await s.jsm.streams.info('GRM_RES')).config.max_bytes).toBe(1_000_000);
  expect(s.queue.drift.join('\n')).toContain('GRM_RES: max_bytes should be');
  expect(s.queue.storage.states().find(({ stream }) => stream === 'GRM_RES')?.bytesMax).toBe(1_000_000);
  expect(s.queue.storage.troubles()).toEqual([]);
  for (let times = 0; times < 2; times += 1) {
    const { config } = await s.jsm.streams.info('GRM_FIN');
    await s.jsm.streams.update('GRM_FIN', { ...config, discard: 'old', discard_new_per_subject: false });
    await s.queue.storage.look();
    await s.queue.storage.look();
  }
  expect(s.queue.storage.troubles().join()).toMatch(/stream GRM_FIN was changed and cannot be worked with: .*discard/);
});

test('a coordinator that does not make a stream anew itself hears of it all the same', async () => {
  await using s = await setting();
  const other = await openQueue(queueOptions(s.nats, seldom));
  const looks: Look[] = [];
  other.storage.onLook((look) => void looks.push(look));
  await other.storage.look();
  await s.jsm.streams.delete('GRM_REQ');
  await s.queue.storage.look();
  await other.storage.look();
  expect(looks.map(({ lost }) => lost)).toEqual([[], ['GRM_REQ']]);
  await other.close();
});
