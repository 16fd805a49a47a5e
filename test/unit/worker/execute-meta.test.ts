import { readFileSync } from 'node:fs';
import { describe, expect, test } from 'vitest';
import type { RankJob, RankResult } from '../../../src/engine/engine.js';
import { parseMetaTemplate } from '../../../src/grm/prompt.js';
import { limits } from '../../../src/limits.js';
import type { MetaTask } from '../../../src/work/shard.js';
import { executeMeta } from '../../../src/worker/execute-meta.js';
import { EnginePool } from '../../../src/worker/pool.js';
import { scriptedMetaEngine, scriptedMetaJudge } from '../../support/scripted-engine.js';
import { aMetaTask, anInvalidSample, aSample, lane, someContent } from '../../support/work-values.js';
import { putSample } from '../../support/lanes.js';
import { workerSetting } from '../../support/worker-setting.js';

const parsed = parseMetaTemplate(readFileSync(new URL('../../../templates/meta-default.txt', import.meta.url), 'utf8'));
if (parsed.kind !== 'ok') throw new Error('templates/meta-default.txt does not parse');
const { template } = parsed;

async function metaWorker(rank?: (job: RankJob) => RankResult, rankMs = 5, specialTokens: readonly string[] = []) {
  const setting = workerSetting();
  const { clock } = setting;
  const engine = { ...scriptedMetaEngine({ clock, rankMs, ...(rank && { rank }) }), specialTokens };
  const pool = new EnginePool([{ name: 'm', slots: 4, current: () => engine }]);
  const puller = await setting.queue.work.pullMetaTasks('meta');
  const hurry = new AbortController();
  let epoch = 0;
  const put = (more: Partial<MetaTask> = {}) =>
    setting.coordinator.work.putMetaTasks('meta', `e${epoch++}`, [
      aMetaTask('r1', 2, { queuedAtMs: clock.now(), deadlineAtMs: clock.now() + 600_000, ...more }),
    ]);
  const begin = async (): Promise<{ done: Promise<void> }> => {
    const delivery = await setting.next((max, signal) => puller.pull(max, signal));
    return { done: executeMeta(delivery, (texts) => pool.reserve(texts), template, setting.context, hurry.signal) };
  };
  const run = async (): Promise<void> => clock.until((await begin()).done, 60_000);
  const stored = async (index = 2) => (await setting.queue.ledger.metas('r1', lane)).entries.get(index);
  return { ...setting, engine, pool, hurry, put, begin, run, stored };
}

test('ranks, stores, acks; the prompt holds what the sample said and what was judged', async () => {
  const m = await metaWorker(() => ({ kind: 'logit', metaReward: -1.25 }));
  await m.put();
  await m.run();
  expect(await m.stored()).toEqual({
    kind: 'ranked',
    requestId: 'r1',
    index: 2,
    metaReward: -1.25,
    model: scriptedMetaJudge.model,
    judge: scriptedMetaJudge.id,
    worker: 'w',
  });
  expect(m.engine.ranked[0]!.text).toContain('critique 2');
  expect(m.engine.ranked[0]!.text).toContain('9.11');
  expect(m.nats.tasks()).toBe(0);
  expect(m.pool.taken('m')).toBe(0);
});

test('P8: the prompt is inert against the control tokens of the meta engine, in what was judged and in the judgement', async () => {
  const m = await metaWorker(() => ({ kind: 'logit', metaReward: 1 }), 20, ['{{own}}']);
  const sample = { ...aSample(2), critique: 'It says {{own}}.' };
  await m.put({
    content: { ...someContent, responses: ['{{own}}', 'b'] },
    items: [{ index: 2, sample }],
  });
  await m.run();
  const [{ text, messages }] = m.engine.ranked as [RankJob];
  for (const shown of [text, messages.at(-1)!.content]) {
    expect(shown).toContain('It says {\u00b7{own}}.');
    expect(shown.split('{\u00b7{own}}')).toHaveLength(3);
    expect(shown).not.toContain('{{own}}');
  }
});

