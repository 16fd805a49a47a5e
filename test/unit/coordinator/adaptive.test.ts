// Adaptive k through the real coordinator and workers on the queue model: what is drawn, what is told, and that it is the same whatever happens.

import { expect, test } from 'vitest';
import type { ScoreInput, ScoreOptions } from '../../../src/coordinator/coordinator.js';
import { permutations } from '../../../src/grm/permute.js';
import { uint32Stream } from '../../../src/grm/seed.js';
import type { Verdict } from '../../../src/grm/verdict.js';
import { scriptedEngine, type Answer } from '../../support/scripted-engine.js';
import { ask, virtualCluster, type VirtualCluster } from '../../support/virtual-cluster.js';

/** A judge that gives the first response of the request 9 and the second 4, or as told by `scores`. */
function judge(
  cluster: VirtualCluster,
  {
    scores = () => [9, 4],
    afterMs = () => 20,
  }: { scores?: (index: number) => readonly number[]; afterMs?: (index: number) => number } = {},
) {
  const orders = permutations(2, 128, 0);
  return scriptedEngine({
    clock: cluster.clock,
    answer: ({ index }): Answer => {
      const shown = orders[index]!.map((response) => scores(index)[response]!);
      return { kind: 'scores', shown, afterMs: afterMs(index) };
    },
  });
}

/** A cluster whose requests never ask ahead of the rule: what is drawn is what the rule saw. */
const smallWaves = () => virtualCluster({ settings: { waves: 'small' } });

const confident: ScoreOptions = { k: 32, vote: 'sum', stop: 'confident', stopError: 0.01 };
const fixed: ScoreOptions = { k: 32, vote: 'sum', stop: 'outcome_fixed' };

/** What must be the same however a request was finished: all but times and who did it. */
function essence(verdict: Verdict): unknown {
  const { kind, k, kValid, kKept, vote, degraded, stopping, samples } = verdict;
  const seen = samples.map(({ sample, kept, metaReward }) => [
    sample.index,
    sample.seed,
    sample.kind,
    kept,
    metaReward,
  ]);
  const numbers = verdict.kind === 'valid' ? [verdict.rewards, verdict.ranking, verdict.margin] : verdict.reason;
  return { kind, k, kValid, kKept, vote, degraded, stopping, seen, numbers };
}

const quiet = (cluster: VirtualCluster): void => {
  expect(cluster.nats.tasks()).toBe(0);
  expect(cluster.nats.followers()).toBe(0);
  expect(cluster.told('trouble')).toEqual([]);
};

test('confident: judges that agree are asked a few times; what is left is never put in the queue', async () => {
  const cluster = await smallWaves();
  const a = cluster.coordinator('a');
  const engine = judge(cluster);
  await cluster.worker('w', { engine });
  const verdict = await cluster.verdict(a.score(ask(confident)));
  const kDrawn = verdict.stopping!.kDrawn;
  expect(verdict).toMatchObject({ kind: 'valid', best: 0, k: 32, kValid: kDrawn, kKept: kDrawn, degraded: [] });
  expect(verdict.stopping).toEqual({
    stop: { rule: 'confident', error: 0.01 },
    stopped: 'confident',
    kDrawn,
    samplesSaved: 32 - kDrawn,
  });
  expect(kDrawn).toBeLessThanOrEqual(12);
  expect(engine.drawn.map(({ index }) => index).sort((x, y) => x - y)).toEqual([...Array(kDrawn).keys()]);
  expect(cluster.told('request.finished')).toMatchObject([{ verdict: { k: 32, samplesSaved: 32 - kDrawn } }]);
  expect(a.service.load()).toEqual({ requestsInFlight: 0, samplesInFlight: 0, bytesInFlight: 0, waiting: 0 });
  quiet(cluster);
});

test('P4: admission counts a request with adaptive k for what those before it drew, and so lets in more of them', async () => {
  const k = 32;
  const cluster = await virtualCluster({ settings: { waves: 'small' }, bounds: { samplesMax: 2 * k } });
  const a = cluster.coordinator('a');
  await cluster.worker('w', { engine: judge(cluster) });
  const together = async (options: ScoreOptions, count: number): Promise<number> => {
    const outcomes = await cluster.clock.until(
      Promise.all(Array.from({ length: count }, () => a.score(ask(options)))),
      60_000,
    );
    return outcomes.filter(({ kind }) => kind === 'verdict').length;
  };
  expect(await together(confident, 8)).toBe(2);
  // They stop at their first looks, and it learns that.
  for (let time = 0; time < 100; time++) await together(confident, 1);
  expect(await together(confident, 8)).toBeGreaterThan(3);
  // Without a rule k is what is drawn.
  expect(await together({ k, vote: 'sum' }, 8)).toBe(2);
  expect(a.service.load()).toEqual({ requestsInFlight: 0, samplesInFlight: 0, bytesInFlight: 0, waiting: 0 });
});

