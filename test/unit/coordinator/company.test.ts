// Several callers and several coordinators at one request: nobody ends what somebody else still waits for.

import { expect, test } from 'vitest';
import { scriptedEngine, seededScores } from '../../support/scripted-engine.js';
import { ask, virtualCluster } from '../../support/virtual-cluster.js';

const sampleMs = 6_000;

async function slowCluster() {
  const cluster = await virtualCluster();
  const engine = scriptedEngine({
    clock: cluster.clock,
    answer: (spec, job, n) => ({ kind: 'scores', shown: seededScores(spec, job, n), afterMs: sampleMs }),
  });
  return { cluster, worker: await cluster.worker('w', { engine }) };
}

test('I2: a run lasts as long as its most patient caller, not as its first', async () => {
  const { cluster, worker } = await slowCluster();
  const input = ask({ k: 2 });
  const a = cluster.coordinator('a');
  const start = cluster.clock.now();
  const hasty = a.score(input, { deadlineAtMs: start + 1_500 });
  await cluster.clock.advance(200);
  const patient = a.score(input, { deadlineAtMs: start + 30_000 });
  expect(await cluster.clock.until(hasty, 2_000)).toMatchObject({
    kind: 'fault',
    fault: { kind: 'deadline_exceeded' },
  });
  expect(await cluster.verdict(patient)).toMatchObject({ kind: 'valid', kValid: 2, degraded: [] });
  expect(worker.engine.drawn).toHaveLength(2);
});

test('P2: a caller who retries at another coordinator keeps the run alive when the first one leaves', async () => {
  const { cluster, worker } = await slowCluster();
  const input = ask({ k: 4 });
  const a = cluster.coordinator('a');
  const b = cluster.coordinator('b');
  const gone = new AbortController();
  const first = a.score(input, { signal: gone.signal });
  await cluster.clock.advance(500);
  const retry = b.score(input);
  await cluster.clock.advance(500);
  gone.abort();
  expect(await cluster.clock.until(first, 100)).toMatchObject({ kind: 'fault', fault: { kind: 'cancelled' } });
  expect(await cluster.verdict(retry)).toMatchObject({ kind: 'valid', kValid: 4 });
  expect(worker.engine.drawn).toHaveLength(4);
});

test('P1: of a dead coordinator the one chosen survivor finishes; a caller at another waits for it and takes nothing away by leaving', async () => {
  const { cluster, worker } = await slowCluster();
  const input = ask({ k: 4 });
  const dead = cluster.coordinator('dead');
  const survivors = ['b', 'c', 'd'].map((id) => cluster.coordinator(id));
  void dead.score(input);
  await cluster.clock.advance(500);
  dead.kill();
  await cluster.clock.advance(8_000);
  const gone = new AbortController();
  const leaving = survivors.map((each) => each.score(input, { signal: gone.signal }));
  await cluster.clock.advance(200);
  const staying = survivors.map((each) => each.score(input));
  gone.abort();
  await Promise.all(leaving.map((each) => cluster.clock.until(each, 1_000)));
  const verdicts = await Promise.all(staying.map((each) => cluster.verdict(each)));
  for (const verdict of verdicts) expect(verdict).toEqual(verdicts[0]);
  expect(verdicts[0]).toMatchObject({ kind: 'valid', kValid: 4 });
  expect(cluster.told('request.taken_over').length).toBeLessThanOrEqual(1);
  // What the dead one had in the engine when it was taken over may be drawn once more, not once per survivor.
  expect(worker.engine.drawn.length).toBeLessThanOrEqual(8);
});
