// Open requests: what has no verdict is found, however much is finished, whoever died, and whatever is damaged beside it.

import { connect, headers } from '@nats-io/transport-node';
import { jetstreamManager } from '@nats-io/jetstream';
import { expect, test } from 'vitest';
import { limits } from '../../../src/limits.js';
import type { QueueEvent } from '../../../src/queue/events.js';
import { openQueue, type QueueOptions } from '../../../src/queue/jetstream.js';
import type { QueueSystem } from '../../../src/queue/queue.js';
import { startNats, type NatsServer } from '../../support/nats.js';
import { until } from '../../support/processes.js';
import { queueOptions } from '../../support/queue-options.js';
import { ownLane, putSample } from '../../support/lanes.js';
import { anInvalidSample, aRecord, aVerdict, freshId, someContent } from '../../support/work-values.js';

const seldom: Partial<QueueOptions> = { storageLookMs: 3_600_000 };

async function openIds(queue: QueueSystem): Promise<string[]> {
  const ids: string[] = [];
  for await (const { requestId } of queue.ledger.unfinished()) ids.push(requestId);
  return ids.toSorted();
}

async function finish(queue: QueueSystem, id: string): Promise<void> {
  await queue.ledger.accept(aRecord(id));
  await queue.ledger.putVerdict(aVerdict(id));
}

/** Finished requests by the thousand, straight into the streams. */
async function fill(nats: NatsServer, count: number): Promise<void> {
  const nc = await connect({ servers: nats.url });
  const jsm = await jetstreamManager(nc);
  const before = (await jsm.streams.info('GRM_FIN')).state.messages;
  const prefix = freshId('kept');
  for (let at = 0; at < count; at += 1) {
    nc.publish(`grm.req.${prefix}-${at}`, 'x');
    nc.publish(`grm.fin.${prefix}-${at}`, 'x');
  }
  await nc.flush();
  await until(async () => (await jsm.streams.info('GRM_FIN')).state.messages === before + count, 'all is stored');
  await nc.close();
}

test('O1 (P1): each look finds what is open, whatever was accepted, finished, forgotten or accepted again since the last one', async () => {
  await using nats = await startNats();
  const a = await openQueue(queueOptions(nats, seldom));
  const b = await openQueue(queueOptions(nats, { ...seldom, own: false }));
  const [first, second, third] = [freshId('1'), freshId('2'), freshId('3')];
  await a.ledger.accept(aRecord(first));
  await finish(a, freshId('done'));
  expect([await openIds(a), await openIds(b)]).toEqual([[first], [first]]);
  await a.ledger.accept(aRecord(second));
  await b.ledger.accept(aRecord(third));
  await b.ledger.forget(third);
  expect([await openIds(a), await openIds(b)]).toEqual([
    [first, second],
    [first, second],
  ]);
  await b.ledger.accept(aRecord(third));
  await a.ledger.putVerdict(aVerdict(first));
  expect([await openIds(a), await openIds(b)]).toEqual([
    [second, third],
    [second, third],
  ]);
  // Nothing new: what is in mind is confirmed all the same.
  expect([await openIds(a), await openIds(b)]).toEqual([
    [second, third],
    [second, third],
  ]);
  await a.close();
  await b.close();
});

test('O2 (P1): a request that is taken up again is open for everybody, also for those who have walked over it and its verdict', async () => {
  await using nats = await startNats();
  const a = await openQueue(queueOptions(nats, seldom));
  const b = await openQueue(queueOptions(nats, { ...seldom, own: false }));
  const id = freshId();
  await putSample(a.ledger, id, anInvalidSample(1));
  await finish(a, id);
  expect([await openIds(a), await openIds(b)]).toEqual([[], []]);
  await a.ledger.reopen(id, new Map([[ownLane(1), [1]]]));
  await a.close();
  expect(await openIds(b)).toEqual([id]);
  const c = await openQueue(queueOptions(nats, seldom));
  expect(await openIds(c)).toEqual([id]);
  await c.ledger.putVerdict(aVerdict(id));
  expect([await openIds(b), await openIds(c)]).toEqual([[], []]);
  await b.close();
  await c.close();
});

test('O2 (P1): whoever looked between the mark and the end of the verdict finds it at the next look', async () => {
  await using nats = await startNats();
  const a = await openQueue(queueOptions(nats, seldom));
  const id = freshId();
  await finish(a, id);
  const nc = await connect({ servers: nats.url });
  const jsm = await jetstreamManager(nc);
  nc.publish(`grm.reopen.${id}.now`, 'x');
  await nc.flush();
  await until(async () => (await jsm.streams.info('GRM_REQ')).state.messages === 2, 'the mark is stored');
  expect(await openIds(a)).toEqual([]);
  await jsm.streams.purge('GRM_FIN', { filter: `grm.fin.${id}` });
  expect(await openIds(a)).toEqual([id]);
  await nc.close();
  await a.close();
});

test('O4 (P1): a coordinator that starts goes on where others have looked, and knows what was open there', async () => {
  await using nats = await startNats();
  const a = await openQueue(queueOptions(nats, seldom));
  const [early, late, between] = [freshId('early'), freshId('late'), freshId('between')];
  await a.ledger.accept(aRecord(early));
  await fill(nats, 12_000);
  await a.ledger.accept(aRecord(late));
  expect(await openIds(a)).toEqual([early, late].toSorted());
  await fill(nats, 100);
  await a.ledger.accept(aRecord(between));
  await a.ledger.putVerdict(aVerdict(late));
  await a.close();
  const b = await openQueue(queueOptions(nats, seldom));
  expect(await openIds(b)).toEqual([between, early].toSorted());
  await b.close();
});

