import { describe, expect, test } from 'vitest';
import { limits } from '../../../src/limits.js';
import { executeShard } from '../../../src/worker/execute-shard.js';
import { EnginePool } from '../../../src/worker/pool.js';
import { storedOf } from '../../support/lanes.js';
import { firstShard, shardWorker } from '../../support/shard-worker.js';
import { scriptedEngine, seededScores, type Answer } from '../../support/scripted-engine.js';
import { workerSetting } from '../../support/worker-setting.js';

test('draws, stores, acks; the slots and the watch are given back', async () => {
  const w = await shardWorker();
  const record = w.record('r1');
  const indexes = firstShard(record);
  await w.putShards(record, indexes);
  await w.run();
  const stored = await storedOf(w.queue.ledger, w.record('r1'), indexes);
  expect([...stored.values()].map(({ kind, worker }) => [kind, worker])).toEqual(indexes.map(() => ['scored', 'w']));
  expect(w.engine.jobs[0]).toMatchObject({
    temperature: 0.5,
    maxTokens: 1024,
    priority: 1,
    scoreCount: 2,
    requestId: 'r1',
  });
  expect(w.nats.tasks()).toBe(0);
  expect(w.pool.taken('e')).toBe(0);
  expect([...w.cancellations.running()]).toEqual([]);
});

test('samples of several orders in one shard: each order its own prompt, all of them at one engine and in one append', async () => {
  const w = await shardWorker();
  const record = w.record('r1');
  await w.putShards(record, [0, 1, 2, 3]);
  await w.run();
  expect(w.engine.jobs.map(({ samples }) => samples.map(({ index }) => index))).toEqual([
    [0, 2],
    [1, 3],
  ]);
  expect(new Set(w.engine.jobs.map(({ messages }) => JSON.stringify(messages))).size).toBe(2);
  const stored = await storedOf(w.queue.ledger, record, [0, 1, 2, 3]);
  const orders = [0, 1, 2, 3].map((index) => stored.get(index)?.permutation.join());
  expect(orders[2]).toBe(orders[0]);
  expect(orders[3]).toBe(orders[1]);
  expect(orders[1]).not.toBe(orders[0]);
  expect(w.pool.taken('e')).toBe(0);
});

test('K3: a slot is free when its sample is there, and not when it is to be tried again', async () => {
  const w = await shardWorker(({ index }) =>
    index === 0
      ? { kind: 'retryable', reason: 'status 500' }
      : { kind: 'scores', shown: [5, 6], afterMs: 1_000 * index },
  );
  const record = w.record('r1');
  const indexes = firstShard(record);
  expect(indexes).toContain(0);
  await w.putShards(record, indexes);
  const { done } = await w.begin();
  const good = indexes.filter((index) => index > 0);
  // Half a second after each of them.
  await w.clock.advance(500);
  expect(w.freed()).toBe(0);
  for (let second = 1; second <= good.at(-1)!; second++) {
    await w.clock.advance(1_000);
    const there = good.filter((index) => index <= second).length;
    expect([w.freed(), w.pool.taken('e')]).toEqual([there, there === good.length ? 0 : indexes.length - there]);
  }
  await w.clock.until(done, 60_000);
  expect(w.pool.taken('e')).toBe(0);
});

test('X1 (P2): what is stored is told again and never paid for again, whatever is redelivered', async () => {
  const w = await shardWorker();
  const record = w.record('r1');
  const indexes = firstShard(record);
  await w.putShards(record, indexes);
  await w.run();
  const heard: number[] = [];
  await w.coordinator.ledger.follow('r1', { samples: (those) => void heard.push(...those.map(({ index }) => index)) });
  await w.clock.advance(1);
  await w.putShards(record, indexes);
  await w.run();
  expect(w.engine.drawn).toHaveLength(indexes.length);
  expect(heard.toSorted()).toEqual(indexes.toSorted());
  expect(w.dropped).toMatchObject([{ why: 'answered' }]);
  expect(w.suppressed.every(({ where }) => where === 'before_engine')).toBe(true);
  expect(w.nats.tasks()).toBe(0);
});

