import { expect, test } from 'vitest';
import type { EarlyVote, Run } from '../../../src/coordinator/run.js';
import type { CoordinatorContext } from '../../../src/coordinator/context.js';
import { finishedElsewhere } from '../../../src/coordinator/elsewhere.js';
import { Events } from '../../../src/observe/events.js';
import { lanesOf } from '../../../src/work/lane.js';
import { memoryNats } from '../../support/memory-queue.js';
import { virtualClock } from '../../support/virtual-clock.js';
import { aRecord, aSample, aVerdict, somePlan } from '../../support/work-values.js';
import { putSample } from '../../support/lanes.js';

function setting(requestsMax?: number) {
  const clock = virtualClock();
  const nats = memoryNats({ clock, ...(requestsMax !== undefined && { requestsMax }) });
  const queue = nats.open('me');
  let ownerAlive: boolean | 'unknown' = true;
  const events = new Events();
  const known: string[] = [];
  events.on('request.known', ({ how }) => void known.push(how));
  const context = {
    settings: { nodeId: 'me' },
    ledger: queue.ledger,
    clock,
    events,
    members: { alive: () => ownerAlive, coordinators: () => ['me'], want: () => undefined },
  } as unknown as CoordinatorContext;
  const stop = new AbortController();
  const seen: number[] = [];
  const votes: EarlyVote[] = [];
  const run: Run = {
    serial: 1,
    signal: stop.signal,
    onSample: ({ index }) => void seen.push(index),
    onTick: () => () => undefined,
    endsAtMs: () => Infinity,
    votesEarly: (vote) => {
      if (vote) votes.push(vote);
    },
  };
  const draft = aRecord('r1', { owner: 'me', plan: { ...somePlan, timeBudgetMs: 30_000, quorum: 2 } });
  return {
    clock,
    nats,
    queue,
    known,
    seen,
    stop,
    draft,
    early: () => votes.at(-1)!,
    alive: (alive: boolean | 'unknown') => void (ownerAlive = alive),
    wait: () => finishedElsewhere(draft, run, context),
  };
}

test('a stored verdict is answered at once', async () => {
  const { clock, queue, known, wait } = setting();
  await queue.ledger.accept(aRecord('r1', { owner: 'other' }));
  await queue.ledger.putVerdict(aVerdict('r1'));
  expect(await clock.until(wait(), 0)).toEqual({ kind: 'verdict', verdict: { ...aVerdict('r1'), stored: true } });
  expect(known).toEqual(['stored']);
});

test('a living owner is waited for: its samples are passed on, its verdict wakes us, nothing stays subscribed', async () => {
  const { clock, nats, queue, known, seen, wait } = setting();
  await queue.ledger.accept(aRecord('r1', { owner: 'other' }));
  const waiting = wait();
  await clock.advance(400);
  await putSample(queue.ledger, 'r1', aSample(3));
  await clock.advance(100);
  await queue.ledger.putVerdict(aVerdict('r1'));
  expect(await clock.until(waiting, 0)).toMatchObject({ kind: 'verdict' });
  expect(seen).toEqual([3]);
  expect(known).toEqual(['elsewhere']);
  expect(nats.followers()).toBe(0);
  expect(clock.waiting()).toBe(0);
});

test('a notice that comes during a look ends the wait, not the next look', async () => {
  const clock = virtualClock();
  // Answers take 5 ms, notices none: the verdict's notice comes while its absence is on the way.
  const nats = memoryNats({
    clock,
    weather: { call: (client) => (client === 'me' ? { kind: 'ok', backMs: 5 } : { kind: 'ok' }) },
  });
  const queue = nats.open('me');
  const other = nats.open('other');
  await other.ledger.accept(aRecord('r1', { owner: 'other' }));
  const context = {
    settings: { nodeId: 'me' },
    ledger: queue.ledger,
    clock,
    events: new Events(),
    members: { alive: () => true, coordinators: () => ['me'], want: () => undefined },
  } as unknown as CoordinatorContext;
  const run: Run = {
    serial: 1,
    signal: new AbortController().signal,
    onSample: () => undefined,
    onTick: () => () => undefined,
    endsAtMs: () => Infinity,
  };
  const start = clock.now();
  const waiting = finishedElsewhere(aRecord('r1', { owner: 'me' }), run, context);
  await clock.advance(12); // follow 0-5, record 5-10, verdict 10-15
  await other.ledger.putVerdict(aVerdict('r1'));
  expect(await clock.until(waiting, 1_000)).toMatchObject({ kind: 'verdict' });
  expect(clock.now() - start).toBeLessThan(50);
});

