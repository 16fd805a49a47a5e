import fc from 'fast-check';
import { expect, test } from 'vitest';
import type { DrawJob, DrawResult, Engine } from '../../../src/engine/engine.js';
import { limits } from '../../../src/limits.js';
import { reopening } from '../../../src/worker/reopening.js';
import { deadSample, sampleOf } from '../../../src/worker/sample.js';
import { judgementText, scriptedEngine } from '../../support/scripted-engine.js';
import { virtualClock } from '../../support/virtual-clock.js';
import { aShard } from '../../support/work-values.js';

const from = { shard: aShard('r', 0), worker: 'w', engine: scriptedEngine({ clock: virtualClock() }), queueMs: 7 };
const usage = { promptTokens: 10, cachedTokens: 4, completionTokens: 3 };
const text = (said: string, finishReason = 'stop'): Extract<DrawResult, { kind: 'text' }> => ({
  kind: 'text',
  index: 1,
  text: said,
  finishReason,
  usage,
  engineMs: 30,
});

test('a judgement becomes a scored sample in the request order, with where it came from', () => {
  expect(sampleOf(text(judgementText([8, 3])), from)).toMatchObject({
    kind: 'scored',
    index: 1,
    shownScores: [8, 3],
    scores: [3, 8], // shown as [1, 0]
    seed: 4_000_000_000,
    worker: 'w',
    engine: 'scripted-0',
    model: 'scripted-judge',
    permutation: [1, 0],
    templateHash: from.shard.templateHash,
    usage,
    queueMs: 7,
    engineMs: 30,
  });
});

test('what an engine refused for good is an invalid sample with the reason (P7)', () => {
  const refused = (why: 'context_exceeded' | 'rejected') =>
    sampleOf({ kind: 'terminal', index: 0, why, reason: 'too long' }, from);
  expect(refused('context_exceeded')).toMatchObject({
    kind: 'invalid',
    reason: 'context_exceeded',
    detail: 'too long',
  });
  expect(refused('rejected')).toMatchObject({ kind: 'invalid', reason: 'engine_failed', detail: 'too long' });
});

/** UTF-16 units, lone surrogates among them. */
const anyText = fc
  .array(fc.integer({ min: 0, max: 0xffff }), { maxLength: 300 })
  .map((units) => String.fromCharCode(...units));

test('P7: no text makes it throw, and none without scores becomes a number', () => {
  fc.assert(
    fc.property(anyText, (said) => {
      const sample = sampleOf(text(said), from);
      if (sample.kind === 'scored') expect(sample.scores).toHaveLength(2);
      else expect(sample.reason).not.toBe('');
      expect(sample.text.isWellFormed()).toBe(true);
    }),
  );
});

test('P4: a text above its bound is cut and judged as cut', () => {
  const long = `${'words '.repeat(limits.sampleTextBytesMax / 6)}${judgementText([8, 3])}`;
  const sample = sampleOf(text(long), from);
  expect(sample).toMatchObject({ kind: 'invalid', reason: 'truncated', finishReason: 'length' });
  expect(Buffer.byteLength(sample.text)).toBeLessThanOrEqual(limits.sampleTextBytesMax);
  const wide = sampleOf(text('語'.repeat(limits.sampleTextBytesMax)), from);
  expect(Buffer.byteLength(wide.text)).toBeLessThanOrEqual(limits.sampleTextBytesMax);
});

test('P5: a dead sample stands in with its seed and order, and never with a number', () => {
  expect(deadSample(from.shard, 0, 'the engine died', 'w', -5)).toMatchObject({
    kind: 'invalid',
    reason: 'dead_letter',
    detail: 'the engine died',
    seed: 7,
    permutation: [1, 0],
    queueMs: 0,
    text: '',
  });
});

test('reasoning is read by the markers that the worker knows, and an engine may say that its prompt opens it', async () => {
  const own = [{ open: '{{hm}}', close: '{{/hm}}' }];
  const said = `{{hm}}${judgementText([1, 9])}`;
  expect(sampleOf(text(said), from)).toMatchObject({ kind: 'scored' });
  expect(sampleOf(text(said), { ...from, reasoning: own })).toMatchObject({ kind: 'invalid', reason: 'no_box' });

  const drawn: DrawResult[] = [];
  const draws = (words: string): Engine => ({
    ...from.engine,
    draw: (_, onResult) => Promise.resolve(onResult(text(words))),
  });
  const job = {} as DrawJob;
  const { signal } = new AbortController();
  await reopening(draws(judgementText([1, 9])), own).draw(job, (result) => drawn.push(result), signal);
  await reopening(draws(`hm{{/hm}}${judgementText([8, 3])}`), own).draw(job, (result) => drawn.push(result), signal);
  const samples = drawn.map((result) =>
    sampleOf(result as typeof result & { kind: 'text' }, { ...from, reasoning: own }),
  );
  expect(samples).toMatchObject([
    { kind: 'invalid', reason: 'no_box', detail: 'the reasoning never ends' },
    { kind: 'scored', shownScores: [8, 3] },
  ]);
  expect(samples[1]!.text.startsWith('{{hm}}')).toBe(true);
});
