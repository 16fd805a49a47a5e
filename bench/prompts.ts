// The prompts that the cluster draws for a request of the bench, for what drives an engine directly.

import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { permutations } from '../src/grm/permute.js';
import { parseTemplate, renderPrompt, type PromptMessage } from '../src/grm/prompt.js';
import type { ScoreRequest } from '../src/rpc/client.js';
import { packageRoot } from '../src/process/version.js';

export interface BenchPrompt {
  readonly messages: readonly PromptMessage[];
  /** `order[place]` is the response shown there. */
  readonly order: readonly number[];
  /** Of the k, so many are drawn with this prompt. */
  readonly samples: number;
}

/** One prompt for each order of the responses. */
export function promptsOf(
  { query, responses }: Pick<ScoreRequest, 'responses'> & { readonly query: string },
  k: number,
  nonce: string,
): readonly BenchPrompt[] {
  const content = { messages: [{ role: 'user' as const, content: query }], responses, principles: [] };
  const samplesOf = new Map<string, { readonly order: readonly number[]; samples: number }>();
  for (const order of permutations(responses.length, k, 0)) {
    const known = samplesOf.get(order.join());
    if (known) known.samples++;
    else samplesOf.set(order.join(), { order, samples: 1 });
  }
  return [...samplesOf.values()].map(({ order, samples }) => ({
    messages: renderPrompt(template(), { content, permutation: order, nonce }),
    order,
    samples,
  }));
}

let parsed: ReturnType<typeof parseTemplate> | undefined;

function template() {
  parsed ??= parseTemplate(readFileSync(join(packageRoot, 'templates', 'grm-default.txt'), 'utf8'));
  if (parsed.kind !== 'ok') throw new Error('templates/grm-default.txt does not parse');
  return parsed.template;
}