test('other content under the same id is a reused key', async () => {
  const { clock, queue, wait } = setting();
  await queue.ledger.accept(aRecord('r1', { owner: 'other', digest: 'e'.repeat(64) }));
  expect(await clock.until(wait(), 0)).toMatchObject({ kind: 'fault', fault: { kind: 'key_reused' } });
});

test('a dead owner leaves it to us: as it was accepted, with our own patience', async () => {
  const { clock, queue, alive, wait } = setting();
  await queue.ledger.accept(aRecord('r1', { owner: 'other' }));
  const waiting = wait();
  await clock.advance(2_500);
  alive('unknown');
  await clock.advance(5_000);
  alive(false);
  const found = await clock.until(waiting, 1_000);
  expect(found).toMatchObject({
    kind: 'ours_to_finish',
    record: { owner: 'other', plan: { k: 8, timeBudgetMs: 30_000, quorum: 2 } },
  });
});

test('our own record that does not run is ours to finish', async () => {
  const { clock, queue, wait } = setting();
  await queue.ledger.accept(aRecord('r1', { owner: 'me' }));
  expect(await clock.until(wait(), 0)).toMatchObject({ kind: 'ours_to_finish' });
});

test('a record that vanishes was cancelled a moment ago: ours is accepted in its place', async () => {
  const { clock, queue, draft, wait } = setting();
  await queue.ledger.accept(aRecord('r1', { owner: 'other' }));
  const waiting = wait();
  await clock.advance(100);
  await queue.ledger.forget('r1');
  expect(await clock.until(waiting, 1_000)).toEqual({ kind: 'ours_to_finish', record: draft });
  expect(await queue.ledger.record('r1')).toEqual(draft);
});

test('P4: a full ledger sheds', async () => {
  const { clock, queue, wait } = setting(1);
  await queue.ledger.accept(aRecord('another'));
  expect(await clock.until(wait(), 0)).toMatchObject({ kind: 'fault', fault: { kind: 'overloaded' } });
});

test('a time budget that ends is answered with what the ledger holds, which stays with its owner', async () => {
  for (const [samples, verdict] of [
    [[], { kind: 'invalid', reason: 'quorum_not_met', kValid: 0, missing: { unfinished: 8 } }],
    [[3], { kind: 'invalid', reason: 'quorum_not_met', kValid: 1, missing: { unfinished: 7 } }],
    [[3, 5], { kind: 'valid', kValid: 2, degraded: ['time_budget'], missing: { unfinished: 6 } }],
    [[0, 1, 2, 3, 4, 5, 6, 7], undefined],
  ] as const) {
    const { clock, queue, wait, early } = setting();
    const record = aRecord('r1', { owner: 'other', plan: { ...somePlan, vote: 'sum', meta: false } });
    await queue.ledger.accept(record);
    const waiting = wait();
    await clock.advance(400);
    for (const [lane, indexes] of lanesOf(record, samples)) {
      for (const index of indexes) await putSample(queue.ledger, 'r1', aSample(index), lane);
    }
    const told = await clock.until(early()(2), 1_000);
    if (verdict) expect(told).toMatchObject(verdict);
    else expect(told).toBeUndefined();
    expect(await queue.ledger.verdict('r1')).toBeUndefined();
    expect(await queue.ledger.record('r1')).toMatchObject({ owner: 'other' });
    await clock.until(waiting, 60_000);
  }
});

test('the wait ends soon after the time budget, and with the run', async () => {
  const { clock, queue, wait } = setting();
  await queue.ledger.accept(aRecord('r1', { owner: 'other' }));
  expect(await clock.until(wait(), 31_000)).toMatchObject({ kind: 'fault', fault: { kind: 'deadline_exceeded' } });
  for (const [why, kind] of [
    ['cancelled', 'cancelled'],
    ['abandoned', 'draining'],
  ] as const) {
    const again = setting();
    await again.queue.ledger.accept(aRecord('r1', { owner: 'other' }));
    const waiting = again.wait();
    await again.clock.advance(100);
    again.stop.abort(why);
    expect(await again.clock.until(waiting, 0)).toMatchObject({ kind: 'fault', fault: { kind } });
    expect(again.nats.followers()).toBe(0);
  }
});
