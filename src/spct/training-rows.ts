// Training rows: what trainers read, one object per kept trajectory or, for RL, per item. Every row of a file has the same keys, and a key one
// type: no null, since readers that fix a column's type by the first rows fail on one that is null there and a text later.

import { renderMetaPrompt, renderPrompt, type MetaTemplate, type PromptMessage, type Template } from '../grm/prompt.js';
import type { ItemHead } from './item.js';
import { labelsOf } from './label.js';
import { findingOf, type SampledItem, type Trajectory } from './record.js';
import { itemKey, type Split } from './split.js';

/** How the lines of our files begin, so that no other file is written over. */
export const rftHead = '{"source":"spct_rft",';
export const metaHead = '{"source":"spct_meta",';
/** Trainers hand every column on to the reward, so these rows name no source; no file of others begins like this. */
export const promptsHead = '{"permutation":[';

/** A text where there is none, too: a column has one type. */
function names({ id = '', domain = '' }: ItemHead) {
  return { id, domain };
}

function heads(item: SampledItem, { sample, hinted, requestId }: Trajectory) {
  return {
    item: itemKey(item.content),
    ...names(item),
    sample: sample.index,
    hinted,
    request_id: requestId,
    model: sample.model,
    template_hash: sample.templateHash,
  };
}

/**
 * A row of chat fine-tuning. The prompt is what the model was asked, without the hint if it had one: the GRM will be asked without.
 * `n`, `labels` and `permutation` are what a reward row needs (reward.ts).
 */
export function rftRow(item: SampledItem, trajectory: Trajectory, template: Template): Record<string, unknown> {
  const { sample } = trajectory;
  const prompt = promptOf(item, trajectory, template);
  return {
    source: 'spct_rft',
    messages: [...prompt, { role: 'assistant', content: sample.text } satisfies PromptMessage],
    ...heads(item, trajectory),
    n: item.label.n,
    labels: labelsOf(item.label),
    permutation: sample.permutation,
  };
}

/** Without the hint, whoever had one. */
function promptOf(item: SampledItem, { sample, nonce }: Trajectory, template: Template): readonly PromptMessage[] {
  const { hintedBest: _, ...content } = item.content;
  return renderPrompt(template, { content, permutation: sample.permutation, nonce });
}

/** The trajectory whose prompt stands for the item in RL: the first. Undefined when it does not fit the judge's context: nothing can be drawn from it. */
export function promptSource({ trajectories: [first] }: SampledItem): Trajectory | undefined {
  return first?.sample.kind === 'invalid' && first.sample.reason === 'context_exceeded' ? undefined : first;
}

/** A row of the prompt set for RL: the prompt as it was asked, and what a reward row needs. */
export function promptRow(item: SampledItem, source: Trajectory, template: Template): Record<string, unknown> {
  return {
    permutation: source.sample.permutation,
    labels: labelsOf(item.label),
    n: item.label.n,
    ...names(item),
    prompt: promptOf(item, source, template),
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
