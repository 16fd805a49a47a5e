// Training rows: what trainers read, one object per kept trajectory. Every row of a file has the same keys, and a key one type.

import { renderMetaPrompt, renderPrompt, type MetaTemplate, type PromptMessage, type Template } from '../grm/prompt.js';
import { labelColumns } from './label.js';
import { findingOf, type SampledItem, type Trajectory } from './record.js';
import { itemKey, type Split } from './split.js';

/** How the lines of our files begin, so that no other file is written over. */
export const rftHead = '{"source":"spct_rft",';
export const metaHead = '{"source":"spct_meta",';

function heads(item: SampledItem, { sample, hinted, requestId }: Trajectory) {
  return {
    item: itemKey(item.content),
    id: item.id ?? null,
    domain: item.domain ?? null,
    sample: sample.index,
    hinted,
    request_id: requestId,
    model: sample.model,
    template_hash: sample.templateHash,
  };
}

/**
 * A row of chat fine-tuning. The prompt is what the model was asked, without the hint if it had one: the GRM will be asked without.
 * `n`, `best`, `labels` and `permutation` are what a reward row needs (reward.ts).
 */
export function rftRow(item: SampledItem, trajectory: Trajectory, template: Template): Record<string, unknown> {
  const { sample, nonce } = trajectory;
  const { hintedBest: _, ...content } = item.content;
  const prompt = renderPrompt(template, { content, permutation: sample.permutation, nonce });
  return {
    source: 'spct_rft',
    messages: [...prompt, { role: 'assistant', content: sample.text } satisfies PromptMessage],
    ...heads(item, trajectory),
    ...labelColumns(item.label),
    permutation: sample.permutation,
  };
}

/** A row for the meta RM, before it is known which part it belongs to; undefined for a trajectory that no meta RM will ever see. */
export interface MetaRow {
  readonly label: 0 | 1;
  columns(split: Split, weight: number): Record<string, unknown>;
}

/** Hinted trajectories are not what the GRM writes by itself, and invalid ones are never ranked: neither makes a row. */
export function metaRow(item: SampledItem, trajectory: Trajectory, template: MetaTemplate): MetaRow | undefined {
  const { sample, hinted, nonce } = trajectory;
  if (hinted || sample.kind !== 'scored') return undefined;
  const label = findingOf(trajectory, item.label) === 'correct' ? 1 : 0;
  return {
    label,
    columns: (split, weight) => {
      const { messages, text } = renderMetaPrompt(template, { content: item.content, sample, nonce });
      return {
        source: 'spct_meta',
        prompt: messages,
        completion: [{ role: 'assistant', content: label === 1 ? 'Yes' : 'No' } satisfies PromptMessage],
        text,
        label,
        weight,
        split,
        ...heads(item, trajectory),
      };
    },
  };
}