test('O4 (P1): streams that are not those of the checkpoint, or that lost their end, are walked from the beginning', async () => {
  await using nats = await startNats();
  const a = await openQueue(queueOptions(nats, seldom));
  await fill(nats, 12_000);
  expect(await openIds(a)).toEqual([]);
  const nc = await connect({ servers: nats.url });
  const jsm = await jetstreamManager(nc);
  for (const name of ['GRM_REQ', 'GRM_FIN']) await jsm.streams.delete(name);
  await a.storage.look();
  const id = freshId();
  await a.ledger.accept(aRecord(id));
  expect(await openIds(a)).toEqual([id]);
  const b = await openQueue(queueOptions(nats, seldom));
  expect(await openIds(b)).toEqual([id]);
  await nc.close();
  await a.close();
  await b.close();
});

test('P1: verdicts that somebody removed make their requests open again: they are voted on anew', async () => {
  await using nats = await startNats();
  const a = await openQueue(queueOptions(nats, seldom));
  const id = freshId();
  await finish(a, id);
  expect(await openIds(a)).toEqual([]);
  const nc = await connect({ servers: nats.url });
  await (await jetstreamManager(nc)).streams.delete('GRM_FIN');
  await a.storage.look();
  expect(await openIds(a)).toEqual([id]);
  await nc.close();
  await a.close();
});

test.each([
  ['an entry that is no JSON', '$O.GRM_BLOBS.M.', () => Buffer.from('{')],
  ['an entry of a size that cannot be', '$O.GRM_BLOBS.M.', () => Buffer.from('{"bytes":-1,"chunks":1}')],
  ['a chunk of another length', '$O.GRM_BLOBS.C.', () => Buffer.from('short')],
  ['chunks that are no content', '$O.GRM_BLOBS.C.', (bytes: number) => Buffer.alloc(bytes, 0xff)],
] as const)(
  'P1: a damaged blob (%s) keeps no other request from being found, and is told',
  async (_, prefix, damaged) => {
    await using nats = await startNats();
    const events: QueueEvent[] = [];
    const queue = await openQueue(queueOptions(nats, { ...seldom, onEvent: (event) => void events.push(event) }));
    const big = { ...someContent, responses: ['a'.repeat(limits.recordContentBytesMax), 'b'] };
    const [bad, good, other] = [freshId('bad'), freshId('good'), freshId('other')];
    await queue.ledger.accept(aRecord(bad, { content: big }));
    const nc = await connect({ servers: nats.url });
    const jsm = await jetstreamManager(nc);
    const { state } = await jsm.streams.info('OBJ_GRM_BLOBS', { subjects_filter: `${prefix}>` });
    for (const subject of Object.keys(state.subjects ?? {})) {
      const { data } = (await jsm.streams.getMessage('OBJ_GRM_BLOBS', { last_by_subj: subject }))!;
      await jsm.streams.purge('OBJ_GRM_BLOBS', { filter: subject });
      nc.publish(subject, damaged(data.length));
    }
    await nc.flush();
    await queue.ledger.accept(aRecord(good));
    await queue.ledger.accept(aRecord(other, { content: big }));
    expect(await openIds(queue)).toEqual([good, other].toSorted());
    expect(events).toContainEqual(
      expect.objectContaining({ kind: 'undecodable', label: `record of ${bad}` }) as QueueEvent,
    );
    expect(await queue.ledger.record(bad)).toBeUndefined();
    await nc.close();
    await queue.close();
  },
);

test('a verdict whose blob is damaged is none that anybody could be told, and its request is not run again for ever', async () => {
  await using nats = await startNats();
  const queue = await openQueue(queueOptions(nats, seldom));
  const id = freshId();
  await queue.ledger.accept(aRecord(id));
  const nc = await connect({ servers: nats.url });
  const named = headers();
  named.set('Grm-Blob', `verdict.${id}.00000000-0000-0000-0000-000000000000`);
  nc.publish(`grm.fin.${id}`, 'x', { headers: named });
  await nc.flush();
  await until(async () => (await openIds(queue)).length === 0, 'it counts as finished');
  expect(await queue.ledger.verdict(id)).toBeUndefined();
  await nc.close();
  await queue.close();
});

test('a letter, a record or a verdict that does not decode keeps none of the others', async () => {
  await using nats = await startNats();
  const queue = await openQueue(queueOptions(nats, seldom));
  const [bad, good] = [freshId('bad'), freshId('good')];
  const nc = await connect({ servers: nats.url });
  nc.publish(`grm.req.${bad}`, Buffer.from([0xff, 0xff]));
  nc.publish(`grm.dead.${bad}.sample.0`, Buffer.from([0xff, 0xff]));
  await nc.flush();
  await queue.ledger.accept(aRecord(good));
  await queue.dead.put({
    requestId: good,
    stage: 'sample',
    unit: 1,
    samples: [1],
    reason: 'x',
    deliveries: 5,
    worker: 'w',
    diedAtMs: 1,
  });
  expect(await openIds(queue)).toEqual([good]);
  expect((await queue.dead.list(10)).map(({ requestId }) => requestId)).toEqual([good]);
  expect(await queue.dead.letter(bad, 'sample', 0)).toBeUndefined();
  await nc.close();
  await queue.close();
});
