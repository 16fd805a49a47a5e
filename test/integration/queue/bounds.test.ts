// Bounds: full queues, big contents, surplus deliveries.

import { setTimeout as sleep } from 'node:timers/promises';
import { expect, test } from 'vitest';
import type { Verdict } from '../../../src/grm/verdict.js';
import { openQueue } from '../../../src/queue/jetstream.js';
import { startNats } from '../../support/nats.js';
import { until } from '../../support/processes.js';
import { queueOptions } from '../../support/queue-options.js';
import { aRecord, aSample, aShard, aVerdict, freshId, someContent } from '../../support/work-values.js';

const never = new AbortController().signal;
const MiB = 1024 * 1024;

test('P4: a full work queue and a full request stream say so, and take again when there is room', async () => {
  await using nats = await startNats();
  const queue = await openQueue(queueOptions(nats, { storageBytesMax: 2 * MiB }));
  const id = freshId();
  const text = 'x'.repeat(16_000);
  const content = { ...someContent, responses: [text, text] };
  let stored = 0;
  for (; stored < 50; stored += 1) {
    const { kind } = await queue.work.putShards('grm', 'e', [aShard(id, stored, { content })]);
    if (kind === 'full') break;
  }
  expect(stored).toBeGreaterThan(2);
  expect(stored).toBeLessThan(50);
  await queue.work.withdraw(id);
  expect(await queue.work.putShards('grm', 'e2', [aShard(id, 0)])).toEqual({ kind: 'stored' });
  const ids: string[] = [];
  for (let i = 0; i < 50; i += 1) {
    const one = freshId();
    const { kind } = await queue.ledger.accept(aRecord(one, { content }));
    if (kind === 'full') break;
    ids.push(one);
  }
  expect(ids.length).toBeGreaterThan(5);
  expect(ids.length).toBeLessThan(50);
  expect(await queue.ledger.accept(aRecord(ids[0]!, { content }))).not.toEqual({ kind: 'new' });
  await queue.ledger.forget(ids[0]!);
  expect(await queue.ledger.accept(aRecord(ids[0]!, { content }))).toEqual({ kind: 'new' });
  await queue.close();
});

test('B1: contents of 8 MB go through the object store and come back whole, one request at a time', async () => {
  await using nats = await startNats();
  const queue = await openQueue(queueOptions(nats));
  const other = await openQueue(queueOptions(nats, { own: false }));
  const big = { ...someContent, responses: ['ä'.repeat(2 * MiB), 'b'.repeat(4 * MiB - 1_000)] };
  const [one, two] = [freshId(), freshId()];
  expect(await queue.ledger.accept(aRecord(one, { content: big }))).toEqual({ kind: 'new' });
  expect(await other.ledger.accept(aRecord(one, { content: big }))).toEqual({ kind: 'known' });
  expect(await queue.ledger.accept(aRecord(two, { content: big }))).toEqual({ kind: 'new' });
  const read = await other.ledger.record(two);
  expect(read?.content.responses.map(({ length }) => length)).toEqual([2 * MiB, 4 * MiB - 1_000]);
  expect(read?.content).toEqual(big);
  const open: string[] = [];
  for await (const record of other.ledger.unfinished()) open.push(record.requestId);
  expect(open.toSorted()).toEqual([one, two].toSorted());
  await queue.close();
  await other.close();
});

test('Q1, Q2: a verdict bigger than a NATS message is stored, heard and read whole', async () => {
  await using nats = await startNats();
  const queue = await openQueue(queueOptions(nats));
  const id = freshId();
  const heard: Verdict[] = [];
  await queue.ledger.follow(id, { verdict: (verdict) => void heard.push(verdict) });
  const verdict = aVerdict(id, {
    samples: Array.from({ length: 16 }, (_, i) => ({
      sample: aSample(i, { text: `${i}${'t'.repeat(120_000)}` }),
      kept: 'kept' as const,
    })),
  });
  expect(await queue.ledger.putVerdict(verdict)).toBe('stored');
  expect(await queue.ledger.putVerdict(aVerdict(id))).toBe('exists');
  expect(await queue.ledger.verdict(id)).toEqual(verdict);
  await until(() => heard.length > 0, 'the verdict is heard');
  expect(heard).toEqual([verdict]);
  await queue.close();
});

test('L1: what arrives beyond a pull is given out by the next one or to somebody else, never kept', async () => {
  await using nats = await startNats();
  const slowAck = { ackWaitMs: 20_000, pullTimes: { expiresMs: 2_000, claimMs: 500, heldMs: 100 } };
  const queue = await openQueue(queueOptions(nats, slowAck));
  const worker = await openQueue(queueOptions(nats, { ...slowAck, own: false }));
  const [slow, other] = [await worker.work.pullShards('grm'), await queue.work.pullShards('grm')];
  const got: string[] = [];
  // One slot, three parked classes: tasks of all classes at once make it likely that more than one arrives.
  for (let round = 0; round < 10; round += 1) {
    const pulling = slow.pull(1, never);
    await sleep(10);
    const id = freshId();
    await Promise.all(
      (['interactive', 'rl', 'batch'] as const).map((cls, shard) =>
        queue.work.putShards('grm', 'e', [aShard(id, shard, { class: cls })]),
      ),
    );
    const mine = await pulling;
    expect(mine).toHaveLength(1);
    const all = [...mine];
    while (all.length < 3) all.push(...(await other.pull(3, never)));
    for (const delivery of all) {
      got.push(`${delivery.requestId} ${delivery.task?.shard}`);
      delivery.ack();
    }
  }
  expect(new Set(got).size).toBe(30);
  expect(got).toHaveLength(30);
  await slow.close();
  await other.close();
  await queue.close();
  await worker.close();
});
