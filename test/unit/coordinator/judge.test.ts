// What judges is part of what a request is: with the real coordinator and workers on a virtual clock, while the test changes the judge.

import { expect, test } from 'vitest';
import type { ScoreOutcome } from '../../../src/coordinator/coordinator.js';
import { aVerdict } from '../../support/work-values.js';
import { scriptedEngine, scriptedJudge, scriptedMetaEngine, scriptedMetaJudge } from '../../support/scripted-engine.js';
import { ask, requestIdOf, virtualCluster, type VirtualCluster } from '../../support/virtual-cluster.js';
import { scriptedJudges } from '../../support/virtual-members.js';

const other = { id: 'other-grm', model: 'other-judge' };
const otherJudges = { models: [other], meta: [scriptedMetaJudge] };
const otherMeta = { models: [scriptedJudge], meta: [{ id: 'other-meta', model: 'other-meta' }] };
const unknown = { models: [], meta: [] };
const sums = { k: 4, vote: 'sum' } as const;

const verdictOf = (outcome: ScoreOutcome) => {
  if (outcome.kind === 'fault') throw new Error(outcome.fault.message);
  return outcome.verdict;
};
const ended = (cluster: VirtualCluster, outcome: Promise<ScoreOutcome>) => cluster.clock.until(outcome, 60_000);
const changed = { kind: 'fault', fault: { kind: 'judge_changed' } };

async function stage() {
  const cluster = await virtualCluster();
  return { cluster, a: cluster.coordinator('a'), b: cluster.coordinator('b'), worker: await cluster.worker('w') };
}

test('without a key: the same judge gets the stored verdict and is told so; another one draws anew, under another id', async () => {
  const { cluster, a, b, worker } = await stage();
  const input = ask(sums);
  const first = verdictOf(await ended(cluster, a.score(input)));
  expect(first).toMatchObject({ degraded: [], judge: { models: [scriptedJudge], template: 'default' } });
  expect(first.stored).toBeUndefined();
  for (const each of [a, b]) {
    const again = verdictOf(await ended(cluster, each.score(input)));
    expect(again).toEqual({ ...first, stored: true });
  }
  expect(worker.engine.drawn).toHaveLength(4);
  cluster.judges = otherJudges;
  const anew = verdictOf(await ended(cluster, a.score(input)));
  expect(anew.requestId).not.toBe(first.requestId);
  expect(anew.stored).toBeUndefined();
  expect(worker.engine.drawn).toHaveLength(8);
});

test('the meta RM is part of the judge only of what it ranks', async () => {
  const { cluster, a } = await stage();
  await cluster.metaWorker('m');
  const ranked = ask({ k: 4, vote: 'meta_topk' });
  const plain = ask(sums);
  const before = [ranked, plain].map((input) => ended(cluster, a.score(input)));
  const [withMeta, without] = (await Promise.all(before)).map(verdictOf);
  expect(withMeta!.judge?.meta).toEqual([scriptedMetaJudge]);
  expect(without!.judge?.meta).toBeUndefined();
  cluster.judges = otherMeta;
  expect(verdictOf(await ended(cluster, a.score(ranked))).stored).toBeUndefined();
  expect(verdictOf(await ended(cluster, a.score(plain))).stored).toBe(true);
});

test("where the vote is the server's choice, a verdict that a meta RM made does not come back without one", async () => {
  const { cluster, a, worker } = await stage();
  const meta = await cluster.metaWorker('m');
  const input = ask({ k: 4 });
  expect(verdictOf(await ended(cluster, a.score(input)))).toMatchObject({ vote: 'meta_topk' });
  await cluster.clock.until(meta.drain(1_000), 5_000);
  const now = verdictOf(await ended(cluster, a.score(input)));
  expect(now).toMatchObject({ vote: 'sum', degraded: [] });
  expect(now.stored).toBeUndefined();
  expect(worker.engine.drawn).toHaveLength(8);
});