test('X1 (P2): a stored reward is told again, not computed again', async () => {
  const m = await metaWorker();
  await m.put();
  await m.run();
  const heard: number[] = [];
  await m.coordinator.ledger.follow('r1', { metas: (those) => void heard.push(...those.map(({ index }) => index)) });
  await m.put();
  await m.run();
  expect(m.engine.ranked).toHaveLength(1);
  expect(heard).toEqual([2]);
  expect(m.dropped).toMatchObject([{ why: 'answered' }]);
});

test('P7: what cannot be ranked is a failed result with the reason, never a number', async () => {
  const m = await metaWorker(() => ({ kind: 'terminal', reason: 'no logits' }));
  await m.put();
  await m.run();
  expect(await m.stored()).toMatchObject({ kind: 'failed', failure: 'no logits' });
  expect(await m.queue.dead.count()).toBe(0);
  expect(m.nats.tasks()).toBe(0);
});

test('X3 (P5): failures are tried again, then quarantined and answered', async () => {
  const m = await metaWorker(() => ({ kind: 'retryable', reason: 'status 503' }));
  await m.put();
  for (let i = 0; i < limits.deliveriesMax; i++) await m.run();
  expect(m.engine.ranked).toHaveLength(limits.deliveriesMax);
  expect(m.retried).toHaveLength(limits.deliveriesMax - 1);
  expect(await m.stored()).toMatchObject({ kind: 'failed', failure: 'status 503' });
  expect(await m.queue.dead.list(9)).toMatchObject([{ requestId: 'r1', stage: 'meta', unit: 2, samples: [2] }]);
  expect(m.nats.tasks()).toBe(0);
});

test('a task by reference reads sample and content from the ledger', async () => {
  const m = await metaWorker();
  const record = m.record('r1');
  await m.coordinator.ledger.accept({ ...record, nonce: 'n0nce', content: someContent });
  await putSample(m.coordinator.ledger, 'r1', aSample(2), lane);
  const { content: _, ...bare } = aMetaTask('r1', 2, {
    items: [{ index: 2 }],
    deadlineAtMs: m.clock.now() + 60_000,
  });
  await m.coordinator.work.putMetaTasks('meta', 'bare', [bare]);
  await m.run();
  expect(await m.stored()).toMatchObject({ kind: 'ranked' });
});

describe('X10: what the ledger does not show may stand on a replica that lags', () => {
  const byReference = (m: Awaited<ReturnType<typeof metaWorker>>, indexes: readonly number[]) => {
    const { content: _, ...bare } = aMetaTask('r1', 2, {
      items: indexes.map((index) => ({ index })),
      queuedAtMs: m.clock.now(),
      deadlineAtMs: m.clock.now() + 600_000,
    });
    return m.coordinator.work.putMetaTasks('meta', 'bare', [bare]);
  };

  test('the record comes late, then the sample: the task is looked at again and ranked, not dropped', async () => {
    const m = await metaWorker();
    await byReference(m, [2]);
    await m.run();
    await m.coordinator.ledger.accept({ ...m.record('r1'), nonce: 'n0nce', content: someContent });
    await m.run();
    await putSample(m.coordinator.ledger, 'r1', aSample(2), lane);
    await m.run();
    expect(m.dropped).toEqual([]);
    expect(m.retried.map(({ reason }) => reason)).toEqual(Array(2).fill(expect.stringContaining('not in the ledger')));
    expect(await m.stored()).toMatchObject({ kind: 'ranked' });
    expect(m.nats.tasks()).toBe(0);
  });

  test('one of two samples is late: the other is ranked meanwhile, and none is lost', async () => {
    const m = await metaWorker();
    await m.coordinator.ledger.accept({ ...m.record('r1'), nonce: 'n0nce', content: someContent });
    await putSample(m.coordinator.ledger, 'r1', aSample(2), lane);
    await byReference(m, [2, 4]);
    await m.run();
    expect([await m.stored(2), await m.stored(4)]).toMatchObject([{ kind: 'ranked' }, undefined]);
    await putSample(m.coordinator.ledger, 'r1', aSample(4), lane);
    await m.run();
    expect(await m.stored(4)).toMatchObject({ kind: 'ranked' });
    expect(m.engine.ranked).toHaveLength(2);
    expect(m.nats.tasks()).toBe(0);
  });

  test('a cancel drops it at once', async () => {
    const m = await metaWorker();
    await byReference(m, [2]);
    await m.run();
    m.cancellations.cancel('r1', aMetaTask('r1', 2).run);
    await m.run();
    expect(m.dropped).toMatchObject([{ why: 'cancelled' }]);
  });

  test('what no delivery finds was forgotten: dropped, without a result and without quarantine', async () => {
    const m = await metaWorker();
    await byReference(m, [2]);
    for (let i = 0; i < limits.deliveriesMax; i++) await m.run();
    expect(m.dropped).toMatchObject([{ why: 'cancelled' }]);
    expect([await m.stored(), await m.queue.dead.count()]).toEqual([undefined, 0]);
    expect(m.nats.tasks()).toBe(0);
  });
});