test('X8 (P5): a shard that came back is drawn order by order, each stored before the next', async () => {
  const w = await shardWorker(({ index }) => ({
    kind: 'scores',
    shown: [7, 3],
    afterMs: index % 2 === 0 ? 5_000 : 100,
  }));
  const record = w.record('r1');
  await w.putShards(record, [0, 1, 2, 3], { deadlineMs: 3_600_000 });
  const dying = await w.queue.work.pullShards('grm');
  await w.next((max, signal) => dying.pull(max, signal)); // and is never heard of again
  await w.clock.advance(limits.ackWaitMs);
  const { deliveries, done } = await w.begin();
  expect(deliveries).toBe(2);
  const jobs = () => w.engine.jobs.map(({ samples }) => samples.map(({ index }) => index));
  const stored = async () => [...(await storedOf(w.queue.ledger, record, [0, 1, 2, 3])).keys()];
  await w.clock.advance(1_000);
  // The odd ones are quick: were all drawn at once, they would be there.
  expect([jobs(), await stored()]).toEqual([[[0, 2]], []]);
  await w.clock.until(done, 120_000);
  expect(jobs().flat()).toEqual([0, 2, 1, 3]);
  expect((await stored()).toSorted()).toEqual([0, 1, 2, 3]);
});

describe('X3 (P5)', () => {
  test('what fails is tried again with back-off, the good samples of the shard are kept, and the last failure quarantines it', async () => {
    const w = await shardWorker(({ index }) =>
      index === 0 ? { kind: 'retryable', reason: 'status 500' } : { kind: 'scores', shown: [7, 3] },
    );
    const record = w.record('r1');
    const indexes = firstShard(record);
    const [shard] = await w.putShards(record, indexes);
    for (let delivery = 1; delivery <= limits.deliveriesMax; delivery++) expect(await w.run()).toBe(delivery);
    expect(w.retried).toHaveLength(limits.deliveriesMax - 1);
    expect(w.engine.drawn.filter(({ index }) => index === 0)).toHaveLength(limits.deliveriesMax);
    expect(w.engine.drawn.filter(({ index }) => index !== 0)).toHaveLength(indexes.length - 1);
    const stored = await storedOf(w.queue.ledger, w.record('r1'), indexes);
    expect(stored.get(0)).toMatchObject({ kind: 'invalid', reason: 'dead_letter', detail: 'status 500' });
    expect(await w.queue.dead.list(9)).toMatchObject([
      { requestId: 'r1', unit: shard!.shard, samples: [0], reason: 'status 500', deliveries: limits.deliveriesMax },
    ]);
    expect(w.nats.tasks()).toBe(0);
  });

  test('an engine that asks for time gets it', async () => {
    const w = await shardWorker(() => ({ kind: 'retryable', reason: 'busy', retryAfterMs: 7_000 }));
    const record = w.record('r1');
    await w.putShards(record, [0]);
    await w.run();
    const at = w.clock.now();
    await w.run();
    expect(w.clock.now() - at).toBeGreaterThanOrEqual(7_000);
  });

  test('a shard whose worker died each time is quarantined without touching an engine', async () => {
    const w = await shardWorker();
    const record = w.record('r1');
    const indexes = firstShard(record);
    await w.putShards(record, indexes, { deadlineMs: 3_600_000 });
    const dying = await w.queue.work.pullShards('grm');
    for (let i = 0; i < limits.deliveriesMax; i++) {
      await w.next((max, signal) => dying.pull(max, signal)); // and is never heard of again
      await w.clock.advance(limits.ackWaitMs);
    }
    expect(await w.run()).toBe(limits.deliveriesMax + 1);
    expect(w.engine.drawn).toEqual([]);
    expect(w.dead).toMatchObject([
      { stage: 'sample', reason: `${limits.deliveriesMax} deliveries and none was finished` },
    ]);
    const stored = await storedOf(w.queue.ledger, w.record('r1'), indexes);
    expect([...stored.values()].map(({ kind }) => kind)).toEqual(indexes.map(() => 'invalid'));
  });

  test('on the last try everything that is left is answered, also what a drain cut short', async () => {
    // Of the order that the last delivery begins with (X8).
    const w = await shardWorker(({ index }) =>
      index === 1 ? { kind: 'retryable', reason: 'status 500' } : { kind: 'never' },
    );
    const record = w.record('r1');
    const indexes = firstShard(record);
    expect(indexes).toEqual([0, 2, 1, 3]);
    await w.putShards(record, indexes, { deadlineMs: 3_600_000 });
    const dying = await w.queue.work.pullShards('grm');
    for (let i = 1; i < limits.deliveriesMax; i++) {
      await w.next((max, signal) => dying.pull(max, signal));
      await w.clock.advance(limits.ackWaitMs);
    }
    const { deliveries, done } = await w.begin();
    expect(deliveries).toBe(limits.deliveriesMax);
    await w.clock.advance(1_000);
    w.hurry.abort('drain');
    await w.clock.until(done, 10);
    expect((await storedOf(w.queue.ledger, w.record('r1'), indexes)).size).toBe(indexes.length);
    expect(w.nats.tasks()).toBe(0);
  });

  test('bytes that are no shard are quarantined, and the worker lives', async () => {
    const w = await shardWorker();
    w.nats.putRaw('sample', 'grm', 'rl', 'r1', 3, new Uint8Array([0xff, 0xff, 0xff]));
    await w.run();
    expect(await w.queue.dead.list(9)).toMatchObject([{ requestId: 'r1', stage: 'sample', samples: [] }]);
    expect(w.dead[0]?.reason).toContain('could not be decoded');
    expect(w.nats.tasks()).toBe(0);
  });

  test('a template that nobody published is waited for, then given up with the reason', async () => {
    const w = await shardWorker();
    const record = w.record('r1', { templateHash: 'f'.repeat(64) });
    await w.putShards(record, [0], { deadlineMs: 3_600_000 });
    for (let i = 0; i < limits.deliveriesMax; i++) await w.run();
    expect(w.retried).toHaveLength(limits.deliveriesMax - 1);
    expect(w.dead[0]?.reason).toContain('is not in the cluster');
    expect(w.engine.drawn).toEqual([]);
  });
});

