// The janitor: what a killed server leaves behind goes away, and nothing else does.

import { jetstreamManager, type JetStreamManager } from '@nats-io/jetstream';
import { connect } from '@nats-io/transport-node';
import { setTimeout as sleep } from 'node:timers/promises';
import { expect, test } from 'vitest';
import type { QueueEvent } from '../../../src/queue/events.js';
import { openQueue } from '../../../src/queue/jetstream.js';
import type { QueueSystem, Swept } from '../../../src/queue/queue.js';
import { startNats, type NatsServer } from '../../support/nats.js';
import { until } from '../../support/processes.js';
import { queueOptions } from '../../support/queue-options.js';
import { aRecord, aSample, aShard, aVerdict, freshId, someContent } from '../../support/work-values.js';
import { putSample, samplesOf } from '../../support/lanes.js';

const nobody: ReadonlySet<string> = new Set();

/** The server's own view, over a connection of its own. */
async function view(nats: NatsServer): Promise<{ jsm: JetStreamManager } & AsyncDisposable> {
  const nc = await connect({ servers: nats.url, maxReconnectAttempts: -1, reconnectTimeWait: 50 });
  return { jsm: await jetstreamManager(nc), [Symbol.asyncDispose]: () => nc.close() };
}

async function emptied(jsm: JetStreamManager): Promise<boolean> {
  const { state } = await jsm.streams.info('GRM_WORK');
  const { num_pending: waiting, num_ack_pending: pending } = await jsm.consumers.info('GRM_WORK', 'grm-rl');
  return state.messages === 0 && waiting === 0 && pending === 0;
}

/** A worker as the real ones are: looks into the ledger first, stores once, acks. */
function work(queue: QueueSystem): { drawn(): number; stop(): Promise<void> } {
  const stop = new AbortController();
  let drawn = 0;
  const running = (async () => {
    const puller = await queue.work.pullShards('grm');
    const inHand = new Set<Promise<void>>();
    while (!stop.signal.aborted) {
      for (const delivery of await puller.pull(64, stop.signal)) {
        const done = (async () => {
          const { requestId, shard } = delivery.task!;
          if (!(await samplesOf(queue.ledger, requestId, [shard])).has(shard)) {
            drawn += 1;
            await putSample(queue.ledger, requestId, aSample(shard));
          }
          delivery.ack();
        })().finally(() => inHand.delete(done));
        inHand.add(done);
      }
    }
    await Promise.all(inHand);
    await puller.close();
  })();
  return {
    drawn: () => drawn,
    async stop() {
      stop.abort();
      await running;
    },
  };
}

/** Shards put and done while the server is killed again and again; resolves to how many there were, all of them in the ledger. */
async function loadUnderKills(nats: NatsServer, queue: QueueSystem, id: string, kills: number): Promise<number> {
  let put = 0;
  let loading = true;
  const load = (async () => {
    while (loading) {
      const shards = Array.from({ length: 20 }, (_, i) => aShard(id, put + i));
      put += shards.length;
      expect(await queue.work.putShards('grm', 'e', shards)).toEqual({ kind: 'stored' });
    }
  })();
  for (let kill = 0; kill < kills; kill += 1) {
    await sleep(250);
    await nats.kill();
    await nats.restart();
    while (!queue.connected()) await sleep(5);
  }
  loading = false;
  await load;
  const indexes = Array.from({ length: put }, (_, i) => i);
  // What a killed server forgot to deliver comes when the janitor has looked, as it does in a cluster.
  const sweepFromMs = Date.now() + 20_000;
  const allStored = async (): Promise<boolean> => {
    if (Date.now() > sweepFromMs) await queue.sweep({ busy: nobody, complete: true, oldestOpenAtMs: Date.now() });
    return (await samplesOf(queue.ledger, id, indexes)).size === put;
  };
  await until(allStored, 'all is stored: nothing is lost', 100_000);
  return put;
}

