// The embedded meta engine, and how the child process begins and ends, with the real thing from dist/.

import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { UnfitModel } from '../../../src/engine/engine.js';
import { openLlamaMeta, type LlamaMeta } from '../../../src/engine/llama-meta.js';
import { openLlamaEngine } from '../../../src/engine/llama.js';
import { never, tinyModel } from '../../support/llama.js';

const tiny = tinyModel();
afterAll(() => tiny.remove());

describe('meta rewards', () => {
  const ask = (content: string) => ({
    messages: [{ role: 'user', content } as const],
    text: content,
    deadlineAtMs: Date.now() + 60_000,
    requestId: 'test',
  });
  let meta: LlamaMeta;
  beforeAll(async () => {
    meta = await openLlamaMeta({ name: 'meta', model: tiny.path, slots: 2 });
  });
  afterAll(() => meta.close());

  test('they are repeatable, unlike for unlike texts, and unbounded', async () => {
    const contents = ['A sound critique.', 'Nonsense.', 'Is it?', 'A very sound critique, in fact.'];
    const rank = async () => {
      const results = await Promise.all(contents.map((content) => meta.rank(ask(content), never)));
      return results.map((result) => (result.kind === 'logit' ? result.metaReward : Number.NaN));
    };
    const rewards = await rank();
    for (const [at, again] of (await rank()).entries()) expect(again).toBeCloseTo(rewards[at]!, 4);
    expect(new Set(rewards).size).toBe(contents.length);
    expect(rewards.every(Number.isFinite)).toBe(true);
    expect(rewards.some((reward) => reward < 0 || reward > 1)).toBe(true);
  });

  test('the self-test passes a model that tells texts apart and fails one that does not', async () => {
    expect(await meta.selfTest(never)).toEqual({ kind: 'ok' });
    const flat = tinyModel({ flat: true });
    const same = await openLlamaMeta({ name: 'same', model: flat.path, slots: 1 });
    try {
      expect(await same.selfTest(never)).toMatchObject({ kind: 'failing' });
    } finally {
      await same.close();
      flat.remove();
    }
  });

  test('a vocabulary that cannot tell the two answers apart is no meta RM, and no other try helps', async () => {
    const opening = openLlamaMeta({ name: 'mute', model: tiny.path, slots: 1, yesWord: 'No' });
    await expect(opening).rejects.toThrow(UnfitModel);
    await expect(opening).rejects.toThrow(/cannot rank: its vocabulary has no token that tells No and No apart/);
  });

  test('too long is terminal, aborted is cancelled, late and lost are retryable', async () => {
    expect(await meta.rank(ask('x'.repeat(2000)), never)).toMatchObject({ kind: 'terminal' });
    expect(await meta.rank(ask('x'), AbortSignal.abort())).toEqual({ kind: 'cancelled' });
    expect(await meta.rank({ ...ask('x'), deadlineAtMs: 0 }, never)).toMatchObject({ kind: 'retryable' });
    const open = meta.rank(ask('x'.repeat(900)), never);
    process.kill(meta.pid!, 'SIGKILL');
    expect(await open).toMatchObject({ kind: 'retryable' });
    expect(await meta.health(never)).toMatchObject({ kind: 'failing' });
  });
});

test('L3: the child does not outlive its parent', async () => {
  const main = new URL('../../../dist/src/engine/llama.js', import.meta.url).href;
  const script =
    `const { openLlamaEngine } = await import(${JSON.stringify(main)});` +
    `const engine = await openLlamaEngine({ name: 'x', model: ${JSON.stringify(tiny.path)}, slots: 1 });` +
    `console.log(engine.pid);`;
  const parent = spawn(process.execPath, ['--input-type=module', '-e', script], {
    stdio: ['ignore', 'pipe', 'inherit'],
  });
  const [line] = (await once(createInterface(parent.stdout), 'line')) as [string];
  const pid = Number(line);
  expect(isAlive(pid)).toBe(true);
  parent.kill('SIGKILL');
  for (let tries = 0; tries < 400 && isAlive(pid); tries++) await new Promise((resolve) => setTimeout(resolve, 25));
  expect(isAlive(pid)).toBe(false);
});

function isAlive(pid: number): boolean {
  try {
    process.kill(pid, 0);
    return true;
  } catch {
    return false;
  }
}

test('opening says what is wrong and what to do', async () => {
  const open = { name: 'x', slots: 1, model: tiny.path };
  const missing = join(tiny.dir, 'missing.gguf');
  const other = join(tiny.dir, 'other.gguf');
  writeFileSync(other, 'this is no model');
  await expect(openLlamaEngine({ ...open, model: missing })).rejects.toThrow(missing);
  await expect(openLlamaEngine({ ...open, model: other })).rejects.toThrow(/not a GGUF file/);
  await expect(openLlamaEngine({ ...open, runtimeDir: tiny.dir })).rejects.toThrow(/not installed.*npm ci/);
  await expect(openLlamaEngine({ ...open, slots: 0 })).rejects.toThrow(/at least 1/);
  await expect(openLlamaEngine({ ...open, stop: ['x'.repeat(1000)] })).rejects.toThrow(/stop sequences/);
  await expect(openLlamaEngine({ ...open, signal: AbortSignal.abort() })).rejects.toThrow(/abort/i);
  await expect(openLlamaEngine({ ...open, grammar: { gbnf: 'root ::= (' } })).rejects.toThrow(/grammar/i);
});
