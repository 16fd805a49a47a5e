// What sharing a prompt between its samples gives: samples/s and tokens/s of the embedded engine at 1, 4 and 8 sequences.
//
//   node dist/bench/llama-sharing.js MODEL.gguf [tokens per sample]
//
// One request of 8 samples at a time, a prompt of about 400 tokens that the engine has not seen, then the same prompt again (warm).
// On a busy machine trust the child's CPU seconds (Linux), not the rates. It does not measure: several requests at once, long contexts, GPUs, or the worker around the engine.

import { existsSync } from 'node:fs';
import { openLlamaEngine, type LlamaEngine } from '../src/engine/llama.js';
import type { LlamaSharing } from '../src/engine/llama-protocol.js';
import { cpuSeconds } from './proc.js';
import { refuse } from './usage.js';

const SAMPLES = 8;

interface Run {
  readonly seconds: number;
  /** Of the child; NaN where there is no /proc. */
  readonly cpuSeconds: number;
  readonly promptTokens: number;
  readonly cachedTokens: number;
  readonly completionTokens: number;
}

async function draw(engine: LlamaEngine, prompt: string, maxTokens: number): Promise<Run> {
  const startMs = performance.now();
  const startCpu = cpuSeconds(engine.pid ?? 0);
  const sum = { promptTokens: 0, cachedTokens: 0, completionTokens: 0 };
  await engine.draw(
    {
      messages: [{ role: 'user', content: prompt }],
      samples: Array.from({ length: SAMPLES }, (_, index) => ({ index, seed: 1000 + index })),
      temperature: 0.7,
      topP: 1,
      maxTokens,
      deadlineAtMs: Date.now() + 600_000,
      priority: 0,
      requestId: 'bench',
    },
    (result) => {
      if (result.kind !== 'text') throw new Error(JSON.stringify(result));
      sum.promptTokens += result.usage.promptTokens;
      sum.cachedTokens += result.usage.cachedTokens;
      sum.completionTokens += result.usage.completionTokens;
    },
    new AbortController().signal,
  );
  return { seconds: (performance.now() - startMs) / 1000, cpuSeconds: cpuSeconds(engine.pid ?? 0) - startCpu, ...sum };
}

function promptOf(nonce: number): string {
  const facts = Array.from({ length: 26 }, (_, at) => `Fact ${at}: the river number ${at * 7} flows past a town.`);
  return `Case ${nonce}. Judge the two answers below and explain at length.\n${facts.join('\n')}\nWrite a long critique of both.`;
}

function line(sharing: LlamaSharing, slots: number, state: string, run: Run): string {
  const rate = (count: number): string => (count / run.seconds).toFixed(count > 100 ? 1 : 3).padStart(8);
  const cells = [
    sharing.padEnd(5),
    String(slots).padStart(2),
    state.padEnd(5),
    rate(SAMPLES),
    rate(run.completionTokens),
  ];
  return `${cells.join('  ')}  ${String(run.promptTokens / SAMPLES).padStart(6)}  ${String(run.cachedTokens).padStart(7)}  ${run.seconds.toFixed(1).padStart(7)}  ${run.cpuSeconds.toFixed(1)}`;
}

const [model, tokens] = process.argv.slice(2);
if (model === undefined) refuse('usage: node dist/bench/llama-sharing.js MODEL.gguf [tokens per sample]');
if (!existsSync(model)) refuse(`MODEL ${model}: there is no such file`);
const maxTokens = Number(tokens ?? 64);
if (!(maxTokens > 0)) refuse(`tokens per sample ${tokens}: expected a number above 0`);
console.log('share  sequences  state  samples/s  tokens/s  prompt  cached  seconds  CPU s');
for (const slots of [1, 4, 8]) {
  for (const sharing of ['none', 'copy', 'file'] as const) {
    const engine = await openLlamaEngine({ name: 'bench', model, slots, contextTokens: 1024, sharing });
    try {
      await draw(engine, 'warm up', 4);
      console.log(line(sharing, slots, 'cold', await draw(engine, promptOf(slots), maxTokens)));
      if (sharing !== 'none') console.log(line(sharing, slots, 'warm', await draw(engine, promptOf(slots), maxTokens)));
    } finally {
      await engine.close();
    }
  }
}
