// The contract of src/queue/queue.ts: what every implementation of QueueSystem must do. Run on the real nats-server by
// queue-jetstream.test.ts, and on the simulation's model by its own test.

import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import type { Delivery, Follower, Puller, QueueSystem } from '../../src/queue/queue.js';
import type { Sample } from '../../src/grm/sample.js';
import type { Verdict } from '../../src/grm/verdict.js';
import type { MetaResult } from '../../src/work/shard.js';
import {
  aDeadLetter,
  aMetaResult,
  aMetaTask,
  anInvalidSample,
  aRecord,
  aSample,
  aShard,
  aVerdict,
  freshId,
} from '../support/work-values.js';
import { laneContract } from './lanes.js';
import { metasOf, ownLane, putMeta, putSample, samplesOf } from '../support/lanes.js';

/** One message system with several processes on it. */
export interface QueueWorld extends AsyncDisposable {
  /** Another process: its own connection. Closed by the suite. */
  open(name: string): Promise<QueueSystem>;
  /** Settings of this world, short enough for a test. */
  readonly ackWaitMs: number;
  readonly leaseMs: number;
  /** Lets the world's time pass. */
  sleep(ms: number): Promise<void>;
  /** Names of pools of each stage, each used by one test only; all have consumers. */
  readonly pools: readonly string[];
}

