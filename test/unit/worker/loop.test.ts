import { expect, test } from 'vitest';
import { limits } from '../../../src/limits.js';
import { Events } from '../../../src/observe/events.js';
import type { Delivery, Puller } from '../../../src/queue/queue.js';
import type { Shard } from '../../../src/work/shard.js';
import { Credit } from '../../../src/worker/credit.js';
import { startLoop, type LoopOptions } from '../../../src/worker/loop.js';
import { memoryNats, type MemoryNatsOptions } from '../../support/memory-queue.js';
import { virtualClock } from '../../support/virtual-clock.js';
import { aShard } from '../../support/work-values.js';

interface Work {
  readonly delivery: Delivery<Shard>;
  readonly hurry: AbortSignal;
  free(): void;
  finish(): void;
  handBack(): void;
}

type Caution = Pick<LoopOptions<Shard>, 'cautionMs' | 'calm'>;

/** A loop on the queue model whose work the test finishes by hand. */
async function loopOf(
  options: { slots: number; costMax?: number } & Omit<MemoryNatsOptions, 'clock'>,
  caution: Caution = {},
) {
  const clock = virtualClock();
  const nats = memoryNats({ clock, ...options });
  const queue = nats.open('w');
  const coordinator = nats.open('c');
  const real = await queue.work.pullShards('grm');
  const asked: number[] = [];
  let pulling = 0;
  let pullingMost = 0;
  const puller: Puller<Shard> = {
    async pull(max, signal) {
      asked.push(max);
      pullingMost = Math.max(pullingMost, ++pulling);
      try {
        return await real.pull(max, signal);
      } finally {
        pulling--;
      }
    },
    close: () => real.close(),
  };
  const credit = new Credit();
  credit.setSlots(options.slots);
  const events = new Events();
  const troubles: unknown[] = [];
  events.on('trouble', ({ error }) => void troubles.push(error));
  const works: Work[] = [];
  const loop = startLoop<Shard>({
    puller,
    credit,
    clock,
    events,
    cost: (shard) => shard.samples.length,
    ...(options.costMax !== undefined && { costMax: options.costMax }),
    ...caution,
    execute: (delivery, hurry, free) =>
      new Promise((resolve, reject) => {
        const finish = (): void => {
          delivery.ack();
          resolve();
        };
        const handBack = (): void => {
          delivery.nak(0);
          resolve();
        };
        if (delivery.task?.requestId === 'bug') reject(new Error('a bug'));
        else works.push({ delivery, hurry, free, finish, handBack });
        hurry.addEventListener('abort', handBack);
      }),
  });
  let unit = 0;
  const put = (count: number, samples = 2, requestId = 'r') =>
    coordinator.work.putShards(
      'grm',
      'e',
      Array.from({ length: count }, () => {
        const specs = Array.from({ length: samples }, (_, index) => ({ index, seed: index + 1, permutation: [0, 1] }));
        return { ...aShard(requestId, unit++), samples: specs };
      }),
    );
  return { clock, nats, coordinator, credit, loop, works, asked, put, troubles, pullingMost: () => pullingMost };
}

test('L1, K1: never more in hand than the slots and one shard, and one pull at a time', async () => {
  const { clock, credit, works, put, pullingMost, asked } = await loopOf({ slots: 20, costMax: 8 });
  await put(10, 8);
  let most = 0;
  for (let i = 0; i < 10; i++) {
    await clock.advance(10);
    most = Math.max(most, credit.taken);
    works.shift()?.finish();
  }
  await clock.advance(10);
  expect(most).toBeLessThan(20 + 8);
  expect(most).toBeGreaterThanOrEqual(20);
  expect(works).toHaveLength(0);
  expect(credit.taken).toBe(0);
  expect(pullingMost()).toBe(1);
  expect(Math.max(...asked)).toBe(2);
});

