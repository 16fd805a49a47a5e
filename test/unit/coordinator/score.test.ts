// Whole requests: the real coordinator and workers on the queue model, under a virtual clock.

import { expect, test } from 'vitest';
import type { ScoreInput } from '../../../src/coordinator/coordinator.js';
import type { Verdict } from '../../../src/grm/verdict.js';
import { limits } from '../../../src/limits.js';
import { encodeVerdict } from '../../../src/queue/codec.js';
import { scriptedEngine, seededScores } from '../../support/scripted-engine.js';
import { ask, requestIdOf, virtualCluster, type VirtualCluster } from '../../support/virtual-cluster.js';

/** Nothing of any request is left in a queue, a subscription or an account (S2, C2). */
function expectQuiet(cluster: VirtualCluster, ...coordinators: ReturnType<VirtualCluster['coordinator']>[]): void {
  expect(cluster.nats.tasks()).toBe(0);
  expect(cluster.nats.followers()).toBe(0);
  for (const { service } of coordinators) {
    expect(service.load()).toEqual({ requestsInFlight: 0, samplesInFlight: 0, bytesInFlight: 0, waiting: 0 });
  }
}

function valid(verdict: Verdict): Extract<Verdict, { kind: 'valid' }> {
  if (verdict.kind !== 'valid') throw new Error(`an invalid verdict: ${verdict.reason}`);
  return verdict;
}

test('eight samples without a meta RM: all drawn once, summed, stored (P2)', async () => {
  const cluster = await virtualCluster();
  const a = cluster.coordinator('a');
  const worker = await cluster.worker('w');
  const seen: number[] = [];
  const input = ask({ k: 8 });
  const verdict = valid(
    await cluster.verdict(a.score(input, { onSample: ({ sample }) => void seen.push(sample.index) })),
  );
  expect(verdict).toMatchObject({ vote: 'sum', k: 8, kValid: 8, kKept: 8, degraded: [], responses: 2 });
  expect(seen.toSorted()).toEqual([0, 1, 2, 3, 4, 5, 6, 7]);
  expect(worker.engine.drawn).toHaveLength(8);
  // What the engine said is what is counted, mapped back from the order shown.
  const sums = [0, 0];
  for (const { sample } of verdict.samples) {
    if (sample.kind !== 'scored') throw new Error('every sample is valid');
    const spec = worker.engine.drawn.find(({ index }) => index === sample.index)!;
    const job = worker.engine.jobs.find(({ samples }) => samples.some(({ seed }) => seed === sample.seed))!;
    expect(spec.seed).toBe(sample.seed);
    seededScores(spec, job, 2).forEach((score, place) => (sums[sample.permutation[place]!]! += score));
  }
  expect(verdict.rewards.map(({ vote }) => vote)).toEqual(sums);
  expect(cluster.told('request.finished')).toMatchObject([{ outcome: 'valid' }]);
  expect(cluster.told('trouble')).toEqual([]);
  expectQuiet(cluster, a);
});

test('eight samples with a meta RM: the four best judged ones vote', async () => {
  const cluster = await virtualCluster();
  const a = cluster.coordinator('a');
  await cluster.worker('w');
  const meta = await cluster.metaWorker('m');
  const verdict = valid(await cluster.verdict(a.score(ask({ k: 8 }))));
  expect(verdict).toMatchObject({ vote: 'meta_topk', kValid: 8, kKept: 4, degraded: [], metaModel: 'scripted-meta' });
  expect(meta.engine.ranked).toHaveLength(8);
  const rewards = verdict.samples.map(({ metaReward }) => metaReward!);
  const bar = rewards.toSorted((x, y) => y - x)[3]!;
  for (const { metaReward, kept } of verdict.samples) expect(kept).toBe(metaReward! >= bar ? 'kept' : 'meta_rank');
  expectQuiet(cluster, a);
});

