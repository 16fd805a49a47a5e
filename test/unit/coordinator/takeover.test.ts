import fc from 'fast-check';
import { expect, test } from 'vitest';
import { takeover, chosen } from '../../../src/coordinator/takeover.js';
import type { CoordinatorContext } from '../../../src/coordinator/context.js';
import { Events } from '../../../src/observe/events.js';
import { encodeVerdict } from '../../../src/queue/codec.js';
import type { RequestRecord } from '../../../src/work/shard.js';
import { scriptedEngine, seededScores } from '../../support/scripted-engine.js';
import { ask, virtualCluster, type VirtualCluster } from '../../support/virtual-cluster.js';
import { virtualClock } from '../../support/virtual-clock.js';
import { aRecord } from '../../support/work-values.js';

function slow(cluster: VirtualCluster, afterMs: (index: number) => number) {
  return scriptedEngine({
    clock: cluster.clock,
    answer: (spec, job, n) => ({ kind: 'scores', shown: seededScores(spec, job, n), afterMs: afterMs(spec.index) }),
  });
}

test('P1: a coordinator dies mid-way; one survivor finishes from the samples that are there, without a caller', async () => {
  const cluster = await virtualCluster();
  const a = cluster.coordinator('a');
  const survivors = ['b', 'c', 'd'].map((id) => cluster.coordinator(id));
  const engine = slow(cluster, (index) => (index < 4 ? 100 : 3_000));
  await cluster.worker('w', { engine });
  await cluster.metaWorker('m');
  void a.score(ask({ k: 8 }, { idempotencyKey: 'dies' }));
  await cluster.clock.advance(1_000);
  a.kill();
  await cluster.clock.advance(30_000);

  const taken = cluster.log.filter(({ name }) => name === 'request.taken_over');
  expect(taken).toHaveLength(1);
  expect(cluster.told('request.finished')).toMatchObject([{ outcome: 'valid', verdict: { kValid: 8, degraded: [] } }]);
  expect(engine.drawn).toHaveLength(8); // P2: what was drawn or being drawn is not drawn again
  for (const each of survivors) {
    const stored = await cluster.clock.until(each.service.stored('dies', 'default'), 10);
    expect(stored?.verdict).toMatchObject({ kValid: 8, kKept: 4 });
  }
  expect(cluster.nats.tasks()).toBe(0);
  expect(cluster.nats.followers()).toBe(0);
});

test('P1: the caller of a dead coordinator retries elsewhere and waits there until the request is finished', async () => {
  const cluster = await virtualCluster({ detectMs: 5_000 });
  const a = cluster.coordinator('a');
  const b = cluster.coordinator('b');
  const engine = slow(cluster, (index) => 500 + 250 * index);
  await cluster.worker('w', { engine });
  const input = ask({ k: 8 });
  void a.score(input);
  await cluster.clock.advance(600);
  a.kill();
  const seen: number[] = [];
  const verdict = await cluster.verdict(
    b.score(input, { onSample: ({ sample }) => void seen.push(sample.index) }),
    20_000,
  );
  expect(verdict).toMatchObject({ kind: 'valid', kValid: 8, degraded: [] });
  expect(engine.drawn).toHaveLength(8);
  expect(seen.toSorted()).toEqual([0, 1, 2, 3, 4, 5, 6, 7]);
});

test('a request that runs at another coordinator is waited for, not run again; both callers get the same bytes', async () => {
  const cluster = await virtualCluster();
  const a = cluster.coordinator('a');
  const b = cluster.coordinator('b');
  const engine = slow(cluster, (index) => 500 + 250 * index);
  await cluster.worker('w', { engine });
  const input = ask({ k: 8 });
  const first = a.score(input);
  await cluster.clock.advance(600);
  const second = b.score(input);
  const verdict = await cluster.verdict(first);
  const before = cluster.clock.now();
  expect(encodeVerdict(await cluster.verdict(second))).toEqual(encodeVerdict(verdict));
  expect(cluster.clock.now()).toBe(before); // the notice wakes it, not the next look
  expect(engine.drawn).toHaveLength(8);
  expect(cluster.told('request.known')).toMatchObject([{ how: 'elsewhere' }]);
});

test('P6: drain finishes what it can and abandons the rest to another coordinator', async () => {
  const cluster = await virtualCluster();
  const a = cluster.coordinator('a');
  const b = cluster.coordinator('b');
  const engine = slow(cluster, (index) => (index === 0 ? 500 : 5_000));
  await cluster.worker('w', { engine });
  const quick = a.score(ask({ k: 1 }));
  const long = a.score(ask({ k: 4 }, { idempotencyKey: 'long' }));
  await cluster.clock.advance(100);
  const drained = a.drain(2_000);
  const refused = await cluster.clock.until(a.score(ask({ k: 1 })), 10);
  expect(refused).toMatchObject({ kind: 'fault', fault: { kind: 'draining' } });
  expect((await cluster.verdict(quick)).kind).toBe('valid');
  expect(await cluster.clock.until(long, 3_000)).toMatchObject({ kind: 'fault', fault: { kind: 'draining' } });
  await cluster.clock.until(drained, 10);
  expect(a.service.load().requestsInFlight).toBe(0);
  await cluster.clock.advance(20_000);
  const stored = await cluster.clock.until(b.service.stored('long', 'default'), 10);
  expect(stored?.verdict).toMatchObject({ kind: 'valid', kValid: 4 });
  // What was in the engine at that moment may be drawn again, but nothing that was finished.
  expect(engine.drawn.filter(({ index }) => index === 0)).toHaveLength(2);
});