test('what no try can help is an invalid sample at once', async () => {
  const w = await shardWorker(() => ({ kind: 'terminal', why: 'context_exceeded', reason: '9000 tokens of 8192' }));
  await w.putShards(w.record('r1'), [0]);
  await w.run();
  expect((await storedOf(w.queue.ledger, w.record('r1'), [0])).get(0)).toMatchObject({
    kind: 'invalid',
    reason: 'context_exceeded',
  });
  expect(await w.queue.dead.count()).toBe(0);
  expect(w.nats.tasks()).toBe(0);
});

test('X4 (P2): what was drawn for another content under this id stands in nobody’s way, and nobody takes it for its own', async () => {
  const w = await shardWorker();
  const before = w.record('r1');
  await w.putShards(before, [0]);
  await w.run();
  const record = { ...before, nonce: 'n3xt', content: { ...before.content, responses: ['a', 'b', 'c'] } };
  const lanes: string[] = [];
  await w.coordinator.ledger.follow('r1', { samples: (_, lane) => void lanes.push(lane) });
  await w.clock.advance(1);
  const [shard] = await w.putShards(record, [0]);
  await w.run();
  expect(w.engine.drawn).toHaveLength(2);
  expect(lanes).toEqual([shard!.lane]);
  const seedOf = async (which: typeof before) => (await storedOf(w.queue.ledger, which, [0])).get(0)?.seed;
  expect(await seedOf(record)).toBe(shard!.samples[0]!.seed);
  expect(await seedOf(before)).not.toBe(shard!.samples[0]!.seed);
});