test('P3: one worker or four, whatever the order of arrival: the same verdict', async () => {
  const input = ask({ k: 16, meta: true, seed: 5 });
  const run = async (workers: number, lateness: (index: number) => number): Promise<unknown> => {
    const cluster = await virtualCluster();
    const a = cluster.coordinator('a');
    for (let i = 0; i < workers; i++) {
      const engine = scriptedEngine({
        clock: cluster.clock,
        answer: (spec, job, n) => ({
          kind: 'scores',
          shown: seededScores(spec, job, n),
          afterMs: lateness(spec.index),
        }),
      });
      await cluster.worker(`w${i}`, { engine, slots: 4 });
    }
    await cluster.metaWorker('m');
    const { durationMs: _, finishedAtMs: __, samples, ...rest } = valid(await cluster.verdict(a.score(input)));
    const timeless = samples.map(({ sample, ...judged }) => {
      const { worker: _worker, queueMs: _queue, engineMs: _engine, ...drawn } = sample;
      return { ...judged, sample: drawn };
    });
    return { ...rest, samples: timeless };
  };
  const alone = await run(1, () => 10);
  expect(await run(4, () => 10)).toEqual(alone);
  expect(await run(4, (index) => 10 + ((index * 37) % 90))).toEqual(alone);
  expect(await run(2, (index) => 200 - index * 10)).toEqual(alone);
});

test('P2: duplicates of every notice and every ack lost change no verdict and draw nothing twice', async () => {
  const cluster = await virtualCluster({
    weather: { notice: () => [0, 0, 2], settle: (_, how) => (how === 'ack' ? undefined : 0) },
    ackWaitMs: 1_000,
  });
  const a = cluster.coordinator('a');
  const worker = await cluster.worker('w');
  const meta = await cluster.metaWorker('m');
  const verdict = valid(await cluster.verdict(a.score(ask({ k: 8 }))));
  await cluster.clock.advance(5_000);
  expect(verdict).toMatchObject({ kValid: 8, kKept: 4 });
  expect(worker.engine.drawn).toHaveLength(8);
  expect(meta.engine.ranked).toHaveLength(8);
  expect(cluster.told('result.suppressed').some(({ where }) => where === 'gather')).toBe(true);
  expect(cluster.told('result.suppressed').some(({ where }) => where === 'before_engine')).toBe(true);
});

test('C1: when every notice is lost, silence reads the ledger', async () => {
  const cluster = await virtualCluster({ weather: { notice: () => [] } });
  const a = cluster.coordinator('a');
  const worker = await cluster.worker('w');
  await cluster.metaWorker('m');
  const verdict = valid(await cluster.verdict(a.score(ask({ k: 8 }))));
  expect(verdict).toMatchObject({ kValid: 8, kKept: 4, degraded: [] });
  expect(worker.engine.drawn).toHaveLength(8);
  expect(verdict.durationMs).toBeLessThan(10_000);
  expectQuiet(cluster, a);
});

test('C1: a reconnect reads the ledger at once', async () => {
  let deaf = true;
  const cluster = await virtualCluster({
    weather: { notice: () => (deaf ? [] : [0]) },
    settings: { silenceMs: 60_000 },
  });
  const a = cluster.coordinator('a');
  await cluster.worker('w');
  const outcome = a.score(ask({ k: 4, meta: false }));
  await cluster.clock.advance(1_000);
  deaf = false;
  cluster.nats.away(true);
  await cluster.clock.advance(100);
  cluster.nats.away(false);
  await cluster.clock.advance(1);
  expect(valid(await cluster.verdict(outcome, 0)).kValid).toBe(4);
});

/** An engine that never finishes the samples that `hangs` names. */
function hanging(cluster: VirtualCluster, hangs: (index: number) => boolean) {
  return scriptedEngine({
    clock: cluster.clock,
    answer: (spec, job, n) =>
      hangs(spec.index) ? { kind: 'never' } : { kind: 'scores', shown: seededScores(spec, job, n) },
  });
}

test('the time budget ends with the quorum met: a verdict of what is there, degraded and stored', async () => {
  const cluster = await virtualCluster();
  const a = cluster.coordinator('a');
  await cluster.worker('w', { engine: hanging(cluster, (index) => index >= 5) });
  const input = ask({ k: 8, quorum: 4, timeBudgetMs: 3_000 });
  const verdict = valid(await cluster.verdict(a.score(input)));
  expect(verdict).toMatchObject({ k: 8, kValid: 5, degraded: ['time_budget'], durationMs: 3_000 });
  expect(verdict.missing).toEqual({ notAsked: 0, waiting: 0, unfinished: 3 });
  const again = await cluster.verdict(a.score(input));
  expect(encodeVerdict(again)).toEqual(encodeVerdict(verdict));
  await cluster.clock.advance(1_000);
  expectQuiet(cluster, a);
});