test('J1 (P1): after three kill -9 under load the work queue ends empty, and nothing was drawn for an orphan', async () => {
  await using nats = await startNats();
  await using server = await view(nats);
  const queue = await openQueue(queueOptions(nats, { settleMs: 300 }));
  const worker = await openQueue(queueOptions(nats, { own: false }));
  const working = work(worker);
  await loadUnderKills(nats, queue, freshId(), 3);
  const drawn = working.drawn();
  const left = (await server.jsm.streams.info('GRM_WORK')).state.messages;
  const swept: Swept[] = [];
  for (let i = 0; i < 1_000 && !(await emptied(server.jsm)); i += 1) {
    swept.push(...(await queue.sweep({ busy: nobody, complete: true, oldestOpenAtMs: Date.now() })));
    await sleep(50);
  }
  expect(await emptied(server.jsm)).toBe(true);
  expect(working.drawn()).toBe(drawn);
  if (left > 0) expect(swept.length).toBeGreaterThan(0);
  expect(await queue.sweep({ busy: nobody, complete: true, oldestOpenAtMs: Date.now() })).toEqual([]);
  await working.stop();
  await queue.close();
  await worker.close();
});

test('J2: while other tasks wait, orphans at or below the ack floor go and the waiting ones stay', async () => {
  await using nats = await startNats();
  await using server = await view(nats);
  const queue = await openQueue(queueOptions(nats));
  const worker = await openQueue(queueOptions(nats, { own: false }));
  const working = work(worker);
  await loadUnderKills(nats, queue, freshId(), 2);
  await working.stop();
  await sleep(100);
  const waiting = freshId();
  await queue.work.putShards(
    'grm',
    'e',
    Array.from({ length: 30 }, (_, i) => aShard(waiting, i)),
  );
  const held = async () => (await server.jsm.streams.info('GRM_WORK')).state.messages;
  const before = await held();
  const swept: Swept[] = [];
  for (let i = 0; i < 3; i += 1)
    swept.push(...(await queue.sweep({ busy: nobody, complete: true, oldestOpenAtMs: Date.now() })));
  const gone = swept.reduce((sum, row) => sum + row.orphans, 0);
  const floor = (await server.jsm.consumers.info('GRM_WORK', 'grm-rl')).ack_floor.stream_seq;
  // Mostly all but the 30; after a restart the server may leave the floor behind what is acknowledged, and then some stay for J1.
  expect((await server.jsm.streams.info('GRM_WORK')).state.first_seq).toBeGreaterThan(floor);
  expect(await held()).toBe(before - gone);
  const puller = await queue.work.pullShards('grm');
  const units = new Set<number>();
  for (let i = 0; i < 20 && units.size < 30; i += 1) {
    for (const delivery of await puller.pull(30, new AbortController().signal)) {
      if (delivery.requestId === waiting) units.add(delivery.task!.shard);
      delivery.ack();
    }
  }
  expect(units.size).toBe(30);
  await puller.close();
  await queue.close();
  await worker.close();
});

test('J1: while a live node works on a request, or tasks wait, the consumer is left alone', async () => {
  await using nats = await startNats();
  await using server = await view(nats);
  const queue = await openQueue(queueOptions(nats, { ackWaitMs: 30_000, settleMs: 0 }));
  const created = async () => (await server.jsm.consumers.info('GRM_WORK', 'grm-rl')).created;
  const before = await created();
  const id = freshId();
  await queue.work.putShards('grm', 'e', [aShard(id, 0)]);
  await queue.sweep({ busy: nobody, complete: true, oldestOpenAtMs: Date.now() }); // it waits: not an orphan
  const puller = await queue.work.pullShards('grm');
  const [delivery] = await puller.pull(1, new AbortController().signal);
  await queue.sweep({ busy: new Set([id]), complete: true, oldestOpenAtMs: Date.now() });
  expect(await created()).toBe(before);
  delivery?.ack();
  await puller.close();
  await queue.close();
});