test('what NATS kept from its own coordinator is resumed there when NATS is back (P1)', async () => {
  const cluster = await virtualCluster();
  const a = cluster.coordinator('a');
  await cluster.worker('w', { engine: slow(cluster, () => 2_000) });
  const outcome = a.score(ask({ k: 4, meta: true }, { idempotencyKey: 'mine' }));
  await cluster.metaWorker('m');
  await cluster.clock.advance(1_000);
  cluster.nats.away(true);
  expect(await cluster.clock.until(outcome, 300_000)).toMatchObject({ fault: { kind: 'queue_unavailable' } });
  cluster.nats.away(false);
  await cluster.clock.advance(60_000);
  const stored = await cluster.clock.until(a.service.stored('mine', 'default'), 10);
  expect(stored?.verdict).toMatchObject({ kind: 'valid', kValid: 4 });
});

test('T1: while membership is unknown nothing is taken over', async () => {
  const cluster = await virtualCluster();
  const a = cluster.coordinator('a');
  const b = cluster.coordinator('b');
  void a.score(ask({ k: 4 }));
  await cluster.clock.advance(100);
  cluster.membershipKnown = false;
  a.kill();
  await cluster.clock.advance(60_000);
  expect(cluster.told('request.taken_over')).toEqual([]);
  cluster.membershipKnown = true;
  await cluster.clock.advance(15_000);
  expect(cluster.told('request.taken_over', b.id)).toHaveLength(1);
});

/** A take-over alone, with a ledger whose list the test holds open. */
function alone(records: readonly RequestRecord[]) {
  const clock = virtualClock();
  let listings = 0;
  let open: () => void = () => undefined;
  const resumed: string[] = [];
  const running = new Set<string>();
  const context = {
    settings: { nodeId: 'me', takeoverEveryMs: 1_000 },
    clock,
    events: new Events(),
    members: { alive: () => false, coordinators: () => ['me'] },
    ledger: {
      async *unfinished(skip: (id: string) => boolean) {
        listings++;
        await new Promise<void>((resolve) => (open = resolve));
        for (const record of records) if (!skip(record.requestId)) yield await Promise.resolve(record);
      },
    },
  } as unknown as CoordinatorContext;
  const takeovers = takeover(context, {
    running: (id) => running.has(id),
    resume: (record) => void resumed.push(record.requestId),
  });
  return { clock, takeovers, resumed, running, listings: () => listings, open: () => open() };
}

test('T2: one look at a time; one that is asked for during another follows it, once', async () => {
  const { clock, takeovers, resumed, listings, open } = alone([aRecord('r1')]);
  takeovers.look();
  takeovers.look();
  takeovers.look();
  await clock.settle();
  expect(listings()).toBe(1);
  open();
  await clock.advance(1);
  expect(listings()).toBe(2);
  open();
  await clock.advance(900);
  expect(listings()).toBe(2);
  expect(resumed).toEqual(['r1', 'r1']);
  await clock.advance(200);
  expect(listings()).toBe(3);
  takeovers.close();
  open();
  await clock.advance(10_000);
  expect(listings()).toBe(3);
  expect(clock.waiting()).toBe(0);
});

test('what runs here is not even read', async () => {
  const { clock, takeovers, resumed, running, open } = alone([aRecord('here'), aRecord('left')]);
  running.add('here');
  takeovers.look();
  await clock.settle();
  open();
  await clock.settle();
  expect(resumed).toEqual(['left']);
});

const ids = fc.uniqueArray(fc.stringMatching(/^[a-z0-9-]{1,12}$/), { minLength: 1, maxLength: 8 });

test('chosen: exactly one member of those who vote, whatever order they are listed in', () => {
  fc.assert(
    fc.property(fc.string({ minLength: 1 }), ids, fc.integer(), (requestId, members, turn) => {
      const one = chosen(requestId, members);
      expect(members).toContain(one);
      const turned = members.map((_, i) => members[(i + (Math.abs(turn) % members.length)) % members.length]!);
      expect(chosen(requestId, turned)).toBe(one);
      expect(chosen(requestId, [...members].reverse())).toBe(one);
    }),
  );
  expect(chosen('r', [])).toBeUndefined();
});

test('chosen: a member that leaves moves only its own requests', () => {
  fc.assert(
    fc.property(fc.array(fc.string({ minLength: 1 }), { maxLength: 20 }), ids, (requests, members) => {
      const [gone, ...left] = members;
      for (const request of requests) {
        const before = chosen(request, members);
        if (before !== gone) expect(chosen(request, left)).toBe(before);
      }
    }),
  );
});

test('chosen: requests are shared evenly', () => {
  const members = ['coordinator-1', 'coordinator-2', 'coordinator-3', 'coordinator-4'];
  const counts = new Map(members.map((id) => [id, 0]));
  for (let i = 0; i < 4_000; i++) {
    const id = chosen(`r${i}`, members)!;
    counts.set(id, counts.get(id)! + 1);
  }
  // Binomial(4000, 1/4): five standard deviations are 137.
  for (const count of counts.values()) expect(Math.abs(count - 1_000)).toBeLessThan(137);
});