test('nobody waits for it: expired, or a sample without scores', async () => {
  const m = await metaWorker();
  await m.put({ deadlineAtMs: m.clock.now() });
  await m.run();
  await m.put({ items: [{ index: 2, sample: anInvalidSample(2) }] });
  await m.run();
  expect(m.dropped.map(({ why }) => why)).toEqual(['expired', 'cancelled']);
  expect(m.engine.ranked).toEqual([]);
  expect(m.nats.tasks()).toBe(0);
});

test('cancelled while it is ranked, and handed back by a drain (P6)', async () => {
  const cancelled = await metaWorker(undefined, 10_000);
  await cancelled.put();
  const first = await cancelled.begin();
  await cancelled.clock.advance(100);
  cancelled.cancellations.cancel('r1');
  await cancelled.clock.until(first.done, 10);
  expect(cancelled.dropped).toMatchObject([{ why: 'cancelled' }]);
  expect(cancelled.nats.tasks()).toBe(0);

  const drained = await metaWorker(undefined, 10_000);
  await drained.put();
  const second = await drained.begin();
  await drained.clock.advance(100);
  drained.hurry.abort('drain');
  await drained.clock.until(second.done, 10);
  expect(drained.retried).toMatchObject([{ reason: 'handed back by a draining worker' }]);
  expect(drained.nats.tasks()).toBe(1);
});

test('X5: a meta engine that is away costs no task; one that is closed under it is tried again', async () => {
  let answer: RankResult = { kind: 'retryable', reason: 'connection failed: ECONNREFUSED', untaken: true };
  const m = await metaWorker(() => answer);
  await m.put();
  for (let tries = 0; tries < 3 * limits.deliveriesMax; tries++) await m.run();
  answer = { kind: 'cancelled' };
  await m.run();
  answer = { kind: 'logit', metaReward: 0.5 };
  await m.run();
  expect(m.dead).toEqual([]);
  expect(m.dropped).toEqual([]);
  expect(await m.stored()).toMatchObject({ kind: 'ranked', metaReward: 0.5 });
  expect(m.nats.tasks()).toBe(0);
});