describe('nobody waits for it any more', () => {
  test('expired: dropped without a look', async () => {
    const w = await shardWorker();
    await w.putShards(w.record('r1'), [0], { deadlineMs: 10 });
    await w.clock.advance(10);
    await w.run();
    expect(w.dropped).toMatchObject([{ why: 'expired' }]);
    expect(w.engine.drawn).toEqual([]);
  });

  test('the deadline passes in the engine: what was drawn is kept, the rest dropped', async () => {
    const w = await shardWorker(({ index }) => (index === 0 ? { kind: 'scores', shown: [7, 3] } : { kind: 'never' }));
    const record = w.record('r1');
    const indexes = firstShard(record);
    await w.putShards(record, indexes, { deadlineMs: 5_000 });
    await w.run();
    expect(w.dropped).toMatchObject([{ why: 'expired' }]);
    expect([...(await storedOf(w.queue.ledger, w.record('r1'), indexes)).keys()]).toEqual([0]);
    expect(w.nats.tasks()).toBe(0);
  });

  test('cancelled before: dropped', async () => {
    const w = await shardWorker();
    const [shard] = await w.putShards(w.record('r1'), [0]);
    w.cancellations.cancel('r1', shard!.run);
    await w.run();
    expect(w.dropped).toMatchObject([{ why: 'cancelled' }]);
    expect(w.engine.drawn).toEqual([]);
  });

  test('P1: a late notice of an earlier run neither drops nor stops a shard of the retry', async () => {
    const w = await shardWorker();
    await w.putShards(w.record('r1'), [0]);
    w.cancellations.cancel('r1', 'another');
    const { done } = await w.begin();
    w.cancellations.cancel('r1', 'another');
    await w.clock.until(done, 1_000);
    expect(w.dropped).toEqual([]);
    expect((await storedOf(w.queue.ledger, w.record('r1'), [0])).size).toBe(1);
  });

  test('X6: a hedge is passed on while its original is here, a few times; then it is dropped', async () => {
    const w = await shardWorker();
    const original = w.cancellations.watch('r1', 'c-1/0');
    await w.putShards(w.record('r1'), [0], { run: 'c-1/0+' });
    const deliveries: number[] = [];
    for (let i = 0; i < limits.hedgePassesMax; i++) deliveries.push(await w.run());
    expect(w.dropped).toEqual([]);
    deliveries.push(await w.run());
    // Each time as a new task.
    expect(new Set(deliveries)).toEqual(new Set([1]));
    expect(w.dropped).toMatchObject([{ why: 'hedge_failed' }]);
    expect(w.engine.drawn).toEqual([]);
    expect(w.nats.tasks()).toBe(0);
    original.done();
  });

  test('X6: a hedge that was passed on is drawn where its original is not', async () => {
    const w = await shardWorker();
    const original = w.cancellations.watch('r1', 'c-1/0');
    await w.putShards(w.record('r1'), [0], { run: 'c-1/0+' });
    await w.run();
    original.done();
    await w.run();
    expect(w.dropped).toEqual([]);
    expect(w.engine.drawn).toHaveLength(1);
    expect(w.nats.tasks()).toBe(0);
  });

  test('X6 (P5): a hedge that comes back, perhaps because it killed its worker, is not tried again', async () => {
    const w = await shardWorker();
    const puller = await w.queue.work.pullShards('grm');
    await w.putShards(w.record('r1'), [0], { run: 'c-1/0+' });
    const lost = await w.next((max, signal) => puller.pull(max, signal));
    lost.nak(1);
    expect(await w.run()).toBe(2);
    expect(w.dropped).toMatchObject([{ why: 'hedge_failed' }]);
    expect(w.engine.drawn).toEqual([]);
    expect(w.nats.tasks()).toBe(0);
  });

  test('X6: a hedge is drawn where its original is not, tells that it was first, and never again when it fails', async () => {
    const w = await shardWorker(({ index }) =>
      index === 0 ? { kind: 'scores', shown: [3, 4] } : { kind: 'retryable', reason: 'status 500' },
    );
    const won: number[] = [];
    w.context.events.on('hedge.won', ({ index }) => void won.push(index));
    await w.putShards(w.record('r1'), [0], { run: 'c-1/0+' });
    await w.run();
    expect(won).toEqual([0]);
    await w.clock.advance(1);
    await w.putShards(w.record('r1'), [1], { run: 'c-1/1+' });
    await w.run();
    expect(w.dropped).toMatchObject([{ why: 'hedge_failed' }]);
    expect([w.retried, w.dead]).toEqual([[], []]);
    expect(w.nats.tasks()).toBe(0);
  });

  test('cancelled while it is drawn: the engine stops, the task is gone; failures of it are not quarantined', async () => {
    for (const retryable of [false, true]) {
      const w = await shardWorker(({ index }) =>
        retryable && index === 0 ? { kind: 'retryable', reason: 'status 500', afterMs: 1 } : { kind: 'never' },
      );
      const record = w.record('r1');
      await w.putShards(record, firstShard(record));
      const { done } = await w.begin();
      await w.clock.advance(100);
      w.cancellations.cancel('r1');
      await w.clock.until(done, 10);
      expect(w.engine.running()).toBe(0);
      expect(w.dropped).toMatchObject([{ why: 'cancelled' }]);
      expect(w.retried).toEqual([]);
      expect(w.nats.tasks()).toBe(0);
    }
  });

  test('X10: content by reference is read once from the record, which a replica may show late; one that is gone or of other content is nobody’s', async () => {
    const w = await shardWorker();
    const record = w.record('r1');
    await w.putShards(record, [0], { inline: false });
    await w.run();
    await w.coordinator.ledger.accept(record);
    await w.run();
    expect(w.engine.jobs[0]!.messages.at(-1)!.content).toContain('9.11');
    await w.coordinator.ledger.forget('r1');
    const other = { ...record, nonce: 'other1', content: { ...record.content, responses: ['xylophone', 'yodel'] } };
    await w.clock.advance(1);
    await w.putShards(other, [1], { inline: false });
    for (let i = 0; i < limits.deliveriesMax; i++) await w.run();
    expect(w.dropped).toMatchObject([{ why: 'cancelled' }]);
    expect(await w.queue.dead.count()).toBe(0);
    await w.coordinator.ledger.accept(other);
    await w.clock.advance(1);
    await w.putShards(other, [1], { inline: false });
    await w.run();
    expect(w.engine.jobs[1]!.messages.at(-1)!.content).toContain('yodel');

    // A shard of the old content, and the new record: the new content is not what the shard is about.
    const late = await shardWorker();
    await late.coordinator.ledger.accept(other);
    await late.putShards(record, [0], { inline: false });
    for (let i = 0; i < limits.deliveriesMax; i++) await late.run();
    expect(late.dropped).toMatchObject([{ why: 'cancelled' }]);
    expect(late.engine.drawn).toEqual([]);
  });
});

