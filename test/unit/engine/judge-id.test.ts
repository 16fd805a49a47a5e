import { describe, expect, test } from 'vitest';
import { asJudge, judgeIdOf } from '../../../src/engine/judge-id.js';
import { Secret } from '../../../src/process/secret.js';

const engine = { kind: 'openai', mode: 'chat', extraBody: { guided_regex: 'x' }, stop: ['END'], slots: 64 };
const served = { model: 'judge', fake: false, traits: 'Qwen2.5-7B' };
const id = (settings: object, more: Partial<typeof served> = {}, worker: object = {}): string =>
  judgeIdOf({
    ...served,
    ...more,
    settings: [engine, worker].map((each, at) => ({ ...each, ...(at === 0 && settings) })),
  });
const same = id({});

describe('another judge', () => {
  test.each<[string, string]>([
    ['another model', id({}, { model: 'judge-2' })],
    ['another model behind the same alias', id({}, { traits: 'Llama-8B' })],
    ['the fake engine', id({}, { fake: true })],
    ['another mode', id({ mode: 'completions' })],
    ['other fields for the server', id({ extraBody: { guided_regex: 'y' } })],
    ['another grammar', id({ grammar: 'score_box' })],
    ['other stop texts', id({ stop: [] })],
    ['another engine', id({ kind: 'llama' })],
    ['JI1: a setting that nobody has heard of', id({ reasoningTags: ['[THINK]'] })],
    ['JI1: one of the worker', id({}, {}, { promptOpensReasoning: true })],
  ])('%s', (_what, other) => {
    expect(other).not.toBe(same);
  });
});

describe('the same judge', () => {
  test.each<[string, string]>([
    ['at another address', id({ baseUrl: 'http://gpu-2:8000' })],
    ['with another key', id({ apiKey: new Secret('k') })],
    ['with other room and other patience', id({ slots: 8, requestTimeoutMs: 5, priorityScheduling: true })],
    [
      'on other GPUs',
      id({ gpu: 'cuda', threads: 3, gpusPerEngine: 2 }, {}, { gpus: [1], pool: 'other', drainGraceMs: 1 }),
    ],
    ['JI2: with settings that are empty', id({ later: [], more: {}, absent: undefined })],
    [
      'JI2: with its settings in another order',
      judgeIdOf({ ...served, settings: [Object.fromEntries(Object.entries(engine).reverse()), {}] }),
    ],
  ])('%s', (_what, other) => {
    expect(other).toBe(same);
  });
});

test('JI3: an id is sixteen hexadecimal digits, and says when it is of the fake engine', () => {
  expect(same).toMatch(/^[0-9a-f]{16}$/);
  const fake = asJudge({ model: 'fake-grm', fake: true, draws: () => 1 }, [engine]);
  expect(fake.judgeId).toMatch(/^fake-[0-9a-f]{16}$/);
  expect(fake.draws()).toBe(1);
});