test('outcome_fixed: the first look is past the half, and the stop is exact', async () => {
  const cluster = await smallWaves();
  const a = cluster.coordinator('a');
  const engine = judge(cluster, { scores: () => [10, 1] });
  await cluster.worker('w', { engine });
  const verdict = await cluster.verdict(a.score(ask(fixed)));
  expect(verdict.stopping).toEqual({
    stop: { rule: 'outcome_fixed' },
    stopped: 'outcome_fixed',
    kDrawn: 17,
    samplesSaved: 15,
  });
  expect(engine.drawn).toHaveLength(17);
  // A lead of 5 a sample: 5 m > 9 (32 - m) from m = 21 on.
  const other = await virtualCluster();
  await other.worker('w', { engine: judge(other) });
  const second = await other.verdict(other.coordinator('a').score(ask(fixed)));
  expect(second.stopping).toMatchObject({ stopped: 'outcome_fixed', kDrawn: 21 });
  quiet(cluster);
});

test('judges that differ are asked k times, and the verdict says so', async () => {
  const cluster = await virtualCluster();
  const a = cluster.coordinator('a');
  const engine = judge(cluster, { scores: (index) => (index % 4 < 2 ? [8, 5] : [5, 8]) });
  await cluster.worker('w', { engine });
  const verdict = await cluster.verdict(a.score(ask(confident)));
  expect(verdict).toMatchObject({ kind: 'valid', tie: true, kValid: 32, stopping: { kDrawn: 32, samplesSaved: 0 } });
  expect(verdict.stopping).not.toHaveProperty('stopped');
  expect(engine.drawn).toHaveLength(32);
  quiet(cluster);
});

test('none, one response, and no word of it: all at once, and the verdict says nothing', async () => {
  const cluster = await virtualCluster();
  const a = cluster.coordinator('a');
  const engine = judge(cluster);
  await cluster.worker('w', { engine });
  for (const stop of [{}, { stop: 'none' }] as const) {
    const verdict = await cluster.verdict(a.score(ask({ k: 8, ...stop })));
    expect(verdict).toMatchObject({ kValid: 8 });
    expect(verdict).not.toHaveProperty('stopping');
  }
  expect(new Set(engine.drawn.map(({ atMs }) => atMs)).size).toBe(2);
});

test('A4: of one response the number is wanted: all k at once', async () => {
  const cluster = await virtualCluster();
  const a = cluster.coordinator('a');
  const engine = scriptedEngine({ clock: cluster.clock, answer: () => ({ kind: 'scores', shown: [7] }) });
  await cluster.worker('w', { engine });
  const content = { messages: [{ role: 'user', content: 'Why?' }], responses: ['Because.'], principles: [] } as const;
  const verdict = await cluster.verdict(a.score(ask(confident, { content })));
  expect(verdict).toMatchObject({ kind: 'valid', kValid: 32, stopping: { kDrawn: 32, samplesSaved: 0 } });
  expect(new Set(engine.drawn.map(({ atMs }) => atMs)).size).toBeLessThanOrEqual(2);
});

test('a server-wide default: config says confident, a request may say none', async () => {
  const cluster = await virtualCluster();
  const defaults = {
    k: 16,
    temperature: 0.5,
    topP: 1,
    maxTokens: 256,
    vote: 'sum',
    quorumRatio: 0.5,
    timeBudgetMs: 60_000,
  } as const;
  const a = cluster.coordinator('a', { defaults: { ...defaults, stop: 'confident', stopError: 0.05 } });
  const engine = judge(cluster);
  await cluster.worker('w', { engine });
  const verdict = await cluster.verdict(a.score(ask()));
  expect(verdict.stopping).toMatchObject({ stop: { rule: 'confident', error: 0.05 }, stopped: 'confident' });
  expect(verdict.kValid).toBeLessThan(16);
  expect(await cluster.verdict(a.score(ask({ stop: 'none' })))).toMatchObject({ kValid: 16 });
});