test('K3: a meta RM that is away is no change of judge for who pinned the judge that it belongs to; its absence is told', async () => {
  const { cluster, a } = await stage();
  const meta = await cluster.metaWorker('m');
  const { judge } = verdictOf(await ended(cluster, a.score(ask({ k: 4 }))));
  await cluster.clock.until(meta.drain(1_000), 5_000);
  await cluster.clock.advance(120_000);
  const pinned = { ...ask({ k: 4 }), expectedJudge: judge!.id };
  const verdict = verdictOf(await ended(cluster, a.score(pinned)));
  expect(verdict).toMatchObject({ vote: 'sum', degraded: ['meta_unavailable'], kValid: 4 });
  expect(verdict.judge?.id).toBe(judge!.id);
  // A pool whose meta RM is another one is another judge.
  cluster.judges = otherMeta;
  await cluster.metaWorker('n');
  expect(await ended(cluster, a.score({ ...ask({ k: 4 }), expectedJudge: judge!.id }))).toMatchObject(changed);
});

test('fresh: drawn anew though a verdict is stored, once for each word; a retry with the word joins, with and without a key', async () => {
  for (const key of [{}, { idempotencyKey: 'step-1' }]) {
    const { cluster, a, b, worker } = await stage();
    const input = ask(sums, key);
    const first = verdictOf(await ended(cluster, a.score(input)));
    const fresh = { ...input, fresh: 'run-1' };
    const both = [a.score(fresh), a.score(fresh)].map((outcome) => ended(cluster, outcome));
    const [one, two] = (await Promise.all(both)).map(verdictOf);
    expect(one!.requestId).not.toBe(first.requestId);
    expect(one!.stored).toBeUndefined();
    expect(two).toEqual(one);
    expect(worker.engine.drawn).toHaveLength(8);
    expect(verdictOf(await ended(cluster, b.score(fresh)))).toEqual({ ...one!, stored: true });
    expect(verdictOf(await ended(cluster, b.score({ ...input, fresh: 'run-2' }))).requestId).not.toBe(one!.requestId);
    expect(verdictOf(await ended(cluster, b.score(input)))).toEqual({ ...first, stored: true });
    expect(worker.engine.drawn).toHaveLength(12);
  }
});

test('K2: a key whose verdict is of another judge is refused, in words for both, unless the caller allows it: then it is told as stored, and whose', async () => {
  const { cluster, a, b, worker } = await stage();
  const input = ask(sums, { idempotencyKey: 'step-1' });
  const first = verdictOf(await ended(cluster, a.score(input)));
  cluster.judges = otherJudges;
  for (const each of [a, b]) {
    const refused = await ended(cluster, each.score(input));
    expect(refused).toMatchObject(changed);
    const words = refused.kind === 'fault' ? refused.fault.message : '';
    for (const word of ['scripted-judge', 'other-judge', 'allow_judge_change']) expect(words).toContain(word);
  }
  const allowed = verdictOf(await ended(cluster, b.score({ ...input, allowJudgeChange: true })));
  expect(allowed).toEqual({ ...first, stored: true });
  expect(worker.engine.drawn).toHaveLength(4);
  // Whoever asks for that very judge has said it as well.
  expect(verdictOf(await ended(cluster, b.score({ ...input, expectedJudge: first.judge!.id })))).toEqual(allowed);
  // The key's meta RM, which it has none of, changes nothing.
  cluster.judges = otherMeta;
  expect(verdictOf(await ended(cluster, a.score(input))).stored).toBe(true);
});

test('K2: a key that runs under another judge is not joined, unless the caller allows it', async () => {
  const cluster = await virtualCluster();
  const a = cluster.coordinator('a');
  const input = ask(sums, { idempotencyKey: 'step-1' });
  const first = a.score(input);
  await cluster.clock.settle();
  cluster.judges = otherJudges;
  expect(await ended(cluster, a.score(input))).toMatchObject(changed);
  const joined = a.score({ ...input, allowJudgeChange: true });
  cluster.judges = unknown;
  const blind = a.score(input);
  cluster.judges = otherJudges;
  await cluster.worker('w', { engine: (clock) => scriptedEngine({ clock, judge: other.id, model: other.model }) });
  // What was accepted under one judge and drawn by another says so, and by whom.
  const verdict = verdictOf(await ended(cluster, first));
  expect(verdict).toMatchObject({ degraded: ['judge_changed'], judge: { models: [other] }, models: [other.model] });
  expect(verdictOf(await ended(cluster, joined))).toEqual(verdict);
  expect(verdictOf(await ended(cluster, blind))).toEqual(verdict);
  // By now it is what the judge says.
  expect(verdictOf(await ended(cluster, a.score(input)))).toEqual({ ...verdict, stored: true });
});