export function queueContract(what: string, makeWorld: () => Promise<QueueWorld>): void {
  describe(`queue contract: ${what}`, () => {
    let world: QueueWorld;
    let a: QueueSystem;
    let b: QueueSystem;
    let poolsUsed = 0;
    const never = new AbortController().signal;

    beforeAll(async () => {
      world = await makeWorld();
      a = await world.open('a');
      b = await world.open('b');
    });
    afterAll(async () => {
      await a.close();
      await b.close();
      await world[Symbol.asyncDispose]();
    });

    function nextPool(): string {
      const pool = world.pools[poolsUsed];
      if (pool === undefined) throw new Error('the world has too few pools for this suite');
      poolsUsed += 1;
      return pool;
    }

    async function until(holds: () => boolean | Promise<boolean>, words: string): Promise<void> {
      for (let i = 0; i < 3_000; i += 1) {
        if (await holds()) return;
        await world.sleep(10);
      }
      throw new Error(`never came true: ${words}`);
    }

    /** Pulls until `count` deliveries came. */
    async function pullAll<T>(puller: Puller<T>, count: number, max = count): Promise<Delivery<T>[]> {
      const all: Delivery<T>[] = [];
      for (let i = 0; i < 50 && all.length < count; i += 1) all.push(...(await puller.pull(max, never)));
      return all;
    }

    interface Heard {
      readonly follower: Follower;
      readonly samples: Sample[];
      readonly metas: MetaResult[];
      readonly verdicts: Verdict[];
    }
    function ears(): Heard {
      const samples: Sample[] = [];
      const metas: MetaResult[] = [];
      const verdicts: Verdict[] = [];
      return {
        samples,
        metas,
        verdicts,
        follower: {
          samples: (those) => void samples.push(...those),
          metas: (those) => void metas.push(...those),
          verdict: (verdict) => void verdicts.push(verdict),
        },
      };
    }

    describe('ledger', () => {
      test('Q1 (P2): an accepted request is stored once, and the record reads back whole', async () => {
        const id = freshId();
        expect(await a.ledger.accept(aRecord(id))).toEqual({ kind: 'new' });
        expect(await b.ledger.accept(aRecord(id, { owner: 'coordinator-2' }))).toEqual({ kind: 'known' });
        expect(await b.ledger.record(id)).toEqual(aRecord(id));
        expect(await b.ledger.record(freshId())).toBeUndefined();
      });

      test('a forgotten request can be accepted again, and keeps its samples', async () => {
        const id = freshId();
        await a.ledger.accept(aRecord(id));
        await putSample(a.ledger, id, aSample(0));
        await a.ledger.forget(id);
        expect(await a.ledger.record(id)).toBeUndefined();
        expect((await samplesOf(a.ledger, id, [0])).size).toBe(1);
        expect(await b.ledger.accept(aRecord(id))).toEqual({ kind: 'new' });
      });

      test('Q1 (P2): of many concurrent writers of one sample exactly one stores it, and its value stays', async () => {
        const id = freshId();
        const puts = await Promise.all(
          Array.from({ length: 50 }, (_, i) => putSample((i % 2 ? a : b).ledger, id, aSample(3, { worker: `w${i}` }))),
        );
        expect(puts.filter((put) => put === 'stored')).toHaveLength(1);
        const winner = puts.indexOf('stored');
        expect((await samplesOf(a.ledger, id, [3])).get(3)).toEqual(aSample(3, { worker: `w${winner}` }));
      });

      test('samples and metas: only the stored ones, by index, scored and invalid, exact', async () => {
        const id = freshId();
        await putSample(a.ledger, id, aSample(0));
        await putSample(a.ledger, id, anInvalidSample(5));
        expect(await samplesOf(b.ledger, id, [0, 1, 5, 7])).toEqual(
          new Map<number, Sample>([
            [0, aSample(0)],
            [5, anInvalidSample(5)],
          ]),
        );
        const failed: MetaResult = {
          kind: 'failed',
          requestId: id,
          index: 5,
          failure: 'engine',
          model: 'm',
          worker: 'w',
        };
        expect(await putMeta(a.ledger, aMetaResult(id, 0, 0))).toBe('stored');
        expect(await putMeta(b.ledger, aMetaResult(id, 0, 9))).toBe('exists');
        await putMeta(a.ledger, failed);
        expect(await metasOf(b.ledger, id, [0, 1, 5])).toEqual(
          new Map<number, MetaResult>([
            [0, aMetaResult(id, 0, 0)],
            [5, failed],
          ]),
        );
      });

      test('Q1 (P2): a verdict is written once and reads back exactly', async () => {
        const id = freshId();
        expect(await a.ledger.verdict(id)).toBeUndefined();
        expect(await a.ledger.putVerdict(aVerdict(id))).toBe('stored');
        expect(await b.ledger.putVerdict(aVerdict(id, { durationMs: 1 }))).toBe('exists');
        expect(await b.ledger.verdict(id)).toEqual(aVerdict(id));
      });

      test('unfinished: accepted, not forgotten, without a verdict', async () => {
        const [open, done, gone] = [freshId('open'), freshId('done'), freshId('gone')];
        for (const id of [open, done, gone]) await a.ledger.accept(aRecord(id));
        await a.ledger.putVerdict(aVerdict(done));
        await a.ledger.forget(gone);
        const seen: string[] = [];
        for await (const record of b.ledger.unfinished()) {
          seen.push(record.requestId);
          if (record.requestId === open) expect(record).toEqual(aRecord(open));
        }
        expect(seen).toContain(open);
        expect(seen).not.toContain(done);
        expect(seen).not.toContain(gone);
        expect(new Set(seen).size).toBe(seen.length);
        for await (const record of b.ledger.unfinished((id) => id === open)) expect(record.requestId).not.toBe(open);
        for await (const record of b.ledger.unfinished((id) => id === open)) expect(record.requestId).not.toBe(open);
      });

      test('Q2: a follower hears of each stored thing of its request, and of nothing that was refused', async () => {
        const [id, other] = [freshId(), freshId()];
        const heard = ears();
        const following = await a.ledger.follow(id, heard.follower);
        await a.ledger.accept(aRecord(id)); // what is sent after follow() on this connection comes after it
        await putSample(b.ledger, id, aSample(1));
        await putSample(b.ledger, id, aSample(1, { worker: 'late' }));
        await putSample(b.ledger, other, aSample(1));
        await putMeta(b.ledger, aMetaResult(id, 1));
        await b.ledger.putVerdict(aVerdict(id));
        await until(() => heard.verdicts.length > 0, 'the verdict is heard');
        expect(heard.samples).toEqual([aSample(1)]);
        expect(heard.metas).toEqual([aMetaResult(id, 1)]);
        expect(heard.verdicts).toEqual([aVerdict(id)]);
        following.close();
        await putSample(b.ledger, id, aSample(2));
        await world.sleep(50);
        expect(heard.samples).toHaveLength(1);
      });

      test('Q2: what a worker repeats is heard again', async () => {
        const id = freshId();
        const heard = ears();
        const following = await a.ledger.follow(id, heard.follower);
        await a.ledger.accept(aRecord(id));
        b.ledger.repeatSamples(id, ownLane(4), [aSample(4)]);
        b.ledger.repeatMetas(id, ownLane(4), [aMetaResult(id, 4)]);
        await until(() => heard.metas.length > 0, 'the repetition is heard');
        expect(heard.samples).toEqual([aSample(4)]);
        expect((await samplesOf(a.ledger, id, [4])).size).toBe(0);
        following.close();
      });

      test('reopen removes stored failures and the verdict, and nothing that is good', async () => {
        const id = freshId();
        await putSample(a.ledger, id, aSample(0));
        await putSample(a.ledger, id, anInvalidSample(1));
        await putMeta(a.ledger, aMetaResult(id, 0));
        await a.ledger.putVerdict(aVerdict(id));
        await a.ledger.reopen(id, new Map([0, 1].map((index) => [ownLane(index), [index]])));
        expect([...(await samplesOf(a.ledger, id, [0, 1])).keys()]).toEqual([0]);
        expect([...(await metasOf(a.ledger, id, [0, 1])).keys()]).toEqual([0]);
        expect(await a.ledger.verdict(id)).toBeUndefined();
        expect(await putSample(a.ledger, id, aSample(1))).toBe('stored');
      });

      test('templates are kept by hash', async () => {
        const hash = freshId('t');
        expect(await a.ledger.template(hash)).toBeUndefined();
        await a.ledger.putTemplate(hash, 'judge: {{query}} ✓');
        await b.ledger.putTemplate(hash, 'judge: {{query}} ✓');
        expect(await b.ledger.template(hash)).toBe('judge: {{query}} ✓');
      });

      test('an id that is no token is refused before it reaches a subject', async () => {
        await expect(a.ledger.accept(aRecord('a.b'))).rejects.toThrow(RangeError);
        await expect(a.ledger.forget('*')).rejects.toThrow(RangeError);
        await expect(a.work.withdraw('>')).rejects.toThrow(RangeError);
        await expect(a.work.countTasks('>')).rejects.toThrow(RangeError);
      });
    });

    laneContract(() => ({ a, b }), until);

    describe('work queue', () => {
      test('a shard arrives as it was put, once, and is gone when acked', async () => {
        const pool = nextPool();
        const id = freshId();
        const puller = await b.work.pullShards(pool);
        expect(await a.work.putShards(pool, 'e1', [aShard(id, 0)])).toEqual({ kind: 'stored' });
        const [delivery, ...more] = await pullAll(puller, 1, 4);
        expect(more).toEqual([]);
        expect(delivery?.task).toEqual(aShard(id, 0));
        expect(delivery).toMatchObject({ requestId: id, class: 'rl', deliveries: 1 });
        delivery?.ack();
        await until(async () => (await depth(a, pool)).inFlight === 0, 'the ack arrives');
        expect(await depth(a, pool)).toMatchObject({ pending: 0, inFlight: 0 });
        await puller.close();
      });

      test('a shard without content and a meta task with its sample arrive exactly', async () => {
        const pool = nextPool();
        const id = freshId();
        const shards = await b.work.pullShards(pool);
        const metas = await b.work.pullMetaTasks(pool);
        const { content: _, ...bare } = aShard(id, 1);
        await a.work.putShards(pool, 'e1', [bare]);
        await a.work.putMetaTasks(pool, 'e1', [aMetaTask(id, 2)]);
        const [shard] = await pullAll(shards, 1);
        const [meta] = await pullAll(metas, 1);
        expect(shard?.task).toEqual(bare);
        expect(meta?.task).toEqual(aMetaTask(id, 2));
        shard?.ack();
        meta?.ack();
        await shards.close();
        await metas.close();
      });

      test('the same epoch and shard is stored once; another epoch is another task', async () => {
        const pool = nextPool();
        const id = freshId();
        for (const epoch of ['e1', 'e1', 'e2']) {
          expect(await a.work.putShards(pool, epoch, [aShard(id, 0)])).toEqual({ kind: 'stored' });
        }
        expect(await depth(a, pool)).toMatchObject({ pending: 2 });
      });

      test('urgent classes come first', async () => {
        const pool = nextPool();
        const id = freshId();
        const all = (['batch', 'rl', 'interactive'] as const).flatMap((cls, c) =>
          [0, 1, 2].map((i) => aShard(id, c * 3 + i, { class: cls })),
        );
        for (const shard of all) await a.work.putShards(pool, 'e1', [shard]);
        const puller = await b.work.pullShards(pool);
        const got: string[] = [];
        while (got.length < 9) {
          for (const delivery of await puller.pull(2, never)) {
            got.push(delivery.class);
            delivery.ack();
          }
        }
        const urgency = ['interactive', 'rl', 'batch'];
        expect(got).toEqual(got.toSorted((x, y) => urgency.indexOf(x) - urgency.indexOf(y)));
        await puller.close();
      });

      test('never more than asked for, and nothing is held back from a second worker', async () => {
        const pool = nextPool();
        const id = freshId();
        await a.work.putShards(
          pool,
          'e1',
          Array.from({ length: 10 }, (_, i) => aShard(id, i)),
        );
        const first = await a.work.pullShards(pool);
        const second = await b.work.pullShards(pool);
        const mine = await first.pull(3, never);
        expect(mine).toHaveLength(3);
        const rest = await pullAll(second, 7, 10);
        expect(rest).toHaveLength(7);
        const units = [...mine, ...rest].map(({ task }) => task?.shard);
        expect(units.toSorted((x, y) => x! - y!)).toEqual([0, 1, 2, 3, 4, 5, 6, 7, 8, 9]);
        for (const delivery of [...mine, ...rest]) delivery.ack();
        await first.close();
        await second.close();
      });

      test('a waiting pull wakes for a task that comes later; a pull of an empty queue ends with nothing', async () => {
        const pool = nextPool();
        const puller = await b.work.pullShards(pool);
        expect(await puller.pull(4, never)).toEqual([]);
        const id = freshId();
        const waiting = pullAll(puller, 1, 4);
        await world.sleep(30);
        await a.work.putShards(pool, 'e1', [aShard(id, 0)]);
        const [delivery] = await waiting;
        expect(delivery?.requestId).toBe(id);
        delivery?.ack();
        await puller.close();
      });

      test('an aborted pull ends with nothing and leaves its claim to others', async () => {
        const pool = nextPool();
        const puller = await a.work.pullShards(pool);
        const abort = new AbortController();
        const pulling = puller.pull(4, abort.signal);
        await world.sleep(30);
        abort.abort();
        expect(await pulling).toEqual([]);
        const id = freshId();
        await a.work.putShards(pool, 'e1', [aShard(id, 0)]);
        const other = await b.work.pullShards(pool);
        const [delivery] = await pullAll(other, 1);
        expect(delivery?.requestId).toBe(id);
        delivery?.ack();
        await puller.close();
        await other.close();
      });

      test('Q3: an unsettled delivery goes to somebody else, a renewed one does not', async () => {
        const pool = nextPool();
        const [left, kept] = [freshId('left'), freshId('kept')];
        await a.work.putShards(pool, 'e1', [aShard(left, 0)]);
        await a.work.putShards(pool, 'e1', [aShard(kept, 0)]);
        const puller = await a.work.pullShards(pool);
        const deliveries = await pullAll(puller, 2);
        const renewed = deliveries.find(({ requestId }) => requestId === kept);
        const other = await b.work.pullShards(pool);
        const seen: { requestId: string; deliveries: number }[] = [];
        for (let waited = 0; waited < world.ackWaitMs * 2.5; waited += world.ackWaitMs / 5) {
          renewed?.working();
          const abort = new AbortController();
          const pulling = other.pull(4, abort.signal);
          await world.sleep(world.ackWaitMs / 5);
          abort.abort();
          // Pulled and handed back by the abort, or returned: either way it was given to somebody else.
          for (const { requestId, deliveries: times } of await pulling) seen.push({ requestId, deliveries: times });
        }
        const again = await pullAll(other, 1);
        seen.push(...again.map(({ requestId, deliveries: times }) => ({ requestId, deliveries: times })));
        expect(new Set(seen.map(({ requestId }) => requestId))).toEqual(new Set([left]));
        expect(Math.max(...seen.map(({ deliveries: times }) => times))).toBeGreaterThan(1);
        for (const delivery of [...deliveries, ...again]) delivery.ack();
        await puller.close();
        await other.close();
      });

      test('nak hands a delivery back, at once or after its delay; term removes it for good', async () => {
        const pool = nextPool();
        const id = freshId();
        await a.work.putShards(pool, 'e1', [aShard(id, 0)]);
        const puller = await b.work.pullShards(pool);
        const [first] = await pullAll(puller, 1);
        first?.nak(0);
        const [second] = await pullAll(puller, 1);
        expect(second?.deliveries).toBe(2);
        expect(await b.work.redelivered('sample', pool)).toBe(1);
        expect(await b.work.redelivered('meta', pool)).toBe(0);
        second?.nak(world.ackWaitMs / 2);
        await until(async () => (await depth(a, pool)).inFlight === 1, 'a delayed one counts as in flight');
        const [third] = await pullAll(puller, 1);
        expect(third?.deliveries).toBe(3);
        third?.term();
        await until(async () => (await depth(a, pool)).inFlight === 0, 'the term arrives');
        expect(await depth(a, pool)).toMatchObject({ pending: 0, inFlight: 0 });
        expect(await b.work.redelivered('sample', pool)).toBe(0);
        await puller.close();
      });

      test('withdraw removes what waits of one request, in all classes and stages, and nothing else', async () => {
        const pool = nextPool();
        const [gone, stays] = [freshId('gone'), freshId('stays')];
        for (const id of [gone, stays]) {
          await a.work.putShards(pool, 'e1', [aShard(id, 0), aShard(id, 1, { class: 'batch' })]);
          await a.work.putMetaTasks(pool, 'e1', [aMetaTask(id, 0)]);
        }
        expect(await Promise.all([gone, stays].map((id) => a.work.countTasks(id)))).toEqual([3, 3]);
        await a.work.withdraw(gone);
        expect(await Promise.all([gone, stays].map((id) => a.work.countTasks(id)))).toEqual([0, 3]);
        const shards = await b.work.pullShards(pool);
        const metas = await b.work.pullMetaTasks(pool);
        const got = [...(await pullAll(shards, 2)), ...(await pullAll(metas, 1))];
        expect(got.map(({ requestId }) => requestId)).toEqual([stays, stays, stays]);
        expect(await a.work.countTasks(stays)).toBe(3); // in hand is there
        for (const delivery of got) delivery.ack();
        await until(async () => (await a.work.countTasks(stays)) === 0, 'the acks arrive');
        await shards.close();
        await metas.close();
      });

      test('closing a puller hands back what it holds and ends its pull', async () => {
        const pool = nextPool();
        const puller = await b.work.pullShards(pool);
        const pulling = puller.pull(1, never);
        await world.sleep(20);
        await puller.close();
        expect(await pulling).toEqual([]);
        expect(await puller.pull(1, never)).toEqual([]);
        await a.work.putShards(pool, 'e1', [aShard(freshId(), 0)]);
        await world.sleep(50);
        expect(await depth(a, pool)).toMatchObject({ pending: 1, inFlight: 0 });
      });
    });

    describe('dead letters', () => {
      test('newest history per unit, newest first, removable (P5)', async () => {
        const id = freshId();
        const before = await a.dead.count();
        await a.dead.put(aDeadLetter(id, 0, { deliveries: 5 }));
        await a.dead.put(aDeadLetter(id, 1));
        await b.dead.put(aDeadLetter(id, 0, { deliveries: 9 }));
        await a.dead.put(aDeadLetter(id, 0, { stage: 'meta', samples: [] }));
        expect(await b.dead.count()).toBe(before + 3);
        expect(await b.dead.list(3)).toEqual([
          aDeadLetter(id, 0, { stage: 'meta', samples: [] }),
          aDeadLetter(id, 0, { deliveries: 9 }),
          aDeadLetter(id, 1),
        ]);
        expect(await b.dead.list(1)).toHaveLength(1);
        await b.dead.remove(id, 'sample', 0);
        expect(await a.dead.count()).toBe(before + 2);
        expect((await a.dead.list(2)).map(({ stage, unit }) => `${stage}${unit}`)).toEqual(['meta0', 'sample1']);
      });
    });

    describe('control plane', () => {
      const bytes = (words: string): Uint8Array => new TextEncoder().encode(words);
      const words = (body: Uint8Array | undefined): string | undefined => body && new TextDecoder().decode(body);

      test('what is kept under a name is there for everybody until it is kept anew, longer than any lease', async () => {
        const name = freshId('kept');
        expect(await b.control.kept(name)).toBeUndefined();
        await a.control.keep(name, bytes('one'));
        expect(words(await b.control.kept(name))).toBe('one');
        await b.control.keep(name, bytes('two'));
        await world.sleep(world.leaseMs * 2);
        expect(words(await a.control.kept(name))).toBe('two');
      });

      test('a lease is seen by all, renewed, dropped', async () => {
        const name = freshId('node');
        await a.control.renewLease(name, bytes('one'));
        await a.control.renewLease(name, bytes('two'));
        const seen = (await b.control.leases()).filter((lease) => lease.name === name);
        expect(seen.map(({ body }) => words(body))).toEqual(['two']);
        expect(seen[0]!.ageMs).toBeLessThan(world.leaseMs);
        await a.control.dropLease(name);
        expect((await b.control.leases()).some((lease) => lease.name === name)).toBe(false);
      });

      test('a lease that is not renewed vanishes', async () => {
        const [stays, goes] = [freshId('node'), freshId('node')];
        await a.control.renewLease(goes, bytes('x'));
        for (let i = 0; i < 6; i += 1) {
          await a.control.renewLease(stays, bytes('x'));
          await world.sleep(world.leaseMs / 4);
        }
        const names = (await b.control.leases()).map(({ name }) => name);
        expect(names).toContain(stays);
        expect(names).not.toContain(goes);
      });

      test('ask reaches the one who serves the name; nobody there is undefined at once', async () => {
        const name = freshId('node');
        expect(await a.control.ask(name, bytes('x'))).toBeUndefined();
        const stop = await b.control.serve(name, (body) => Promise.resolve(bytes(`heard ${words(body)}`)));
        expect(words(await a.control.ask(name, bytes('status')))).toBe('heard status');
        stop();
        const failing = await b.control.serve(name, () => Promise.reject(new Error('cannot')));
        expect(await a.control.ask(name, bytes('x'))).toBeUndefined();
        failing();
      });

      test('of several who serve one name all are asked, and one who has nothing to say leaves the answer to the others', async () => {
        const name = freshId('node');
        let asked = 0;
        const silent = await a.control.serve(name, () => Promise.resolve((asked++, undefined)));
        const answers = await b.control.serve(name, (body) => Promise.resolve(bytes(`heard ${words(body)}`)));
        expect(words(await a.control.ask(name, bytes('who')))).toBe('heard who');
        await until(() => asked === 1, 'the silent one is asked too');
        silent();
        answers();
        expect(await a.control.ask(name, bytes('who'))).toBeUndefined();
      });

      test('a broadcast reaches every listener of its topic and no other', async () => {
        const topic = freshId('topic');
        const heard: string[] = [];
        const stopA = await a.control.listen(topic, (body) => void heard.push(`a ${words(body)}`));
        const stopB = await b.control.listen(topic, (body) => void heard.push(`b ${words(body)}`));
        const stopOther = await b.control.listen(freshId('topic'), () => void heard.push('other'));
        a.control.broadcast(topic, bytes('cancel'));
        await until(() => heard.length >= 2, 'both listeners hear');
        stopA();
        a.control.broadcast(topic, bytes('again'));
        await until(() => heard.length >= 3, 'the one that is left hears');
        expect(heard.toSorted()).toEqual(['a cancel', 'b again', 'b cancel']);
        stopB();
        stopOther();
      });

      test('a control message above its bound is refused', async () => {
        const big = new Uint8Array(300 * 1024);
        await expect(a.control.ask('x', big)).rejects.toThrow(RangeError);
      });
    });

    describe('system', () => {
      test('connected, with a round trip and a clock', async () => {
        expect(a.connected()).toBe(true);
        expect(a.drift).toEqual([]);
        expect(await a.rttMs()).toBeGreaterThanOrEqual(0);
        expect(Math.abs(await a.clockSkewMs())).toBeLessThan(1_000);
      });

      test('a sweep of healthy queues takes nothing away', async () => {
        const pool = nextPool();
        const id = freshId();
        await a.work.putShards(pool, 'e1', [aShard(id, 0)]);
        await a.sweep({ busy: new Set(), complete: true, oldestOpenAtMs: Date.now() });
        await a.sweep({ busy: new Set(), complete: true, oldestOpenAtMs: Date.now() });
        const puller = await b.work.pullShards(pool);
        const [delivery] = await pullAll(puller, 1);
        expect(delivery).toMatchObject({ requestId: id, deliveries: 1 });
        delivery?.ack();
        await puller.close();
      });
    });

    async function depth(system: QueueSystem, pool: string) {
      const rows = (await system.work.depths()).filter((row) => row.pool === pool && row.stream === 'GRM_WORK');
      return {
        pending: rows.reduce((sum, row) => sum + row.pending, 0),
        inFlight: rows.reduce((sum, row) => sum + row.inFlight, 0),
      };
    }
  });
}
