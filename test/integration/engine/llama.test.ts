// The embedded engine with its real child process (from dist/) and a tiny random model, written here.

import { copyFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { scoreBoxGrammar } from '../../../src/engine/llama-grammar.js';
import { openLlamaEngine, type LlamaEngine } from '../../../src/engine/llama.js';
import { tokenFinders } from '../../../src/grm/chat-tokens.js';
import { inert, noncePattern } from '../../../src/grm/inert.js';
import { packageRoot } from '../../../src/process/version.js';
import {
  drawAll,
  drawJob,
  drawTexts,
  drawUsages,
  never,
  question,
  tinyModel,
  untilBusy,
  untilIdle,
} from '../../support/llama.js';

const tiny = tinyModel();
let engine: LlamaEngine;
beforeAll(async () => {
  engine = await openLlamaEngine({ name: 'tiny', model: tiny.path, slots: 4 });
});
afterAll(async () => {
  await engine.close();
  tiny.remove();
});

/** A draw that takes longer than any test waits for. */
const long = (more = {}) => drawJob(question, [1, 2, 3, 4, 5, 6, 7, 8], { maxTokens: 900, ...more });

describe('samples', () => {
  test('it tells what it serves', async () => {
    expect(engine).toMatchObject({ name: 'tiny', model: 'tiny', description: `llama ${tiny.path}`, fake: false });
    expect(engine.facts).toMatchObject({ contextTokens: 1024, gpu: false, chatTemplate: true, sharing: 'copy' });
    expect(await engine.health(never)).toEqual({ kind: 'ok' });
  });

  test('P3: a seed gives the same text whatever runs beside it, and another seed another', async () => {
    const seeds = [0, 1, 2, 3, 4, 5, 0xffff_ffff - 1];
    const together = await drawTexts(engine, drawJob(question, seeds));
    const beside = drawTexts(engine, drawJob(`${question} Be brief.`, [9, 10, 11], { temperature: 0.3 }));
    const alone: string[] = [];
    for (const seed of seeds.toReversed()) alone.unshift(...(await drawTexts(engine, drawJob(question, [seed]))));
    await beside;
    expect(alone).toEqual(together);
    expect(new Set(together).size).toBe(seeds.length);
  });

  test('the greatest seed, which means "any" to llama.cpp, is a seed like the others', async () => {
    const greatest = drawJob(question, [0xffff_ffff]);
    expect(await drawTexts(engine, greatest)).toEqual(await drawTexts(engine, greatest));
  });

  test('temperature 0 is greedy: the seed does not matter', async () => {
    const [first, ...rest] = await drawTexts(engine, drawJob(question, [1, 2, 3], { temperature: 0 }));
    expect(rest).toEqual([first, first]);
  });

  test('a prompt is evaluated once, and of the next prompt only what differs', async () => {
    const before = await engine.gauges();
    const content = `A prompt of its own. ${question}`;
    const all = await drawUsages(engine, drawJob(content, [1, 2, 3, 4, 5, 6]));
    const { promptTokens } = all[0]!;
    const cached = all.map((usage) => usage.cachedTokens).sort((a, b) => a - b);
    expect(cached.slice(1)).toEqual(Array.from({ length: 5 }, () => promptTokens - 1));
    expect(cached[0]).toBeLessThan(promptTokens / 2);

    const [longer] = await drawUsages(engine, drawJob(`${content} And more.`, [1]));
    // All of it up to the end of the common text, which is one character a token in this vocabulary.
    expect(longer!.cachedTokens).toBeGreaterThanOrEqual(content.length);
    expect(longer!.cachedTokens).toBeLessThan(longer!.promptTokens - ' And more.'.length);
    const after = await engine.gauges();
    expect(after.prefixQueriesTotal! - before.prefixQueriesTotal!).toBe(6 * promptTokens + longer!.promptTokens);
    expect(after.kvCacheUsageRatio).toBeGreaterThan(0);
  });

  test('it finishes by length at maxTokens, and before the context ends', async () => {
    expect(await drawAll(engine, drawJob(question, [1], { temperature: 0, maxTokens: 3 }))).toMatchObject([
      { kind: 'text', finishReason: 'length', usage: { completionTokens: 3 } },
    ]);
    const [usage] = await drawUsages(engine, drawJob('x'.repeat(940), [1], { temperature: 0, maxTokens: 500 }));
    expect(usage!.promptTokens + usage!.completionTokens).toBeLessThanOrEqual(1024);
  });

  test('a prompt that does not fit is terminal, and nothing of it is evaluated', async () => {
    const before = await engine.gauges();
    expect(await drawAll(engine, drawJob('x'.repeat(1100), [1, 2]))).toMatchObject([
      { kind: 'terminal', why: 'context_exceeded' },
      { kind: 'terminal', why: 'context_exceeded' },
    ]);
    expect(await engine.gauges()).toEqual(before);
  });

  test('P8: control tokens spelled in a message are plain text', async () => {
    const [plain] = await drawUsages(engine, drawJob('a', [1], { maxTokens: 1 }));
    const [spelled] = await drawUsages(engine, drawJob('<|im_end|>', [1], { maxTokens: 1 }));
    expect(spelled!.promptTokens - plain!.promptTokens).toBe('<|im_end|>'.length - 1);
  });

  test('P8, I3: it tells the control tokens of its vocabulary, and of the user-defined ones those that are no HTML and no white space', async () => {
    expect(engine.specialTokens).toEqual(['<s>', '</s>', '<|im_start|>', '<|im_end|>']);
    const model = tinyModel({
      control: ['<own:stop>', '@@end@@'],
      userDefined: ['<|turn|>', '{{halt}}', '<table>', '</b>', '\n\n\n'],
    });
    const own = await openLlamaEngine({ name: 'own', model: model.path, slots: 1, specialTokens: ['<named>'] });
    try {
      const told = [
        '<named>',
        '<s>',
        '</s>',
        '<|im_start|>',
        '<|im_end|>',
        '<own:stop>',
        '@@end@@',
        '<|turn|>',
        '{{halt}}',
        '\n\n\n',
      ];
      expect(own.specialTokens).toEqual(told);
      // What the worker makes of it: nothing of it is left in a text that says all of it, and an answer in HTML stays as it is.
      const others = tokenFinders(own.specialTokens ?? []);
      const text = `a\n\n\n<table>b</b>${told.join('')}`;
      const safe = inert(text, noncePattern('a1b2c3d4'), others);
      for (const token of told.slice(0, -1)) expect(safe).not.toContain(token);
      expect(safe).toContain('a\n\n\n<table>b</b>');
      // The model's own tokenizer agrees: a user-defined token that is dotted is many tokens.
      const tokensOf = async (content: string) =>
        (await drawUsages(own, drawJob(content, [1], { maxTokens: 1 })))[0]!.promptTokens;
      const [none, spelled, dotted] = [
        await tokensOf('a'),
        await tokensOf('a{{halt}}'),
        await tokensOf(inert('a{{halt}}', noncePattern('a1b2c3d4'), others)),
      ];
      expect(spelled).toBe(none + 1);
      expect(dotted).toBeGreaterThan(none + 5);
    } finally {
      await own.close();
      model.remove();
    }
  });

  test('P8, I3: the nano judge tells its own', async () => {
    const nano = await openLlamaEngine({
      name: 'nano',
      model: join(packageRoot, 'models', 'nano', 'grm.gguf'),
      slots: 1,
    });
    try {
      expect(nano.specialTokens).toEqual(['<|pad|>', '<|end|>', '<|system|>', '<|user|>', '<|assistant|>']);
    } finally {
      await nano.close();
    }
  });

  test('more prompts at once than warm places', async () => {
    const jobs = Array.from({ length: 6 }, (_, at) => drawJob(`Prompt number ${at}.`, [1, 2, 3]));
    const together = await Promise.all(jobs.map((job) => drawTexts(engine, job)));
    for (const [at, job] of jobs.entries()) expect(together[at]).toEqual(await drawTexts(engine, job));
  });

  test('N2: abort cancels what runs and what waits, and the engine stops', async () => {
    const controller = new AbortController();
    const drawn = drawAll(engine, long(), controller.signal);
    await untilBusy(engine);
    controller.abort();
    expect((await drawn).map((result) => result.kind)).toContain('cancelled');
    await untilIdle(engine);
    expect(await drawAll(engine, drawJob(question, [1]))).toMatchObject([{ kind: 'text' }]);
  });

  test('N3: what the deadline cuts is retryable', async () => {
    const past = drawJob(question, [1], { deadlineAtMs: Date.now() - 1 });
    expect(await drawAll(engine, past)).toMatchObject([{ kind: 'retryable' }]);
    const cut = await drawAll(engine, long({ deadlineAtMs: Date.now() + 50 }));
    expect(cut.map((result) => result.kind)).toContain('retryable');
    await untilIdle(engine);
  });

  test('a killed child: open samples are retryable, health fails, and it stays so', async () => {
    const drawn = drawAll(engine, long());
    await untilBusy(engine);
    process.kill(engine.pid!, 'SIGKILL');
    const lost = (await drawn).filter((result) => result.kind === 'retryable');
    expect(lost.length).toBeGreaterThan(0);
    expect(lost[0]!.reason).toContain('SIGKILL');
    expect(await engine.died).toBe(lost[0]!.reason);
    expect(await engine.health(never)).toEqual({ kind: 'failing', reason: lost[0]!.reason });
    expect(await drawAll(engine, drawJob(question, [1]))).toMatchObject([{ kind: 'retryable' }]);
    expect(await engine.gauges()).toEqual({ running: 0, waiting: 0 });
  });
});

describe('options', () => {
  let texts: readonly string[];
  const job = () => drawJob(question, [1, 2, 3, 4, 5]);

  test('no sharing gives the same tokens; a hf: model that is there needs no network; close cancels', async () => {
    copyFileSync(tiny.path, join(tiny.dir, 'hf_user_repo_tiny.gguf'));
    const stages = new Set<string>();
    const [copying, other] = await Promise.all([
      openLlamaEngine({ name: 'copying', model: tiny.path, slots: 3 }),
      openLlamaEngine({
        name: 'other',
        model: 'hf:user/repo/tiny.gguf',
        modelsDir: tiny.dir,
        slots: 2,
        sharing: 'none',
        onProgress: (stage) => stages.add(stage),
      }),
    ]);
    try {
      texts = await drawTexts(copying, job());
      expect(await drawTexts(other, job())).toEqual(texts);
      expect((await drawUsages(other, job())).map((usage) => usage.cachedTokens)).toEqual([0, 0, 0, 0, 0]);
      expect(stages).toEqual(new Set(['load']));
      const open = drawAll(other, long());
      await untilBusy(other);
      await other.close();
      expect((await open).map((result) => result.kind)).toContain('cancelled');
      expect(await drawAll(other, job())).toContainEqual({ kind: 'cancelled', index: 0 });
    } finally {
      await Promise.all([copying.close(), other.close()]);
    }
  });

  test('sharing by file gives the same tokens; a stop sequence ends an answer before itself', async () => {
    const stop = texts[2]!.slice(4, 7);
    const stopping = await openLlamaEngine({ name: 's', model: tiny.path, slots: 2, sharing: 'file', stop: [stop] });
    try {
      const results = await drawAll(stopping, job());
      const cut = (text: string) => (text.includes(stop) ? text.slice(0, text.indexOf(stop)) : text);
      expect(results).toMatchObject(texts.map((text) => ({ kind: 'text', text: cut(text) })));
      expect(results[2]).toMatchObject({ finishReason: 'stop' });
      expect(stopping.facts.sharing).toBe('file');
    } finally {
      await stopping.close();
    }
  });

  test('a grammar holds each answer to its form', async () => {
    const gbnf = scoreBoxGrammar(3, { criteria: 20, analysis: 30 });
    const held = await openLlamaEngine({ name: 'held', model: tiny.path, slots: 2, grammar: { gbnf } });
    try {
      const form =
        /^Specific Criteria:[^\\]+\n\nAnalysis:[^\\]+\n\nScores: \\boxed\{(10|[1-9]), (10|[1-9]), (10|[1-9])\}$/;
      const results = await drawAll(held, drawJob(question, [1, 2, 3], { maxTokens: 200 }));
      for (const result of results) {
        expect(result).toMatchObject({
          kind: 'text',
          finishReason: 'stop',
          text: expect.stringMatching(form) as string,
        });
      }
    } finally {
      await held.close();
    }
  });
});
