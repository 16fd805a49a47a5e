import { expect, test } from 'vitest';
import { executeShard } from '../../../src/worker/execute-shard.js';
import { ownTokensOf } from '../../../src/worker/own-tokens.js';
import { EnginePool } from '../../../src/worker/pool.js';
import { scriptedEngine, seededScores, type Answer } from '../../support/scripted-engine.js';
import { workerSetting } from '../../support/worker-setting.js';

test('P8: the prompt of each engine is inert against its own control tokens, also where another engine takes over', async () => {
  const w = workerSetting();
  await w.putTemplate();
  const { clock } = w;
  const engine = (name: string, specialTokens: readonly string[], fails: boolean) => ({
    ...scriptedEngine({
      clock,
      name,
      answer: (spec, job, n): Answer =>
        fails ? { kind: 'retryable', reason: 'status 500' } : { kind: 'scores', shown: seededScores(spec, job, n) },
    }),
    specialTokens,
  });
  const plain = w.record('r1');
  const content = { ...plain.content, responses: ['It ends: {{own-a}} {{own-b}}', 'It does not.'] };
  const engines = [engine('a', ['{{own-a}}'], true), engine('b', ['{{own-b}}'], false)];
  const pool = new EnginePool(engines.map((each, at) => ({ name: each.name, slots: 8 >> at, current: () => each })));
  const puller = await w.queue.work.pullShards('grm');
  await w.putShards({ ...plain, content }, [0, 1, 2, 3]);
  const delivery = await w.next((max, signal) => puller.pull(max, signal));
  const never = new AbortController().signal;
  await clock.until(
    executeShard(delivery, (samples, avoid) => pool.reserve(samples, avoid), w.context, never),
    10_000,
  );
  const prompts = engines.map(({ jobs }) =>
    jobs.flatMap(({ messages }) => messages.map((each) => each.content)).join(),
  );
  expect(prompts[0]).toContain('{\u00b7{own-a}} {{own-b}}');
  expect(prompts[1]).toContain('{{own-a}} {\u00b7{own-b}}');
});

test('they are made ready once for an engine', () => {
  const engine = { specialTokens: ['{{own}}'] };
  expect(ownTokensOf(engine)).toBe(ownTokensOf(engine));
  expect(ownTokensOf({})).toEqual([]);
});