test('K3: a slot whose sample is there takes the next shard, and a shard keeps one to its end', async () => {
  const { clock, credit, works, put } = await loopOf({ slots: 8, costMax: 8 });
  await put(10, 8);
  await clock.advance(100);
  expect(works).toHaveLength(1);
  works[0]!.free();
  await clock.advance(100);
  expect(works).toHaveLength(2);
  expect(credit.taken).toBe(15);
  // All samples of both are there, and neither is at its end.
  for (const work of works.slice(0, 2)) for (let sample = 0; sample < 20; sample++) work.free();
  await clock.advance(100);
  expect(works).toHaveLength(3);
  expect(credit.taken).toBe(10);
  for (const work of works) {
    work.finish();
    work.free();
  }
  await clock.advance(100);
  // Given back once: only what was pulled since is out.
  expect(credit.taken).toBe(8);
});

test('L1: small tasks fill all slots though each pull asks for what the largest would need', async () => {
  const { clock, credit, works, put } = await loopOf({ slots: 32, costMax: 8 });
  await put(100, 1);
  await clock.advance(10);
  expect(credit.taken).toBe(32);
  expect(works).toHaveLength(32);
});

test('without slots nothing is pulled', async () => {
  const { clock, credit, works, put, asked } = await loopOf({ slots: 0 });
  await put(2);
  await clock.advance(60_000);
  expect(asked).toEqual([]);
  credit.setSlots(2);
  await clock.advance(10);
  expect(works).toHaveLength(1);
});

test('a pull is called back when its room is gone: what comes then is for others, and with new slots the loop goes on', async () => {
  const { clock, credit, works, put, loop } = await loopOf({ slots: 4 });
  await clock.advance(100);
  credit.setSlots(0);
  loop.recall();
  await clock.advance(100);
  await put(2);
  await clock.advance(10_000);
  expect(works).toHaveLength(0);
  credit.setSlots(4);
  await clock.advance(10_000);
  expect(works).toHaveLength(2);
});

test('L2: a delivery in hand is renewed until it is settled, and nobody else gets it', async () => {
  const { clock, nats, works, put } = await loopOf({ slots: 2 });
  await put(1);
  await clock.advance(10);
  const other = await nats.open('other').work.pullShards('grm');
  for (let i = 0; i < 10; i++) {
    expect(await clock.until(other.pull(1, new AbortController().signal), limits.pullExpiresMs)).toEqual([]);
    await clock.advance(limits.ackWaitMs / 2);
  }
  works[0]!.finish();
  await clock.advance(limits.ackWaitMs * 2);
  expect(nats.tasks()).toBe(0);
});

test('pause takes no more and keeps what is in hand; resume goes on', async () => {
  const { clock, loop, works, put } = await loopOf({ slots: 4, costMax: 2 });
  await put(1);
  await clock.advance(10);
  loop.pause();
  await put(1);
  await clock.advance(60_000);
  expect(works).toHaveLength(1);
  expect(loop.isPaused()).toBe(true);
  expect(works[0]!.hurry.aborted).toBe(false);
  loop.resume();
  loop.resume();
  await clock.advance(10);
  expect(works).toHaveLength(2);
  loop.pause();
  await put(1);
  await clock.advance(60_000);
  expect(works).toHaveLength(2);
});

test('L4 (P5): a task that came back too often runs alone, and while tasks come back they are taken one at a time', async () => {
  const { clock, works, put, asked, credit } = await loopOf({ slots: 32, costMax: 2, ackWaitMs: 1_000 });
  await put(3);
  await clock.advance(10);
  expect(works).toHaveLength(3);
  expect(asked[0]).toBe(16);
  // Two of them are handed back until they are suspects; the third goes on all the time.
  const long = works.shift()!;
  for (let delivery = 1; delivery < limits.aloneFromDelivery; delivery++) {
    expect(works.map((work) => work.delivery.deliveries)).toEqual([delivery, delivery]);
    for (const work of works.splice(0)) work.handBack();
    await clock.advance(10);
  }
  expect(works).toEqual([]);
  expect(asked.at(-1)).toBe(1);
  const asksBefore = asked.length;
  await clock.advance(60_000);
  expect(asked.length).toBe(asksBefore);
  expect(works).toEqual([]);

  // What ran before has ended: the suspects come, each on its own, and nothing new beside them.
  long.finish();
  for (let suspect = 0; suspect < 2; suspect++) {
    await clock.advance(10);
    expect(works.map((work) => work.delivery.deliveries)).toEqual([limits.aloneFromDelivery]);
    works.shift()!.finish();
  }
  await put(5);
  await clock.advance(10);
  expect(works.map((work) => work.delivery.deliveries)).toEqual([1, 1, 1, 1, 1]);
  for (const work of works.splice(0)) work.finish();
  await clock.advance(limits.workerCautionMs);
  expect(asked.at(-1)).toBe(16);
  expect(credit.taken).toBe(0);
});