test('P6: a drain hands back what is not finished at once, and keeps what is', async () => {
  const w = await shardWorker(({ index }) => (index === 0 ? { kind: 'scores', shown: [7, 3] } : { kind: 'never' }));
  const record = w.record('r1');
  const indexes = firstShard(record);
  await w.putShards(record, indexes);
  const { done } = await w.begin();
  await w.clock.advance(1_000);
  w.hurry.abort('drain');
  await w.clock.until(done, 0);
  expect(w.retried).toMatchObject([{ reason: 'handed back by a draining worker' }]);
  expect([...(await storedOf(w.queue.ledger, w.record('r1'), indexes)).keys()]).toEqual([0]);
  expect(w.nats.tasks()).toBe(1);
  // It comes as a new one: being handed back does not count.
  w.hurry = new AbortController();
  const again = await w.begin();
  expect(again.deliveries).toBe(1);
});

test('X5: tries that no engine took do not count: nothing is quarantined for an engine that is away, until the deadline', async () => {
  let away = true;
  const w = await shardWorker(() =>
    away
      ? { kind: 'retryable', reason: 'connection failed: ECONNREFUSED', untaken: true }
      : { kind: 'scores', shown: [7, 3] },
  );
  await w.putShards(w.record('r1'), [0], { deadlineMs: 600_000 });
  for (let tries = 0; tries < 3 * limits.deliveriesMax; tries++) expect(await w.run()).toBe(1);
  expect(w.clock.now()).toBeGreaterThan(3 * limits.deliveriesMax * 1_000);
  away = false;
  await w.run();
  expect(w.dead).toEqual([]);
  expect((await storedOf(w.queue.ledger, w.record('r1'), [0])).get(0)).toMatchObject({ kind: 'scored' });
  expect(w.nats.tasks()).toBe(0);

  away = true;
  await w.putShards(w.record('r2'), [0], { deadlineMs: 2_500 });
  while (w.dropped.length === 0) await w.run();
  expect(w.dropped).toMatchObject([{ requestId: 'r2', why: 'expired' }]);
  expect(w.nats.tasks()).toBe(0);
});

test('X5: an asked pause is kept, and a cancel ends it', async () => {
  const w = await shardWorker(() => ({ kind: 'retryable', reason: 'HTTP 429', retryAfterMs: 5_000, untaken: true }));
  await w.putShards(w.record('r1'), [0]);
  const { done } = await w.begin();
  await w.clock.advance(4_000);
  expect(w.nats.tasks()).toBe(1);
  w.cancellations.cancel('r1');
  await w.clock.until(done, 10);
  expect(w.dropped).toMatchObject([{ why: 'cancelled' }]);
  expect(w.nats.tasks()).toBe(0);
});