test('S3: quorum not met is answered and not stored; a retry resumes with the samples that are there', async () => {
  const cluster = await virtualCluster();
  const a = cluster.coordinator('a');
  let stuck = true;
  const engine = hanging(cluster, (index) => stuck && index >= 2);
  await cluster.worker('w', { engine });
  const input = ask({ k: 8, quorum: 4, timeBudgetMs: 3_000 });
  const first = await cluster.verdict(a.score(input));
  expect(first).toMatchObject({ kind: 'invalid', reason: 'quorum_not_met', kValid: 2 });
  expect(first.missing).toEqual({ notAsked: 0, waiting: 0, unfinished: 6 });
  expect(await cluster.clock.until(a.service.stored(first.requestId, 'default'), 10)).toBeUndefined();
  await cluster.clock.advance(1_500);
  expectQuiet(cluster, a);

  stuck = false;
  engine.drawn.length = 0;
  const second = valid(await cluster.verdict(a.score(input)));
  expect(second).toMatchObject({ kValid: 8, degraded: [] });
  expect(engine.drawn.map(({ index }) => index).toSorted()).toEqual([2, 3, 4, 5, 6, 7]);
});

test('a verdict that time cut tells the samples that never got into the queue from those that did', async () => {
  const cluster = await virtualCluster({ windowSamples: 4 });
  const a = cluster.coordinator('a', { shardSamplesMax: 1 });
  await cluster.worker('w', { engine: hanging(cluster, (index) => index >= 2) });
  const verdict = await cluster.verdict(a.score(ask({ k: 8, quorum: 2, timeBudgetMs: 1_000 })));
  expect(verdict).toMatchObject({ kind: 'valid', kValid: 2, missing: { notAsked: 0, waiting: 2, unfinished: 4 } });
});

test('a ledger that is slow to read when time is over costs no answer: it comes before the caller’s deadline', async () => {
  let slow = false;
  const call = () => ({ kind: 'ok', toMs: slow ? 4_000 : 0 }) as const;
  const cluster = await virtualCluster({ weather: { call: (client) => (client === 'a' ? call() : { kind: 'ok' }) } });
  const a = cluster.coordinator('a');
  await cluster.worker('w', { engine: hanging(cluster, (index) => index >= 5) });
  const deadlineAtMs = cluster.clock.now() + 3_000;
  const outcome = a.score(ask({ k: 8, quorum: 6 }), { deadlineAtMs });
  await cluster.clock.advance(2_000);
  slow = true;
  cluster.clock.after(800, () => (slow = false));
  // The reserve begins at 2,750 ms; the last look that was sent then is still under way.
  const verdict = await cluster.verdict(outcome);
  expect(verdict).toMatchObject({ kind: 'invalid', reason: 'quorum_not_met', kValid: 5, missing: { unfinished: 3 } });
  expect(cluster.clock.now()).toBeLessThan(deadlineAtMs);
});

test('the last caller leaves: after the linger the request is cancelled in queue, engine and ledger (S2)', async () => {
  const cluster = await virtualCluster({ settings: { lingerMs: 2_000 } });
  const a = cluster.coordinator('a');
  const engine = hanging(cluster, (index) => index > 0);
  await cluster.worker('w', { engine });
  const gone = new AbortController();
  const outcome = a.score(ask({ k: 8 }), { signal: gone.signal });
  await cluster.clock.advance(500);
  gone.abort();
  expect(await cluster.clock.until(outcome, 10)).toMatchObject({ kind: 'fault', fault: { kind: 'cancelled' } });
  await cluster.clock.advance(1_900);
  expect(engine.running()).toBe(7);
  expect(a.service.load().requestsInFlight).toBe(1);
  await cluster.clock.advance(200);
  expect(engine.running()).toBe(0);
  expect(cluster.told('request.finished')).toMatchObject([{ outcome: 'cancelled' }]);
  expectQuiet(cluster, a);
  // Nothing of it is left to take over.
  await cluster.clock.advance(30_000);
  expect(cluster.told('request.finished')).toHaveLength(1);
});

