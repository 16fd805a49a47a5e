// Requests that kill whoever works on them, through the real coordinator and workers on the queue model: each death is one of the tries that
// are counted (P5), and nothing is lost but what kills.

import { expect, test } from 'vitest';
import { limits } from '../../../src/limits.js';
import type { MetaEngine } from '../../../src/engine/engine.js';
import { scriptedEngine, scriptedMetaEngine, seededScores } from '../../support/scripted-engine.js';
import { ask, virtualCluster } from '../../support/virtual-cluster.js';

const hedge = { extraRatio: 0.25, percentile: 0.5, floorMs: 1_000, observedMin: 8 };
const patience = 3_000_000;
const cautionMs = limits.workerCautionMs;

/** A cluster in which engines kill their worker at a word of the test; the dead come back under a new name after a moment. */
async function deadlyCluster(kills: (stage: 'sample' | 'meta', text: string) => boolean) {
  const cluster = await virtualCluster({ hedge, settings: { metaPatienceMs: patience } });
  const { clock } = cluster;
  const deaths: string[] = [];
  let started = 0;
  /** Dies before anything else of it happens. */
  const die = (id: string, kill: (() => void) | undefined, again: () => Promise<void>): void => {
    if (deaths.includes(id)) return;
    deaths.push(id);
    kill?.();
    clock.after(500, () => void again());
  };
  const worker = async (): Promise<void> => {
    const id = `w${started++}`;
    const handle: { kill?: () => void } = {};
    const engine = scriptedEngine({
      clock,
      name: id,
      answer: (spec, job, n) => {
        const text = job.messages.map(({ content }) => content).join('\n');
        if (kills('sample', text)) {
          die(id, handle.kill, worker);
          return { kind: 'never' };
        }
        return { kind: 'scores', shown: seededScores(spec, job, n), afterMs: 50 };
      },
    });
    const here = await cluster.worker(id, { engine, slots: 16, cautionMs });
    handle.kill = () => here.kill();
  };
  const metaWorker = async (): Promise<void> => {
    const id = `m${started++}`;
    const handle: { kill?: () => void } = {};
    const plain = scriptedMetaEngine({ clock, name: id });
    const engine: MetaEngine = {
      ...plain,
      rank(job, signal) {
        if (kills('meta', job.text)) {
          die(id, handle.kill, metaWorker);
          return new Promise(() => undefined);
        }
        return plain.rank(job, signal);
      },
    };
    const here = await cluster.metaWorker(id, { engine, slots: 16, cautionMs });
    handle.kill = () => here.kill();
  };
  return { cluster, deaths, worker, metaWorker };
}

test('P5: a shard whose worker died of it is not asked for once more elsewhere: it kills so many workers as it has tries', async () => {
  const { cluster, deaths, worker } = await deadlyCluster((_, text) => text.includes('POISON'));
  const a = cluster.coordinator('a');
  for (let i = 0; i < 3; i++) await worker();
  // What is late is known from these.
  for (let i = 0; i < 4; i++) await cluster.verdict(a.score(ask({ k: 8 })));
  const content = { messages: [{ role: 'user', content: 'POISON' }], responses: ['a', 'b'], principles: [] } as const;
  const poison = ask({ k: 1, timeBudgetMs: patience }, { content });
  const verdict = await cluster.verdict(a.score(poison), patience);
  expect(verdict.samples).toMatchObject([{ sample: { kind: 'invalid', reason: 'dead_letter' } }]);
  expect(deaths).toHaveLength(limits.deliveriesMax);
  expect(cluster.told('shard.hedged')).toEqual([]);
  expect(cluster.told('delivery.dead')).toMatchObject([{ stage: 'sample', deliveries: limits.deliveriesMax + 1 }]);
  await cluster.clock.advance(60_000);
  expect(cluster.nats.tasks()).toBe(0);
  expect(cluster.told('trouble')).toEqual([]);
});

test('P5: meta tasks that kill their workers are quarantined, and none beside them', async () => {
  const isPoison = (text: string): boolean => text.includes('POISON 2') || text.includes('POISON 5');
  const { cluster, deaths, metaWorker } = await deadlyCluster((stage, text) => stage === 'meta' && isPoison(text));
  const a = cluster.coordinator('a');
  const engine = scriptedEngine({
    clock: cluster.clock,
    name: 'e',
    answer: (spec) => ({ kind: 'text', text: `Analysis: POISON ${spec.index}.\nScores: \\boxed{7}` }),
  });
  await cluster.worker('w', { engine, slots: 16 });
  await metaWorker();
  const content = { messages: [{ role: 'user', content: 'one response' }], responses: ['a'], principles: [] } as const;
  const asked = ask({ k: 8, meta: true, timeBudgetMs: patience }, { content });
  const verdict = await cluster.verdict(a.score(asked), patience);
  const rewarded = verdict.samples.map(({ metaReward }) => metaReward !== undefined);
  expect(rewarded).toEqual([true, true, false, true, true, false, true, true]);
  expect(verdict).toMatchObject({ kind: 'valid', kValid: 8, degraded: ['meta_partial'] });
  expect(deaths.length).toBeLessThanOrEqual(2 * limits.deliveriesMax);
  expect(cluster.told('delivery.dead').map(({ stage }) => stage)).toEqual(['meta', 'meta']);
  await cluster.clock.advance(60_000);
  expect(cluster.nats.tasks()).toBe(0);
});
