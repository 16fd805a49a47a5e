// What a queue does while nats-server is killed, restarted or stopped under it.

import { setTimeout as sleep } from 'node:timers/promises';
import { expect, test } from 'vitest';
import type { QueueEvent } from '../../../src/queue/events.js';
import { openQueue } from '../../../src/queue/jetstream.js';
import { startNats } from '../../support/nats.js';
import { until } from '../../support/processes.js';
import { queueOptions } from '../../support/queue-options.js';
import { aRecord, aSample, aShard, aVerdict, freshId } from '../../support/work-values.js';
import { putSample, samplesOf } from '../../support/lanes.js';

const never = new AbortController().signal;

test('P1, Q1, U2: publishes ride out kill -9 and restart; nothing is lost, nothing is stored twice', async () => {
  await using nats = await startNats();
  const events: QueueEvent[] = [];
  const queue = await openQueue(queueOptions(nats, { onEvent: (event) => void events.push(event) }));
  const id = freshId();
  let stop = false;
  const puts: Promise<string>[] = [];
  const writing = (async () => {
    for (let index = 0; !stop; index += 1) {
      puts.push(putSample(queue.ledger, id, aSample(index)));
      if (index % 50 === 0) await sleep(1);
    }
  })();
  for (let kill = 0; kill < 2; kill += 1) {
    await sleep(150);
    await nats.kill();
    while (queue.connected()) await sleep(5);
    await nats.restart();
    while (!queue.connected()) await sleep(5);
  }
  await sleep(150);
  stop = true;
  await writing;
  const outcomes = await Promise.all(puts);
  expect(new Set(outcomes)).toEqual(new Set(['stored'])); // a repeated publish knows its own bytes
  const there = await samplesOf(
    queue.ledger,
    id,
    outcomes.map((_, index) => index),
  );
  expect(there.size).toBe(outcomes.length);
  expect(await putSample(queue.ledger, id, aSample(0, { worker: 'second' }))).toBe('exists');
  expect(events.some((event) => event.kind === 'publish_retry')).toBe(true);
  expect(events.filter((event) => event.kind === 'connection').length).toBeGreaterThanOrEqual(4);
  await queue.close();
});

test('Q4: while NATS is away reads wait for it, and the connection says so', async () => {
  await using nats = await startNats();
  const queue = await openQueue(queueOptions(nats));
  const heard: string[] = [];
  queue.onConnection((state) => void heard.push(state));
  const id = freshId();
  await queue.ledger.accept(aRecord(id));
  await queue.ledger.putVerdict(aVerdict(id));
  await nats.kill();
  while (queue.connected()) await sleep(5);
  const reading = queue.ledger.verdict(id);
  const recording = queue.ledger.record(id);
  await nats.restart();
  expect(await reading).toEqual(aVerdict(id));
  expect(await recording).toEqual(aRecord(id));
  expect(queue.connected()).toBe(true);
  expect(heard).toEqual(['disconnected', 'connected']);
  await queue.close();
});

test('L2, P1: a parked pull survives the restart of the server, and so do follower and acks', async () => {
  await using nats = await startNats();
  const [queue, worker] = [await openQueue(queueOptions(nats)), await openQueue(queueOptions(nats, { own: false }))];
  const puller = await worker.work.pullShards('grm');
  const id = freshId();
  const heard: number[] = [];
  await queue.ledger.follow(id, { samples: (those) => void heard.push(...those.map(({ index }) => index)) });
  const done = new Set<number>();
  let pulls = 0;
  const working = (async () => {
    while (done.size < 40) {
      pulls += 1;
      for (const delivery of await puller.pull(4, never)) {
        const unit = delivery.task!.shard;
        await putSample(worker.ledger, id, aSample(unit));
        delivery.ack();
        done.add(unit);
      }
    }
  })();
  for (let unit = 0; unit < 40; unit += 1) {
    expect(await queue.work.putShards('grm', 'e', [aShard(id, unit)])).toEqual({ kind: 'stored' });
    if (unit === 10 || unit === 25) {
      await sleep(20);
      await nats.kill();
      await nats.restart();
    }
  }
  await working;
  expect((await samplesOf(queue.ledger, id, [...done])).size).toBe(40);
  // What was stored while the follower was away it reads; what came later it heard.
  expect(heard.length).toBeGreaterThan(0);
  expect(pulls).toBeLessThan(500); // L3
  await puller.close();
  await queue.close();
  await worker.close();
});

test('a consumer deleted under a parked pull and made anew is pulled from again', async () => {
  await using nats = await startNats();
  const events: QueueEvent[] = [];
  const queue = await openQueue(queueOptions(nats));
  const worker = await openQueue(queueOptions(nats, { own: false, onEvent: (event) => void events.push(event) }));
  const puller = await worker.work.pullShards('grm');
  const { jetstreamManager } = await import('@nats-io/jetstream');
  const { connect } = await import('@nats-io/transport-node');
  const nc = await connect({ servers: nats.url });
  const jsm = await jetstreamManager(nc);
  const pulling = puller.pull(1, never);
  const classes = ['interactive', 'rl', 'batch'];
  const parked = async (cls: string) => (await jsm.consumers.info('GRM_WORK', `grm-${cls}`)).num_waiting > 0;
  await until(async () => (await Promise.all(classes.map(parked))).every(Boolean), 'all classes are waited for');
  for (const cls of classes) await jsm.consumers.delete('GRM_WORK', `grm-${cls}`);
  expect(await pulling).toEqual([]);
  expect(events).toContainEqual(expect.objectContaining({ kind: 'pull_trouble', stream: 'GRM_WORK', pool: 'grm' }));
  await queue.sweep({ busy: new Set(), complete: true, oldestOpenAtMs: Date.now() }); // the janitor makes what is missing
  const id = freshId();
  await queue.work.putShards('grm', 'e', [aShard(id, 0)]);
  const got = [];
  for (let i = 0; i < 20 && got.length === 0; i += 1) got.push(...(await puller.pull(1, never)));
  expect(got.map(({ requestId }) => requestId)).toEqual([id]);
  got[0]?.ack();
  await nc.close();
  await puller.close();
  await queue.close();
  await worker.close();
});

test('a listener that throws harms nobody else on its connection', async () => {
  await using nats = await startNats();
  const events: QueueEvent[] = [];
  const queue = await openQueue(queueOptions(nats, { onEvent: (event) => void events.push(event) }));
  const id = freshId();
  const heard: number[] = [];
  await queue.ledger.follow(id, {
    samples: () => {
      throw new Error('broken listener');
    },
  });
  await queue.ledger.follow(id, { samples: (those) => void heard.push(...those.map(({ index }) => index)) });
  await putSample(queue.ledger, id, aSample(0));
  await putSample(queue.ledger, id, aSample(1));
  await until(() => heard.length === 2, 'both are heard');
  expect(heard).toEqual([0, 1]);
  expect(events.filter(({ kind }) => kind === 'undecodable')).toHaveLength(2);
  await queue.close();
});