test('I4: who asks while a cancelled run still cleans up, NATS being slow, is not told that it was cancelled: the request runs anew', async () => {
  let slow = false;
  const call = () => ({ kind: 'ok', toMs: slow ? 4_000 : 0 }) as const;
  const cluster = await virtualCluster({
    settings: { lingerMs: 100 },
    weather: { call: (client) => (client === 'a' ? call() : { kind: 'ok' }) },
  });
  const a = cluster.coordinator('a');
  let stuck = true;
  const engine = hanging(cluster, (index) => stuck && index > 0);
  await cluster.worker('w', { engine });
  const input = { ...ask({ k: 8 }), idempotencyKey: 'one' };
  const gone = new AbortController();
  const first = a.score(input, { signal: gone.signal });
  await cluster.clock.advance(500);
  slow = true;
  gone.abort();
  expect(await cluster.clock.until(first, 10)).toMatchObject({ kind: 'fault', fault: { kind: 'cancelled' } });
  await cluster.clock.advance(200);
  expect(a.service.load().requestsInFlight).toBe(1);
  stuck = false;
  const [second, third] = [a.score(input), a.score(input)];
  const hasty = a.score(input, { deadlineAtMs: cluster.clock.now() + 500 });
  const other = a.score(
    { ...input, content: { ...input.content, responses: ['another', 'one'] } },
    { deadlineAtMs: cluster.clock.now() + 500 },
  );
  await cluster.clock.advance(1_000);
  for (const each of [hasty, other])
    expect(await each).toMatchObject({ kind: 'fault', fault: { kind: 'deadline_exceeded' } });
  slow = false;
  const verdict = valid(await cluster.verdict(second));
  expect(verdict).toMatchObject({ kValid: 8, degraded: [] });
  expect(await cluster.verdict(third)).toBe(verdict);
  expect(cluster.told('request.finished')).toMatchObject([{ outcome: 'cancelled' }, { outcome: 'valid' }]);
  await cluster.clock.advance(10_000);
  expectQuiet(cluster, a);
});

test('a retry within the linger joins the run; two callers get one verdict and one set of samples (P2)', async () => {
  const cluster = await virtualCluster();
  const a = cluster.coordinator('a');
  const worker = await cluster.worker('w', {
    engine: scriptedEngine({
      clock: cluster.clock,
      answer: (spec, job, n) => ({ kind: 'scores', shown: seededScores(spec, job, n), afterMs: 1_000 + spec.index }),
    }),
  });
  const input = ask({ k: 8 });
  const gone = new AbortController();
  const first = a.score(input, { signal: gone.signal });
  await cluster.clock.advance(100);
  gone.abort();
  await cluster.clock.advance(903);
  const seen: number[] = [];
  const second = a.score(input, { onSample: ({ sample }) => void seen.push(sample.index) });
  const third = a.score(input);
  expect((await cluster.clock.until(first, 10)).kind).toBe('fault');
  const verdict = valid(await cluster.verdict(second));
  expect(await cluster.verdict(third)).toBe(verdict);
  expect(seen.toSorted()).toEqual([0, 1, 2, 3, 4, 5, 6, 7]);
  expect(worker.engine.drawn).toHaveLength(8);
  expect(cluster.told('request.known')).toMatchObject([{ how: 'joined' }, { how: 'joined' }]);
});

test('a key with other content or options is refused, while it runs and when it is done', async () => {
  const cluster = await virtualCluster();
  const a = cluster.coordinator('a');
  const b = cluster.coordinator('b');
  await cluster.worker('w');
  const keyed = (options: ScoreInput['options']): ScoreInput => ask(options, { idempotencyKey: 'step-7' });
  const input = keyed({ k: 4 });
  const running = a.score(input);
  const refused = { kind: 'fault', fault: { kind: 'key_reused' } };
  expect(await cluster.clock.until(a.score(keyed({ k: 4 })), 10)).toMatchObject(refused);
  expect(await cluster.clock.until(b.score(keyed({ k: 4 })), 10)).toMatchObject(refused);
  await cluster.verdict(running);
  expect(await cluster.clock.until(a.score({ ...input, options: { k: 5 } }), 10)).toMatchObject(refused);
  expect(await cluster.clock.until(b.score(keyed({ k: 4 })), 10)).toMatchObject(refused);
  // Another tenant's key of the same name is another request.
  expect((await cluster.verdict(a.score({ ...keyed({ k: 4 }), tenant: 'other' }))).kind).toBe('valid');
});

test('a retry of a finished request, anywhere, gets the stored verdict byte for byte and draws nothing (P2)', async () => {
  const cluster = await virtualCluster();
  const a = cluster.coordinator('a');
  const b = cluster.coordinator('b');
  const worker = await cluster.worker('w');
  await cluster.metaWorker('m');
  const input = ask({ k: 8 }, { idempotencyKey: 'k1' });
  const first = await cluster.verdict(a.score(input));
  await cluster.clock.advance(60_000);
  for (const coordinator of [a, b]) {
    const again = await cluster.verdict(coordinator.score({ ...input, options: { ...input.options, quorum: 3 } }), 10);
    expect(encodeVerdict(again)).toEqual(encodeVerdict(first));
  }
  const stored = await cluster.clock.until(b.service.stored('k1', 'default'), 10);
  expect(encodeVerdict(stored!.verdict)).toEqual(encodeVerdict(first));
  expect(stored!.content).toEqual(input.content);
  expect(worker.engine.drawn).toHaveLength(8);
});

