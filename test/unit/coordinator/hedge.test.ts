// Hedges through the real coordinator and workers on the queue model: a worker that is slow, and one that is free.

import { expect, test } from 'vitest';
import { scriptedEngine, seededScores } from '../../support/scripted-engine.js';
import { ask, virtualCluster, type VirtualCluster } from '../../support/virtual-cluster.js';

const hedge = { extraRatio: 0.25, percentile: 0.5, floorMs: 1_000, observedMin: 8 };

/** How long samples take that begin now; with `hang`, the first engine to begin with one is from then on the one that takes `hang`. */
interface Pace {
  afterMs: number;
  hang?: number;
  hangs?: string;
}

function paced(cluster: VirtualCluster, name: string, pace: Pace) {
  return scriptedEngine({
    clock: cluster.clock,
    name,
    answer: (spec, job, n) => {
      if (pace.hang !== undefined) pace.hangs ??= name;
      const afterMs = pace.hangs === name ? pace.hang! : pace.afterMs;
      return { kind: 'scores', shown: seededScores(spec, job, n), afterMs };
    },
  });
}

async function twoWorkers() {
  const cluster = await virtualCluster({ hedge });
  const a = cluster.coordinator('a');
  const pace: Pace = { afterMs: 50 };
  const engines = ['w0', 'w1'].map((name) => paced(cluster, name, pace));
  for (const engine of engines) await cluster.worker(engine.name, { engine, slots: 16 });
  // What is late is known from these.
  for (let i = 0; i < 4; i++) await cluster.verdict(a.score(ask({ k: 8 })));
  return { cluster, a, pace, engines };
}

test('a shard that hangs is drawn elsewhere; the first result is kept, the other try is ended, the verdict is whole', async () => {
  const { cluster, a, pace, engines } = await twoWorkers();
  pace.hang = 40_000;
  const before = engines.map(({ drawn }) => drawn.length);
  const startedAtMs = cluster.clock.now();
  const verdict = await cluster.verdict(a.score(ask({ k: 8 })));
  expect(cluster.clock.now() - startedAtMs).toBeLessThan(10_000);
  expect(verdict).toMatchObject({ kind: 'valid', kValid: 8, degraded: [] });
  expect(verdict.samples.every(({ sample }) => sample.worker !== pace.hangs)).toBe(true);
  const drawn = engines.map((engine, at) => engine.drawn.length - before[at]!);
  const at = engines.findIndex(({ name }) => name === pace.hangs);
  const [slow, fast] = [drawn[at]!, drawn[1 - at]!];
  expect(slow).toBeGreaterThan(0);
  expect(fast).toBe(8);
  const samples = cluster.told('shard.hedged').reduce((sum, each) => sum + each.samples, 0);
  expect(samples).toBe(slow);
  expect(cluster.told('hedge.won')).toHaveLength(slow);
  await cluster.clock.advance(1_000);
  expect(engines.map((engine) => engine.running())).toEqual([0, 0]);
  expect(cluster.nats.tasks()).toBe(0);
  expect(cluster.told('trouble')).toEqual([]);
});

test('H1: the budget bounds what is drawn twice, however many are late', async () => {
  const { cluster, a, pace, engines } = await twoWorkers();
  pace.afterMs = 8_000;
  const asked = 32 + 16;
  await Promise.all(Array.from({ length: 2 }, () => cluster.verdict(a.score(ask({ k: 8 })))));
  const drawn = engines.reduce((sum, engine) => sum + engine.drawn.length, 0);
  expect(drawn - asked).toBeLessThanOrEqual(asked * hedge.extraRatio);
});

test('no free slot, no hedge: what is late because all are busy is not asked for twice', async () => {
  const cluster = await virtualCluster({ hedge });
  const a = cluster.coordinator('a');
  const pace = { afterMs: 50 };
  await cluster.worker('w', { engine: paced(cluster, 'e', pace), slots: 8 });
  for (let i = 0; i < 4; i++) await cluster.verdict(a.score(ask({ k: 8 })));
  pace.afterMs = 5_000;
  await Promise.all(Array.from({ length: 4 }, () => cluster.verdict(a.score(ask({ k: 8 })))));
  expect(cluster.told('shard.hedged')).toEqual([]);
});