test('an engine that is closed under a shard loses no sample: it is tried again, and counts', async () => {
  let closing = true;
  const w = await shardWorker(() => (closing ? { kind: 'closed' } : { kind: 'scores', shown: [7, 3] }));
  await w.putShards(w.record('r1'), [0]);
  await w.run();
  expect(w.dropped).toEqual([]);
  expect(w.retried).toMatchObject([{ reason: 'the engine was closed while it worked' }]);
  closing = false;
  expect(await w.run()).toBe(2);
  expect((await storedOf(w.queue.ledger, w.record('r1'), [0])).size).toBe(1);

  closing = true;
  await w.putShards(w.record('r2'), [0]);
  while (w.dead.length === 0) await w.run();
  expect(w.dead).toMatchObject([{ deliveries: limits.deliveriesMax, reason: 'the engine was closed while it worked' }]);
});

test('a cancel that comes while the shard is looked up stops it', async () => {
  const w = await shardWorker();
  await w.putShards(w.record('r1'), [0]);
  const { done } = await w.begin();
  w.cancellations.cancel('r1');
  await w.clock.until(done, 1_000);
  expect((await storedOf(w.queue.ledger, w.record('r1'), [0])).size).toBe(0);
  expect(w.dropped).toMatchObject([{ why: 'cancelled' }]);
});

test('no engine serves: handed back', async () => {
  const w = await shardWorker();
  await w.putShards(w.record('r1'), [0]);
  w.engineUp(false);
  await w.run();
  expect(w.retried).toMatchObject([{ reason: 'no engine serves' }]);
  w.engineUp(true);
  await w.run();
  expect((await storedOf(w.queue.ledger, w.record('r1'), [0])).size).toBe(1);
});

test('P2: two workers draw the same sample: one counts, the other is told so', async () => {
  const w = await shardWorker(() => ({ kind: 'scores', shown: [7, 3], afterMs: 500 }));
  const record = w.record('r1');
  await w.putShards(record, [0]);
  await w.clock.advance(1);
  await w.putShards(record, [0]);
  const [first, second] = [await w.begin(), await w.begin()];
  await w.clock.until(Promise.all([first.done, second.done]), 5_000);
  expect(w.engine.drawn).toHaveLength(2);
  expect(w.suppressed).toMatchObject([{ where: 'ledger' }]);
  expect(w.nats.tasks()).toBe(0);
});

test('X7: what one engine fails the other one of the worker draws, in the same delivery and once', async () => {
  const w = workerSetting();
  await w.putTemplate();
  const { clock } = w;
  const tried: string[] = [];
  const engine = (name: string, fails: (index: number) => boolean) =>
    scriptedEngine({
      clock,
      name,
      answer: (spec, job, n): Answer => {
        tried.push(`${name} ${spec.index}`);
        if (fails(spec.index)) return { kind: 'retryable', reason: `${name}: status 500` };
        return { kind: 'scores', shown: seededScores(spec, job, n) };
      },
    });
  const record = w.record('r1');
  const indexes = firstShard(record);
  const engines = [engine('a', (index) => index !== indexes[0]), engine('b', (index) => index === indexes.at(-1))];
  // The first has more room.
  const pool = new EnginePool(engines.map((each, at) => ({ name: each.name, slots: 8 >> at, current: () => each })));
  const puller = await w.queue.work.pullShards('grm');
  await w.putShards(record, indexes);
  const run = async (): Promise<void> => {
    const delivery = await w.next((max, signal) => puller.pull(max, signal));
    const never = new AbortController().signal;
    const done = executeShard(delivery, (samples, avoid) => pool.reserve(samples, avoid), w.context, never);
    await clock.until(done, 10_000);
  };
  await run();
  const first = tried.filter((each) => each.startsWith('a')).length;
  expect([...new Set(tried)]).toHaveLength(tried.length);
  expect(first).toBe(indexes.length);
  const stored = await storedOf(w.queue.ledger, w.record('r1'), indexes);
  expect([...stored.values()].map(({ engine: by }) => by).sort()).toEqual([
    'a',
    ...indexes.slice(1, -1).map(() => 'b'),
  ]);
  expect(w.retried).toMatchObject([{ reason: 'b: status 500' }]);
  expect([pool.taken('a'), pool.taken('b')]).toEqual([0, 0]);

  // P5: what came back may be what kills engines. It is tried at one of them.
  tried.length = 0;
  await run();
  expect(tried).toEqual([`a ${indexes.at(-1)}`]);
});