test("P2: a cancelled request's key with other content takes none of its samples", async () => {
  const cluster = await virtualCluster({ settings: { lingerMs: 0 } });
  const a = cluster.coordinator('a');
  const engine = hanging(cluster, (index) => index >= 4);
  await cluster.worker('w', { engine });
  await cluster.metaWorker('m');
  const gone = new AbortController();
  const old = a.score(ask({ k: 8 }, { idempotencyKey: 'again' }), { signal: gone.signal });
  await cluster.clock.advance(1_000);
  gone.abort();
  expect((await cluster.clock.until(old, 10)).kind).toBe('fault');
  await cluster.clock.advance(100);

  engine.drawn.length = 0;
  const three = { messages: [{ role: 'user', content: 'Pick.' }], responses: ['x', 'y', 'z'], principles: [] } as const;
  const input = { ...ask({ k: 4 }, { idempotencyKey: 'again' }), content: three };
  const verdict = valid(await cluster.verdict(a.score(input)));
  expect(verdict.rewards).toHaveLength(3);
  expect(engine.drawn.map(({ index }) => index).toSorted()).toEqual([0, 1, 2, 3]);
  for (const { sample } of verdict.samples) {
    expect(sample.kind === 'scored' && sample.scores).toHaveLength(3);
    expect(engine.drawn.map(({ seed }) => seed)).toContain(sample.seed);
  }
});

test('overload: shed with a retry delay, and the accepted ones finish (P4)', async () => {
  const cluster = await virtualCluster({ bounds: { samplesMax: 16 } });
  const a = cluster.coordinator('a');
  await cluster.worker('w');
  const outcomes = Array.from({ length: 5 }, () => a.score(ask({ k: 8 })));
  const ended = await Promise.all(outcomes.map((outcome) => cluster.clock.until(outcome, 60_000)));
  expect(ended.map(({ kind }) => kind)).toEqual(['verdict', 'verdict', 'fault', 'fault', 'fault']);
  for (const each of ended.slice(2)) {
    if (each.kind !== 'fault') throw new Error('shed');
    expect(each.fault.kind).toBe('overloaded');
    expect(each.fault.retryAfterMs).toBeGreaterThan(0);
  }
  expect(cluster.told('admission.rejected')).toHaveLength(3);
  expectQuiet(cluster, a);
});

test('a full work queue sheds the request and leaves nothing of it behind (P4, S2)', async () => {
  const cluster = await virtualCluster({ workMessagesMax: 0, settings: { shardSamplesMax: 1 } });
  const a = cluster.coordinator('a');
  const outcome = await cluster.clock.until(a.score(ask({ k: 4 })), 1_000);
  expect(outcome).toMatchObject({ kind: 'fault', fault: { kind: 'overloaded', retryAfterMs: 1_000 } });
  await cluster.clock.advance(30_000);
  expectQuiet(cluster, a);
  expect(cluster.told('request.taken_over')).toEqual([]);
});

test('C7 (P1): a work queue that becomes full keeps an accepted request waiting; it is finished when there is room', async () => {
  const cluster = await virtualCluster({ workMessagesMax: 1, settings: { shardSamplesMax: 1 } });
  const a = cluster.coordinator('a');
  const worker = await cluster.worker('w');
  const verdict = await cluster.verdict(a.score(ask({ k: 4 })));
  expect(verdict).toMatchObject({ kind: 'valid', kValid: 4, degraded: [] });
  expect(worker.engine.drawn).toHaveLength(4);
  expectQuiet(cluster, a);
});

test('a deadline that has passed costs nothing; one that passes leaves the request to its linger', async () => {
  const cluster = await virtualCluster();
  const a = cluster.coordinator('a');
  const worker = await cluster.worker('w', { engine: hanging(cluster, () => true) });
  const late = await cluster.clock.until(a.score(ask({ k: 2 }), { deadlineAtMs: cluster.clock.now() }), 10);
  expect(late).toMatchObject({ kind: 'fault', fault: { kind: 'deadline_exceeded' } });
  expect(worker.engine.drawn).toHaveLength(0);
  // The time budget is cut to what the caller's deadline leaves, so the answer comes before the deadline, whatever its fractions.
  const start = cluster.clock.now();
  const verdict = await cluster.verdict(a.score(ask({ k: 2 }), { deadlineAtMs: start + 1_001 }), 1_001);
  expect(verdict).toMatchObject({ kind: 'invalid', reason: 'quorum_not_met' });
  expect(cluster.clock.now() - start).toBe(900);
});