test('meta votes: a wave is ranked before the rule looks', async () => {
  const cluster = await smallWaves();
  const a = cluster.coordinator('a');
  const engine = judge(cluster);
  await cluster.worker('w', { engine });
  const meta = await cluster.metaWorker('m');
  const verdict = await cluster.verdict(a.score(ask({ ...confident, vote: 'meta_topk' })));
  const kDrawn = verdict.stopping!.kDrawn;
  expect(verdict).toMatchObject({
    kind: 'valid',
    vote: 'meta_topk',
    kValid: kDrawn,
    degraded: [],
    stopping: { stopped: 'confident' },
  });
  expect(verdict.kKept).toBe(Math.ceil(kDrawn / 2));
  expect(meta.engine.ranked).toHaveLength(kDrawn);
  quiet(cluster);
});

/** Scores that lead by little: the rule needs several waves. */
function wavering(index: number): readonly number[] {
  const draw = uint32Stream(index * 7 + 3);
  return [6 + (draw() % 4), 4 + (draw() % 4)];
}

async function undisturbed(input: ScoreInput, meta: boolean): Promise<unknown> {
  const cluster = await smallWaves();
  const a = cluster.coordinator('a');
  await cluster.worker('w', { engine: judge(cluster, { scores: wavering }) });
  if (meta) await cluster.metaWorker('m');
  const verdict = await cluster.verdict(a.score(input));
  expect(verdict.stopping!.kDrawn).toBeGreaterThan(4);
  expect(verdict.stopping!.samplesSaved).toBeGreaterThan(0);
  return essence(verdict);
}

test.each([false, true])(
  'P3: the same verdict whatever the order of arrival and the number of workers (meta RM: %s)',
  async (meta) => {
    const input = ask({ ...confident, vote: meta ? 'meta_topk' : 'sum' });
    const expected = await undisturbed(input, meta);
    for (let seed = 1; seed <= 6; seed++) {
      const cluster = await virtualCluster();
      const a = cluster.coordinator('a');
      const draw = uint32Stream(seed);
      const afterMs = (): number => 5 + (draw() % 3_000);
      for (let worker = 0; worker < 1 + (seed % 3); worker++) {
        await cluster.worker(`w${worker}`, { engine: judge(cluster, { scores: wavering, afterMs }) });
      }
      if (meta) await cluster.metaWorker('m');
      expect(essence(await cluster.verdict(a.score(input)))).toEqual(expected);
      expect(cluster.nats.tasks()).toBe(0);
    }
  },
);

test.each([false, true])(
  'P1 P3: taken over at any moment, the verdict is the same and no stored sample is drawn again (meta RM: %s)',
  async (meta) => {
    const input = ask({ ...confident, vote: meta ? 'meta_topk' : 'sum' });
    const expected = await undisturbed(input, meta);
    // Waves take some 120 ms here: before, within and between them.
    for (const killedAtMs of [1, 60, 130, 200, 280, 390]) {
      const cluster = await virtualCluster({ detectMs: 2_000, settings: { waves: 'small' } });
      const a = cluster.coordinator('a');
      const b = cluster.coordinator('b');
      const engine = judge(cluster, { scores: wavering, afterMs: (index) => 50 + 20 * (index % 4) });
      await cluster.worker('w', { engine });
      if (meta) await cluster.metaWorker('m');
      void a.score(input);
      await cluster.clock.advance(killedAtMs);
      a.kill();
      const verdict = await cluster.verdict(b.score(input));
      expect(essence(verdict)).toEqual(expected);
      expect(engine.drawn).toHaveLength(verdict.stopping!.kDrawn);
      expect(cluster.nats.tasks()).toBe(0);
    }
  },
);

test('a cancelled request that comes again goes on from its samples, wave by wave', async () => {
  const cluster = await virtualCluster({ settings: { lingerMs: 100, waves: 'small' } });
  const a = cluster.coordinator('a');
  const engine = judge(cluster, { scores: wavering, afterMs: () => 200 });
  await cluster.worker('w', { engine });
  const input = ask(confident);
  const expected = await undisturbed(input, false);
  const gone = new AbortController();
  void a.score(input, { signal: gone.signal });
  await cluster.clock.advance(450);
  gone.abort();
  await cluster.clock.advance(5_000);
  const before = engine.drawn.length;
  expect(before).toBeGreaterThanOrEqual(8);
  const verdict = await cluster.verdict(a.score(input));
  expect(essence(verdict)).toEqual(expected);
});