test('a meta RM that was changed under way is told too', async () => {
  const { cluster, a } = await stage();
  const input = ask({ k: 4, vote: 'meta_topk' });
  const outcome = a.score(input);
  await cluster.clock.settle();
  const engine = (clock: Parameters<typeof scriptedMetaEngine>[0]['clock']) => ({
    ...scriptedMetaEngine({ clock }),
    judgeId: 'other-meta',
    model: 'other-meta',
  });
  await cluster.metaWorker('m', { engine });
  expect(verdictOf(await ended(cluster, outcome))).toMatchObject({
    degraded: ['judge_changed'],
    judge: { models: [scriptedJudge], meta: [{ id: 'other-meta', model: 'other-meta' }] },
  });
});

test('K1: who names a judge is answered by it, or refused with both names', async () => {
  const { cluster, a, worker } = await stage();
  const { judge } = verdictOf(await ended(cluster, a.score(ask(sums))));
  const pinned = ask(sums, { expectedJudge: judge!.id });
  expect(verdictOf(await ended(cluster, a.score(pinned))).judge).toEqual(judge);
  cluster.judges = otherJudges;
  const drawn = worker.engine.drawn.length;
  const refused = await ended(cluster, a.score(ask(sums, { expectedJudge: judge!.id })));
  expect(refused).toMatchObject(changed);
  const words = refused.kind === 'fault' ? refused.fault.message : '';
  for (const word of ['scripted-judge', 'other-judge']) expect(words).toContain(word);
  expect(worker.engine.drawn).toHaveLength(drawn);
  expect(cluster.nats.tasks()).toBe(0);
  // A judge that this coordinator has never met is named by its id.
  expect(await ended(cluster, a.score(ask(sums, { expectedJudge: '0123456789abcdef' })))).toMatchObject({
    fault: { message: expect.stringContaining('[0123456789abcdef]') as string },
  });
  const allowed = ask(sums, { expectedJudge: judge!.id, allowJudgeChange: true });
  expect((await ended(cluster, a.score(allowed))).kind).toBe('verdict');
});

test('K1 (P1): what was accepted under the named judge is still answered when it is asked for again after the change', async () => {
  const { cluster, a, b, worker } = await stage();
  const first = verdictOf(await ended(cluster, a.score(ask(sums))));
  const expectedJudge = first.judge!.id;
  const done = ask(sums, { expectedJudge });
  const doneVerdict = verdictOf(await ended(cluster, a.score(done)));
  const open = ask({ ...sums, k: 8 }, { expectedJudge });
  const running = a.score(open);
  await cluster.clock.settle();
  cluster.judges = otherJudges;
  // Joined where it runs, waited for elsewhere, taken from the store where it is done.
  const joined = a.score(open);
  const elsewhere = b.score(open);
  const verdict = verdictOf(await ended(cluster, running));
  expect(verdict.judge?.id).toBe(expectedJudge);
  expect(verdictOf(await ended(cluster, joined))).toEqual(verdict);
  expect(verdictOf(await ended(cluster, elsewhere)).requestId).toBe(verdict.requestId);
  expect(verdictOf(await ended(cluster, b.score(done)))).toEqual({ ...doneVerdict, stored: true });
  expect(worker.engine.drawn).toHaveLength(16);
});