test('L4: caution ends when nothing that came back is open any more, and not before', async () => {
  let calm = false;
  let looks = 0;
  const look = (): Promise<boolean> => {
    looks++;
    return Promise.resolve(calm);
  };
  const options = { slots: 32, costMax: 2, ackWaitMs: 1_000 };
  const { clock, works, put, asked } = await loopOf(options, { cautionMs: limits.workerCautionMs, calm: look });
  const finishAll = async (): Promise<void> => {
    await clock.advance(10);
    for (const work of works.splice(0)) work.finish();
  };
  await put(3);
  await finishAll();
  expect(asked[0]).toBe(1);
  await clock.advance(5_500);
  expect(asked.at(-1)).toBe(1);
  expect(looks).toBeGreaterThan(1);
  calm = true;
  await clock.advance(11_000);
  expect(asked.at(-1)).toBe(16);
  const before = looks;
  await clock.advance(60_000);
  expect(looks).toBe(before);

  // A task comes back: cautious again, for as long as it is open.
  calm = false;
  await put(1);
  await clock.advance(10);
  works.shift()!.handBack();
  await clock.advance(10);
  await put(1);
  await clock.advance(10);
  expect(asked.at(-1)).toBe(1);
  await finishAll();
  calm = true;
  await clock.advance(11_000);
  expect(asked.at(-1)).toBe(16);
});

test('L3 (P6): drain stops pulling, lets work finish within the grace, and then hands the rest back at once', async () => {
  const { clock, nats, loop, works, put, coordinator } = await loopOf({ slots: 4, costMax: 2 });
  await put(2);
  await clock.advance(10);
  const drained = loop.drain(5_000);
  await put(1);
  await clock.advance(1_000);
  expect(works).toHaveLength(2);
  works[0]!.finish();
  await clock.advance(3_999);
  expect(loop.running()).toBe(1);
  await clock.advance(1);
  await clock.until(drained, 0);
  expect(loop.running()).toBe(0);
  expect(nats.tasks()).toBe(2);
  // At once: nobody waits for ackWaitMs.
  const other = await coordinator.work.pullShards('grm');
  const taken = await clock.until(other.pull(4, new AbortController().signal), 10);
  expect(taken.map(({ deliveries }) => deliveries).toSorted()).toEqual([1, 2]);
  expect(clock.waiting()).toBe(0);
});

test('L3: drain with nothing in hand ends at once, also while paused', async () => {
  for (const paused of [false, true]) {
    const { clock, loop } = await loopOf({ slots: 4 });
    await clock.settle();
    if (paused) loop.pause();
    await clock.until(loop.drain(60_000), 0);
    expect(loop.running()).toBe(0);
  }
});

test('a bug in one delivery hands it back, is told, and stops nothing', async () => {
  const { clock, credit, works, put, troubles } = await loopOf({ slots: 4, costMax: 2 });
  await put(1, 2, 'bug');
  await put(1, 2, 'fine');
  await clock.advance(10);
  expect(works.map(({ delivery }) => delivery.requestId)).toEqual(['fine']);
  expect(troubles).toMatchObject([{ message: 'a bug' }]);
  expect(credit.taken).toBe(2);
  await clock.advance(1_000);
  expect(troubles.length).toBeGreaterThan(1);
});

test('NATS is away: the loop waits and goes on', async () => {
  const { clock, nats, works, put } = await loopOf({ slots: 4 });
  nats.away(true);
  await clock.advance(120_000);
  nats.away(false);
  await clock.until(put(1), 1_000);
  await clock.advance(10_000);
  expect(works).toHaveLength(1);
});