test('J3 (P4): under storage pressure old finished requests go, open ones and their neighbours in time stay', async () => {
  await using nats = await startNats();
  const events: QueueEvent[] = [];
  const queue = await openQueue(
    queueOptions(nats, {
      storageBytesMax: 4 * 1024 * 1024,
      onEvent: (event) => void events.push(event),
      trimMarginMs: 0,
    }),
  );
  const filler = 'x'.repeat(20_000);
  const done: string[] = [];
  const finish = async (): Promise<void> => {
    const id = freshId('done');
    await queue.ledger.accept(aRecord(id));
    await putSample(queue.ledger, id, aSample(0, { text: filler }));
    await queue.ledger.putVerdict(aVerdict(id, { samples: [{ sample: aSample(0, { text: filler }), kept: 'kept' }] }));
    done.push(id);
  };
  for (let i = 0; i < 20; i += 1) await finish();
  await sleep(20);
  const openedAtMs = Date.now();
  const open = freshId('open');
  await queue.ledger.accept(aRecord(open, { acceptedAtMs: openedAtMs }));
  await putSample(queue.ledger, open, aSample(0));
  for (let i = 0; i < 18; i += 1) await finish();
  await queue.sweep({ busy: new Set([open]), complete: true, oldestOpenAtMs: openedAtMs });
  expect(events.filter(({ kind }) => kind === 'trimmed').length).toBeGreaterThan(0);
  expect((await queue.ledger.record(open))?.requestId).toBe(open);
  expect((await samplesOf(queue.ledger, open, [0])).size).toBe(1);
  expect(await queue.ledger.verdict(done[0]!)).toBeUndefined();
  expect((await queue.ledger.verdict(done.at(-1)!))?.requestId).toBe(done.at(-1));
  const unfinished: string[] = [];
  for await (const record of queue.ledger.unfinished()) unfinished.push(record.requestId);
  expect(unfinished).toEqual([open]); // a trimmed verdict does not make its request look unfinished
  await queue.close();
});

test('J4 (P1): an accepted request that nobody runs is not trimmed, nor a sample older than its record; J1: not knowing who works stops no trimming', async () => {
  await using nats = await startNats();
  await using server = await view(nats);
  const events: QueueEvent[] = [];
  const queue = await openQueue(
    queueOptions(nats, {
      storageBytesMax: 4 * 1024 * 1024,
      onEvent: (event) => void events.push(event),
      trimMarginMs: 0,
      settleMs: 0,
    }),
  );
  const text = 'x'.repeat(20_000);
  const finish = async (): Promise<string> => {
    const id = freshId('done');
    await queue.ledger.accept(aRecord(id, { content: { ...someContent, responses: [text.slice(3_000), 'b'] } }));
    await putSample(queue.ledger, id, aSample(0, { text }));
    await queue.ledger.putVerdict(aVerdict(id, { samples: [{ sample: aSample(0, { text }), kept: 'kept' }] }));
    return id;
  };
  const old = await finish();
  await sleep(5);
  const open = freshId('open');
  await putSample(queue.ledger, open, aSample(3)); // of an earlier try, which was cancelled
  const between = await finish();
  await queue.ledger.accept(aRecord(open, { owner: 'a-dead-coordinator' }));
  for (let i = 0; i < 36; i += 1) await finish();
  // A task in the hands of a worker that `busy` does not name: a consumer made anew would give it to somebody else.
  const created = (await server.jsm.consumers.info('GRM_WORK', 'grm-rl')).created;
  await queue.work.putShards('grm', 'e', [aShard(open, 0)]);
  const puller = await queue.work.pullShards('grm');
  const [delivery] = await puller.pull(1, new AbortController().signal);
  for (let i = 0; i < 2; i += 1) await queue.sweep({ busy: nobody, complete: false, oldestOpenAtMs: Date.now() });
  expect((await server.jsm.consumers.info('GRM_WORK', 'grm-rl')).created).toBe(created);
  delivery?.ack();
  await puller.close();
  expect(events.flatMap((event) => (event.kind === 'trimmed' ? event.stream : [])).toSorted()).toEqual(
    expect.arrayContaining(['GRM_FIN', 'GRM_REQ', 'GRM_RES']),
  );
  expect(await queue.ledger.verdict(old)).toBeUndefined();
  expect((await queue.ledger.record(open))?.owner).toBe('a-dead-coordinator');
  expect((await samplesOf(queue.ledger, open, [3])).size).toBe(1);
  expect((await samplesOf(queue.ledger, between, [0])).size).toBe(1);
  const unfinished: string[] = [];
  for await (const record of queue.ledger.unfinished()) unfinished.push(record.requestId);
  expect(unfinished).toEqual([open]);
  // With its verdict it is like any other.
  await queue.ledger.putVerdict(aVerdict(open));
  for (let i = 0; i < 12; i += 1) await finish();
  await queue.sweep({ busy: nobody, complete: false, oldestOpenAtMs: Date.now() });
  expect(await queue.ledger.record(open)).toBeUndefined();
  await queue.close();
});
