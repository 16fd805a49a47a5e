// What the tests of the embedded engine share: a tiny model in a folder of its own, and draws that are checked for N1.

import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { expect } from 'vitest';
import type { DrawJob, DrawResult, Engine, TokenUsage } from '../../src/engine/engine.js';
import { writeTinyGguf, type TinyModel } from './gguf.js';

export const never = new AbortController().signal;
export const question = 'Which of the two answers is better, and why? Answer 1: four. Answer 2: five.';

/** A folder with a model in it; gone after `using`. */
export function tinyModel(more: Partial<TinyModel> = {}) {
  const dir = mkdtempSync(join(tmpdir(), 'grm-llama-test-'));
  const path = join(dir, 'tiny.gguf');
  writeTinyGguf(path, { seed: 7, contextTokens: 1024, ...more });
  return { dir, path, remove: () => rmSync(dir, { recursive: true, force: true }) };
}

export function drawJob(content: string, seeds: readonly number[], more: Partial<DrawJob> = {}): DrawJob {
  return {
    messages: [{ role: 'user', content }],
    samples: seeds.map((seed, index) => ({ index, seed })),
    temperature: 1,
    topP: 1,
    maxTokens: 24,
    deadlineAtMs: Date.now() + 60_000,
    priority: 0,
    requestId: 'test',
    ...more,
  };
}

/** All results in the order of their indexes; every sample asked for is answered exactly once (N1). */
export async function drawAll(engine: Engine, job: DrawJob, signal = never): Promise<readonly DrawResult[]> {
  const results: DrawResult[] = [];
  await engine.draw(job, (result) => results.push(result), signal);
  results.sort((a, b) => a.index - b.index);
  expect(results.map((result) => result.index)).toEqual(job.samples.map((sample) => sample.index));
  return results;
}

export async function drawTexts(engine: Engine, job: DrawJob): Promise<readonly string[]> {
  return (await drawAll(engine, job)).map((result) => (result.kind === 'text' ? result.text : JSON.stringify(result)));
}

export async function drawUsages(engine: Engine, job: DrawJob): Promise<readonly TokenUsage[]> {
  return (await drawAll(engine, job)).flatMap((result) => (result.kind === 'text' ? [result.usage] : []));
}

/** Waits until the engine says that it has nothing to do. */
export async function untilIdle(engine: Engine): Promise<void> {
  for (let tries = 0; tries < 500; tries++) {
    const { running, waiting } = await engine.gauges();
    if (running === 0 && waiting === 0) return;
    await new Promise((resolve) => setTimeout(resolve, 10));
  }
  throw new Error('the engine is still busy');
}

/** Waits until the engine has begun to work on something. */
export async function untilBusy(engine: Engine): Promise<void> {
  for (let tries = 0; tries < 500; tries++) {
    if ((await engine.gauges()).running > 0) return;
    await new Promise((resolve) => setTimeout(resolve, 5));
  }
  throw new Error('the engine never began');
}
