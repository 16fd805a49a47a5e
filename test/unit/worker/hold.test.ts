import { expect, test } from 'vitest';
import type { EventMap } from '../../../src/observe/events.js';
import { storedOf } from '../../support/lanes.js';
import { firstShard, shardWorker } from '../../support/shard-worker.js';

test('X9, H1: results that the ledger does not take are held and offered again: drawn once, delivered once, nothing quarantined', async () => {
  let refuse = true;
  const w = await shardWorker(({ index }) => ({ kind: 'scores', shown: [5, index + 1], afterMs: 10 + 500 * index }), {
    weather: { call: (_, what) => (refuse && what === 'put samples' ? { kind: 'refused' } : { kind: 'ok' }) },
  });
  const held: EventMap['result.held'][] = [];
  w.context.events.on('result.held', (event) => void held.push(event));
  const record = w.record('r1');
  const indexes = firstShard(record);
  await w.putShards(record, indexes);
  const { done } = await w.begin();
  await w.clock.advance(20_000);
  expect(w.nats.tasks()).toBe(1);
  expect(held.length).toBeGreaterThan(0);
  expect(held[0]).toMatchObject({
    stage: 'sample',
    requestId: 'r1',
    reason: expect.stringContaining('put samples') as string,
  });
  refuse = false;
  await w.clock.until(done, 5_000);
  expect((await storedOf(w.queue.ledger, w.record('r1'), indexes)).size).toBe(indexes.length);
  expect(w.engine.drawn).toHaveLength(indexes.length);
  expect([w.nats.tasks(), w.pool.taken('e'), w.retried, w.dead]).toEqual([0, 0, [], []]);
});

test('X9, H1: results that find no room until the deadline are dropped, and the shard is neither retried nor quarantined', async () => {
  const w = await shardWorker();
  const record = w.record('r1');
  const indexes = firstShard(record);
  await w.putShards(record, indexes, { deadlineMs: 10_000 });
  w.nats.bound('results', 0);
  const { done } = await w.begin();
  await w.clock.until(done, 15_000);
  expect(w.dropped).toMatchObject([{ why: 'unstored' }]);
  expect(w.engine.drawn).toHaveLength(indexes.length);
  expect([w.nats.tasks(), w.dead]).toEqual([0, []]);
});

test.each([
  ['the ledger', 'samples'],
  ['the record that a shard refers to', 'record'],
] as const)(
  'X9, H3: where %s cannot be read the shard goes back as a new one: deliveries do not count',
  async (_, what) => {
    let refusals = 7; // more than limits.deliveriesMax
    const w = await shardWorker(undefined, {
      weather: { call: (__, asked) => (asked === what && refusals-- > 0 ? { kind: 'refused' } : { kind: 'ok' }) },
    });
    const record = w.record('r1');
    const indexes = firstShard(record);
    await w.coordinator.ledger.accept(record);
    await w.putShards(record, indexes, { inline: false });
    const deliveries: number[] = [];
    while (w.nats.tasks() > 0) deliveries.push(await w.run());
    expect(deliveries).toEqual(Array.from({ length: 8 }, () => 1));
    expect((await storedOf(w.queue.ledger, w.record('r1'), indexes)).size).toBe(indexes.length);
    expect(w.dead).toEqual([]);
  },
);

test('X9, H3: a worker that has to leave hands a shard back whose results it holds', async () => {
  const w = await shardWorker();
  const record = w.record('r1');
  await w.putShards(record, firstShard(record));
  w.nats.bound('results', 0);
  const { done } = await w.begin();
  await w.clock.advance(3_000);
  w.hurry.abort('drain');
  await w.clock.until(done, 5_000);
  expect(w.dropped).toEqual([]);
  w.nats.bound('results', Infinity);
  w.hurry = new AbortController();
  expect(await w.run()).toBe(1);
});