test('K1: what was drawn by another judge after all is not given to who named one', async () => {
  const cluster = await virtualCluster();
  const a = cluster.coordinator('a');
  const unpinned = ask(sums);
  const id = requestIdOf(unpinned);
  const plain = a.score(unpinned);
  await cluster.clock.settle();
  const record = await cluster.clock.until(a.queue.ledger.record(id), 1_000);
  const pinned = a.score({ ...unpinned, expectedJudge: record!.judge!.id });
  await cluster.worker('w', { engine: (clock) => scriptedEngine({ clock, judge: other.id, model: other.model }) });
  expect(verdictOf(await ended(cluster, plain)).degraded).toEqual(['judge_changed']);
  expect(await ended(cluster, pinned)).toMatchObject(changed);
});

test('a pool that has never told what judges in it takes requests all the same; no known judge gets their verdicts without a word', async () => {
  const { cluster, a, worker } = await stage();
  cluster.judges = unknown;
  const input = ask(sums);
  const keyed = ask(sums, { idempotencyKey: 'early' });
  const early = verdictOf(await ended(cluster, a.score(input)));
  const earlyKeyed = verdictOf(await ended(cluster, a.score(keyed)));
  // Who really judged has told by then.
  expect(early).toMatchObject({ degraded: [], judge: { models: [scriptedJudge] } });
  cluster.judges = scriptedJudges;
  const now = verdictOf(await ended(cluster, a.score(input)));
  expect(now.requestId).not.toBe(early.requestId);
  expect(now.judge).toEqual(early.judge);
  expect(worker.engine.drawn).toHaveLength(12);
  expect(verdictOf(await ended(cluster, a.score(keyed)))).toEqual({ ...earlyKeyed, stored: true });
  cluster.judges = otherJudges;
  expect(await ended(cluster, a.score(keyed))).toMatchObject(changed);
});

test('verdicts of versions that told no judge: not for a request without a key, and for a key only where that is allowed', async () => {
  const { cluster, a } = await stage();
  const { judge: _, ...old } = aVerdict(requestIdOf(ask(sums, { idempotencyKey: 'old' })));
  const input = ask(sums, { idempotencyKey: 'old' });
  // As such a version left it: a record without a judge, and its verdict.
  const first = a.score(input);
  await ended(cluster, first);
  const { ledger } = a.queue;
  const { requestId } = verdictOf(await first);
  await cluster.clock.until(ledger.reopen(requestId, new Map()), 1_000);
  await cluster.clock.until(ledger.putVerdict({ ...old, requestId }), 1_000);
  const refused = await ended(cluster, a.score(input));
  expect(refused).toMatchObject(changed);
  expect(refused.kind === 'fault' && refused.fault.message).toContain('an unknown judge');
  const allowed = verdictOf(await ended(cluster, a.score({ ...input, allowJudgeChange: true })));
  expect(allowed).toMatchObject({ stored: true, requestId });
  expect(allowed.judge).toBeUndefined();
});

test('several judges in one pool are one judge of several; a verdict tells all that drew', async () => {
  const cluster = await virtualCluster();
  cluster.judges = { models: [scriptedJudge, other], meta: [] };
  const a = cluster.coordinator('a');
  await cluster.worker('w1', { slots: 4 });
  await cluster.worker('w2', {
    slots: 4,
    engine: (clock) => scriptedEngine({ clock, judge: other.id, model: other.model }),
  });
  const verdict = verdictOf(await ended(cluster, a.score(ask({ k: 8, vote: 'sum' }))));
  expect(verdict).toMatchObject({ degraded: [], judge: { models: [scriptedJudge, other] } });
  expect(new Set(verdict.models)).toEqual(new Set([scriptedJudge.model, other.model]));
});

test('an operator is told the judge of a request without asking one', async () => {
  const { cluster, a } = await stage();
  const now = a.service.judge(sums);
  expect(now).toMatchObject({ kind: 'judge', judge: { models: [scriptedJudge] } });
  expect(now.kind === 'judge' && now.judge).toEqual(verdictOf(await ended(cluster, a.score(ask(sums)))).judge);
  expect(a.service.judge({ template: 'none' })).toMatchObject({
    kind: 'fault',
    fault: { kind: 'invalid_request', violations: [{ field: 'options.template' }] },
  });
});