test('the time budget ends within a wave: the quorum of k decides, and nothing counts as saved', async () => {
  const cluster = await smallWaves();
  const a = cluster.coordinator('a');
  await cluster.worker('w', { engine: judge(cluster, { afterMs: (index) => (index < 6 ? 20 : 60_000) }) });
  const options: ScoreOptions = { k: 32, vote: 'sum', stop: 'confident', stopError: 1e-9, timeBudgetMs: 1_000 };
  const verdict = await cluster.verdict(a.score(ask({ ...options, quorum: 6 })));
  expect(verdict).toMatchObject({ kind: 'valid', kValid: 6, degraded: ['time_budget'] });
  expect(verdict.stopping).toEqual({ stop: { rule: 'confident', error: 1e-9 }, kDrawn: 8, samplesSaved: 0 });
  expect(await cluster.verdict(a.score(ask(options)))).toMatchObject({ kind: 'invalid', reason: 'quorum_not_met' });
  expect(cluster.nats.tasks()).toBe(0);
});

test('P3: with free slots all is asked for at once; the rule ends it as soon as its look is there, and the verdict is that of small waves', async () => {
  const input = ask(confident);
  const small = await smallWaves();
  await small.worker('w', { engine: judge(small) });
  const expected = await small.verdict(small.coordinator('a').score(input));

  const cluster = await virtualCluster();
  const a = cluster.coordinator('a');
  // What the rule does not need takes a minute.
  const engine = judge(cluster, { afterMs: (index) => (index < 12 ? 20 : 60_000) });
  await cluster.worker('w', { engine, slots: 64 });
  const seen: number[] = [];
  const asked = a.score(input, { onSample: ({ sample }) => void seen.push(sample.index) });
  const startedAtMs = cluster.clock.now();
  const verdict = await cluster.verdict(asked);
  expect(essence(verdict)).toEqual(essence(expected));
  expect(cluster.clock.now() - startedAtMs).toBeLessThan(1_000);
  expect(engine.drawn).toHaveLength(32);
  // Callers see what is in the verdict, and no sample that was dropped.
  expect(seen.sort((x, y) => x - y)).toEqual(verdict.samples.map(({ sample }) => sample.index));
  const { kDrawn } = verdict.stopping!;
  expect(cluster.told('request.finished')).toMatchObject([
    { verdict: { samplesSaved: 32 - kDrawn, samplesAhead: 32 - kDrawn } },
  ]);
  await cluster.clock.advance(1_000);
  expect(a.service.load()).toEqual({ requestsInFlight: 0, samplesInFlight: 0, bytesInFlight: 0, waiting: 0 });
  quiet(cluster);
});

test('under load no request asks ahead: a fleet without a free slot draws what the rules look at', async () => {
  const cluster = await virtualCluster();
  const a = cluster.coordinator('a');
  const engine = judge(cluster, { afterMs: () => 200 });
  await cluster.worker('w', { engine, slots: 8 });
  const verdicts = await Promise.all(Array.from({ length: 12 }, () => cluster.verdict(a.score(ask(confident)))));
  const seen = verdicts.reduce((sum, { stopping }) => sum + stopping!.kDrawn, 0);
  const first = 32;
  // The first comes to an idle fleet.
  expect(engine.drawn.length).toBeLessThanOrEqual(seen + first);
  expect(engine.drawn.length).toBeLessThan((12 * 32) / 2);
  quiet(cluster);
});

test('the time budget ends while samples are drawn ahead: all that came are voted on, and callers see them', async () => {
  const cluster = await virtualCluster();
  const a = cluster.coordinator('a');
  const engine = judge(cluster, { afterMs: (index) => (index === 2 ? 60_000 : 20) });
  await cluster.worker('w', { engine, slots: 64 });
  const seen: number[] = [];
  const options: ScoreOptions = { k: 8, vote: 'sum', stop: 'confident', stopError: 1e-9, timeBudgetMs: 1_000 };
  const onSample = ({ sample }: { sample: { index: number } }) => void seen.push(sample.index);
  const verdict = await cluster.verdict(a.score(ask(options), { onSample }));
  expect(verdict).toMatchObject({ kind: 'valid', kValid: 7, degraded: ['time_budget'], stopping: { kDrawn: 8 } });
  expect(seen.sort((x, y) => x - y)).toEqual([0, 1, 3, 4, 5, 6, 7]);
});