describe('several samples in one task', () => {
  const items = [0, 2, 4].map((index) => ({ index, sample: aSample(index) }));

  test('are ranked side by side, on slots of their own', async () => {
    let taken = 0;
    const m = await metaWorker(() => {
      taken = m.pool.taken('m');
      return { kind: 'logit', metaReward: 0.5 };
    });
    await m.put({ items });
    await m.run();
    expect(taken).toBe(3);
    expect(m.pool.taken('m')).toBe(0);
    expect([...(await m.queue.ledger.metas('r1', lane)).entries.keys()]).toEqual([0, 2, 4]);
    expect(m.nats.tasks()).toBe(0);
  });

  test('X1, X2 (P2): what is stored of them is told again, the rest alone is ranked', async () => {
    const m = await metaWorker();
    await m.put({ items: items.slice(1, 2) });
    await m.run();
    const heard: number[] = [];
    await m.coordinator.ledger.follow('r1', { metas: (those) => void heard.push(...those.map(({ index }) => index)) });
    await m.put({ items });
    await m.run();
    await m.clock.advance(1);
    expect(m.engine.ranked).toHaveLength(3);
    expect(heard.toSorted()).toEqual([0, 2, 4]);
  });

  test('X3 (P5, P7): one that always fails is quarantined alone; the others are kept from their first try on', async () => {
    const m = await metaWorker((job) =>
      job.text.includes('critique 2') ? { kind: 'retryable', reason: 'status 500' } : { kind: 'logit', metaReward: 1 },
    );
    await m.put({ items });
    for (let i = 0; i < limits.deliveriesMax; i++) await m.run();
    expect(m.engine.ranked).toHaveLength(2 + limits.deliveriesMax);
    expect(await m.stored(0)).toMatchObject({ kind: 'ranked' });
    expect(await m.stored(2)).toMatchObject({ kind: 'failed', failure: 'status 500' });
    expect(await m.queue.dead.list(9)).toMatchObject([{ stage: 'meta', unit: 0, samples: [2] }]);
    expect(m.nats.tasks()).toBe(0);
  });
});

describe('M1 (P5): of a task that kills its workers nothing is lost but the samples that kill', () => {
  // Eight samples of one lane.
  const items = Array.from({ length: 8 }, (_, index) => ({ index, sample: aSample(index) }));

  /** Executes deliveries until nothing is queued; who ranks one of `killers` is dead, and nothing that it began ends. Resolves to the deaths. */
  async function executed(killers: readonly number[]) {
    let dead = false;
    let deaths = 0;
    let died: () => void = () => undefined;
    const m = await metaWorker();
    const rank = m.engine.rank.bind(m.engine);
    m.engine.rank = async (job, signal) => {
      const index = items.findIndex(({ index: each }) => job.text.includes(`critique ${each}`));
      if (killers.includes(index)) {
        if (!dead) deaths++;
        dead = true;
        died();
      }
      const result = await rank(job, signal);
      return dead ? new Promise(() => undefined) : result;
    };
    await m.put({ items, deadlineAtMs: m.clock.now() + 6_000_000 });
    while (m.nats.tasks() > 0) {
      dead = false;
      const death = new Promise<void>((resolve) => (died = resolve));
      const { done } = await m.begin();
      await m.clock.until(Promise.race([done, death]), 60_000);
      await m.clock.advance(20);
    }
    return { ...m, deaths };
  }

  test('one, wherever it stands', async () => {
    for (const killer of [0, 3, 7]) {
      const { deaths, stored, queue } = await executed([killer]);
      expect(deaths).toBe(limits.deliveriesMax);
      for (const { index } of items) {
        expect(await stored(index)).toMatchObject({ kind: index === killer ? 'failed' : 'ranked' });
      }
      expect(await queue.dead.list(9)).toMatchObject([{ stage: 'meta', unit: 0, samples: [killer] }]);
    }
  });

  test('several: as many as there are tries, less the first and the last', async () => {
    const killers = [1, 2, 5];
    const { deaths, stored, queue } = await executed(killers);
    expect(deaths).toBe(limits.deliveriesMax);
    for (const { index } of items) {
      expect(await stored(index)).toMatchObject({ kind: killers.includes(index) ? 'failed' : 'ranked' });
    }
    expect(await queue.dead.list(9)).toMatchObject([{ samples: killers }]);
  });
});

test('bytes that are no task are quarantined', async () => {
  const m = await metaWorker();
  m.nats.putRaw('meta', 'meta', 'rl', 'r1', 3, new Uint8Array([0xff, 0xff, 0xff]));
  await m.run();
  expect(m.dead[0]?.reason).toContain('could not be decoded');
  expect(m.nats.tasks()).toBe(0);
});
