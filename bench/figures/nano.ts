// The nano judge in the cluster, beside the same model driven directly.

import { existsSync } from 'node:fs';
import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { openLlamaEngine } from '../../src/engine/llama.js';
import { parseTemplate, renderPrompt, type Template } from '../../src/grm/prompt.js';
import { permutations } from '../../src/grm/permute.js';
import type { Content } from '../../src/grm/query.js';
import { packageRoot } from '../../src/process/version.js';
import { startCluster } from '../cluster.js';
import type { Measurement } from '../figure.js';

const k = 8;
const rows = 8;
const maxTokens = 320;
const name = 'tokens through the cluster';
const model = join(packageRoot, 'models', 'nano', 'grm.gguf');
/** Those of `grm up`. */
const engine = { slots: 8, contextTokens: 1_024, warmPrompts: 4, threads: 1 };

interface Row {
  readonly query: string;
  readonly responses: readonly string[];
}

export const nano: Measurement = {
  name: 'nano',
  title: 'The embedded nano judge',
  words:
    `Tokens per second that the nano judge generates for ${rows} rows of examples/sample.jsonl, k = ${k}, through a cluster with one worker. Ceiling: the ` +
    'same engine driven directly with the same prompts, as many at once.',
  notMeasured: ['models on GPUs: no GPU is used'],
  usualSeconds: 76,
  budgetSeconds: 100,
  figures: [{ name, unit: '1/s', bar: { of: 'ratio', is: 'at least', limit: 0.9 } }],
  measure: async ({ found }) => {
    if (!existsSync(model)) throw new Error(`${model} is missing`);
    const lines = (await readFile(join(packageRoot, 'examples', 'sample.jsonl'), 'utf8')).trimEnd().split('\n');
    const asked = lines.slice(0, rows).map((line) => JSON.parse(line) as Row);
    const direct = await driven(asked);
    const through = await scored(asked);
    found(name, through, direct);
  },
};

async function scored(asked: readonly Row[]): Promise<number> {
  const { slots, contextTokens, warmPrompts, threads } = engine;
  await using cluster = await startCluster({
    workers: 1,
    engines: () => [{ kind: 'llama', model, slots, context_tokens: contextTokens, warm_prompts: warmPrompts, threads }],
    set: ['templates.grm=nano', `defaults.max_tokens=${maxTokens}`],
  });
  const requests = asked.map(({ query, responses }) => ({
    query,
    responses,
    k,
    vote: 'sum' as const,
    detail: 'rewards' as const,
  }));
  await cluster.client.score({ ...requests[0]!, seed: 1 });
  const startedAt = performance.now();
  let tokens = 0;
  for await (const result of cluster.client.scoreMany(requests)) {
    if (result.kind === 'fault') throw new Error(result.fault.message);
    tokens += result.verdict.usage.completionTokens;
  }
  return tokens / ((performance.now() - startedAt) / 1_000);
}

async function driven(asked: readonly Row[]): Promise<number> {
  const template = parseTemplate(await readFile(join(packageRoot, 'templates', 'grm-nano.txt'), 'utf8'));
  if (template.kind !== 'ok') throw new Error('the nano template does not parse');
  const opened = await openLlamaEngine({ name: 'direct', model, ...engine });
  let tokens = 0;
  const draw = (row: Row, permutation: readonly number[], indexes: readonly number[], seed: number): Promise<void> =>
    opened.draw(
      {
        messages: messagesOf(template.template, row, permutation),
        samples: indexes.map((index) => ({ index, seed: seed + index })),
        temperature: 0.5,
        topP: 1,
        maxTokens,
        deadlineAtMs: Date.now() + 600_000,
        priority: 0,
        requestId: 'bench',
        scoreCount: row.responses.length,
      },
      (result) => {
        if (result.kind !== 'text') throw new Error(`the engine did not draw: ${JSON.stringify(result)}`);
        tokens += result.usage.completionTokens;
      },
      new AbortController().signal,
    );
  /** As the cluster does it: samples that see the responses in one order share a prompt. */
  const score = async (row: Row, seed: number): Promise<void> => {
    const orders = new Map<readonly number[], number[]>();
    permutations(row.responses.length, k, 0).forEach((order, index) => {
      orders.set(order, [...(orders.get(order) ?? []), index]);
    });
    await Promise.all([...orders].map(([order, indexes]) => draw(row, order, indexes, seed)));
  };
  try {
    await score(asked[0]!, 1_000_000);
    tokens = 0;
    const startedAt = performance.now();
    await Promise.all(asked.map((row, at) => score(row, at * k)));
    return tokens / ((performance.now() - startedAt) / 1_000);
  } finally {
    await opened.close();
  }
}

function messagesOf(template: Template, { query, responses }: Row, permutation: readonly number[]) {
  const content: Content = { messages: [{ role: 'user', content: query }], responses, principles: [] };
  return renderPrompt(template, { content, permutation, nonce: '0f1e2d3c' });
}