test('NATS is away for a while: the request is accepted and answered when it is back', async () => {
  const cluster = await virtualCluster();
  const a = cluster.coordinator('a');
  await cluster.worker('w');
  cluster.nats.away(true);
  const outcome = a.score(ask({ k: 4 }));
  await cluster.clock.advance(10_000);
  cluster.nats.away(false);
  expect(valid(await cluster.verdict(outcome, 20_000)).kValid).toBe(4);
});

test('NATS stays away: queue_unavailable, and nothing is kept here (Q4, P4)', async () => {
  const cluster = await virtualCluster();
  const a = cluster.coordinator('a');
  cluster.nats.away(true);
  const outcome = await cluster.clock.until(a.score(ask({ k: 4 })), 120_000);
  expect(outcome).toMatchObject({ kind: 'fault', fault: { kind: 'queue_unavailable' } });
  expectQuiet(cluster, a);
});

test('an unknown template is a violation that names what there is', async () => {
  const cluster = await virtualCluster();
  const a = cluster.coordinator('a');
  const outcome = await cluster.clock.until(a.score(ask({ template: 'mine' })), 10);
  expect(outcome).toMatchObject({
    kind: 'fault',
    fault: { kind: 'invalid_request', violations: [{ field: 'options.template' }] },
  });
  expectQuiet(cluster, a);
});

test('P6: a worker drained in the middle of a shard hands it on; nothing finished is drawn again', async () => {
  const cluster = await virtualCluster();
  const a = cluster.coordinator('a');
  const answer = (late: number) =>
    scriptedEngine({
      clock: cluster.clock,
      answer: (spec, job, n) => ({
        kind: 'scores',
        shown: seededScores(spec, job, n),
        afterMs: spec.index < 4 ? 100 : late,
      }),
    });
  const first = await cluster.worker('w1', { engine: answer(60_000) });
  const outcome = a.score(ask({ k: 8 }));
  await cluster.clock.advance(1_000);
  const second = await cluster.worker('w2', { engine: answer(100) });
  await cluster.clock.until(first.drain(2_000), 2_001);
  const verdict = valid(await cluster.verdict(outcome, 1_000)); // handed on in no time, not after ackWaitMs
  expect(verdict.kValid).toBe(8);
  expect(second.engine.drawn.map(({ index }) => index).toSorted()).toEqual([4, 5, 6, 7]);
  expectQuiet(cluster, a);
});

test('P1: a worker dies in the middle of a shard; after ackWaitMs another draws what is missing', async () => {
  const cluster = await virtualCluster();
  const a = cluster.coordinator('a');
  const dying = await cluster.worker('w1', { engine: hanging(cluster, (index) => index >= 2) });
  const outcome = a.score(ask({ k: 8 }));
  await cluster.clock.advance(1_000);
  dying.kill();
  const heir = await cluster.worker('w2');
  const verdict = valid(await cluster.verdict(outcome, limits.ackWaitMs + 1_000));
  expect(verdict).toMatchObject({ kValid: 8, degraded: [] });
  expect(heir.engine.drawn.map(({ index }) => index).toSorted()).toEqual([2, 3, 4, 5, 6, 7]);
  expectQuiet(cluster, a);
});

test('cancelled and asked again within the same millisecond: its new shards are not taken for the old ones', async () => {
  const cluster = await virtualCluster();
  const a = cluster.coordinator('a');
  const input = ask({ k: 4 });
  const first = a.score(input);
  await cluster.clock.settle();
  const requestId = requestIdOf(input);
  expect(await a.service.cancel(requestId)).toBe(true);
  expect(await cluster.clock.until(first, 0)).toMatchObject({ kind: 'fault', fault: { kind: 'cancelled' } });
  expect(cluster.nats.tasks()).toBe(0);
  const second = a.score(input);
  await cluster.clock.settle();
  expect(cluster.nats.tasks(requestId)).toBeGreaterThan(0);
  await cluster.worker('w');
  expect(valid(await cluster.verdict(second, 1_000)).kValid).toBe(4);
});
