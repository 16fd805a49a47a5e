import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { parseMetaTemplate, parseTemplate, renderPrompt } from '../../../src/grm/prompt.js';
import { packageRoot } from '../../../src/process/version.js';
import { readItem } from '../../../src/spct/item.js';
import { readRewardRow, ruleReward } from '../../../src/spct/reward.js';
import {
  metaRow,
  metaHead,
  promptRow,
  promptsHead,
  promptSource,
  rftHead,
  rftRow,
} from '../../../src/spct/training-rows.js';
import { sampledItem, trajectory } from '../../support/spct.js';

function textOf(name: string): string {
  return readFileSync(join(packageRoot, 'templates', name), 'utf8');
}

const grm = parseTemplate(textOf('grm-default.txt'));
const meta = parseMetaTemplate(textOf('meta-default.txt'));
if (grm.kind !== 'ok' || meta.kind !== 'ok') throw new Error('the default templates are wrong');
const [template, metaTemplate] = [grm.template, meta.template];

interface Turn {
  readonly role: string;
  readonly content: string;
}

describe('a row of fine-tuning', () => {
  const item = sampledItem([trajectory([2, 9], { permutation: [1, 0] })], undefined, { id: 'i', domain: 'd' });
  const [only] = item.trajectories;

  it('is the prompt that was asked, and the output as it came', () => {
    const row = rftRow(item, only!, template) as { messages: Turn[] };
    const asked = renderPrompt(template, { content: item.content, permutation: [1, 0], nonce: only!.nonce });
    expect(row.messages).toEqual([...asked, { role: 'assistant', content: only!.sample.text }]);
    expect(JSON.stringify(row).startsWith(rftHead)).toBe(true);
  });

  it('has no hint, whoever had one', () => {
    const { sample, ...rest } = only!;
    const hintedItem = { ...item, content: { ...item.content, hintedBest: 0 } };
    const row = rftRow(hintedItem, { ...rest, sample, hinted: true }, template) as { messages: Turn[] };
    expect(row.messages).toEqual(rftRow(item, only!, template).messages);
    expect(JSON.stringify(row.messages)).not.toContain('is the best one');
  });

  it('has the same keys for one response and for many, and holds what a reward row needs', () => {
    const single = sampledItem([trajectory([7])], { kind: 'score', n: 1, score: 7 });
    const rows = [rftRow(item, only!, template), rftRow(single, single.trajectories[0]!, template)];
    expect(typesOf(rows[0]!)).toEqual(typesOf(rows[1]!));
    expect(rows[0]).toMatchObject({ id: 'i', domain: 'd', n: 2, labels: [1, 0] });
    expect(rows[1]).toMatchObject({ id: '', domain: '', n: 1, labels: [7] });
    for (const row of rows) {
      const { messages, n, labels, permutation } = row as { messages: Turn[] } & Record<string, unknown>;
      const read = readRewardRow({ completion: messages.slice(-1), n, labels, permutation });
      expect(read.kind === 'row' && ruleReward(read.row).reward).toBe(1);
    }
  });

  it('has an id and labels that an item reads again', () => {
    for (const { id, domain, labels } of [
      rftRow(item, only!, template),
      rftRow({ ...item, id: '' }, only!, template),
    ]) {
      const read = readItem({ query: 'Q?', responses: ['a', 'b'], id, domain, labels });
      expect(read).toMatchObject({ kind: 'item', item: { label: item.label } });
    }
  });
});

/** Every key's type: a column that is null in one row and a text in another has two. */
function typesOf(row: Record<string, unknown>): readonly string[] {
  return Object.entries(row).map(([key, value]) => `${key}: ${value === null ? 'null' : typeof value}`);
}

describe('a row of the prompt set', () => {
  const hinted = trajectory([9, 2], { hinted: true });
  const item = sampledItem([trajectory('wrong', { permutation: [1, 0] }), trajectory([9, 2], { index: 1 }), hinted]);

  it("is the first sample's prompt, right or wrong, and what a reward row needs", () => {
    const source = promptSource(item)!;
    expect(source).toBe(item.trajectories[0]);
    const row = promptRow(item, source, template);
    const asked = renderPrompt(template, { content: item.content, permutation: [1, 0], nonce: source.nonce });
    expect(row).toEqual({ id: '', domain: '', prompt: asked, n: 2, labels: [1, 0], permutation: [1, 0] });
    expect(JSON.stringify(row).startsWith(promptsHead)).toBe(true);
    const { n, labels, permutation } = row;
    const completion = trajectory([2, 9]).sample.text;
    const read = readRewardRow({ completion, n, labels, permutation });
    expect(read.kind === 'row' && ruleReward(read.row)).toEqual({ reward: 1, scores: [9, 2] });
  });

  it('has the same types for one response, and no hint', () => {
    const single = sampledItem([trajectory([7])], { kind: 'score', n: 1, score: 7 }, { id: 'i', domain: 'd' });
    const row = promptRow(single, single.trajectories[0]!, template);
    expect(row).toMatchObject({ id: 'i', domain: 'd', n: 1, labels: [7], permutation: [0] });
    const told = { ...item, content: { ...item.content, hintedBest: 0 } };
    const plain = promptRow(told, hinted, template);
    expect(JSON.stringify(plain)).not.toContain('is the best one');
    expect(typesOf(plain)).toEqual(typesOf(row));
  });

  it('is not made of a prompt that does not fit', () => {
    expect(promptSource(sampledItem([trajectory({ reason: 'context_exceeded' })]))).toBeUndefined();
  });
});

describe('a row for the meta RM', () => {
  it('is what the meta RM will be asked, labelled by the rule', () => {
    const item = sampledItem([trajectory([9, 2]), trajectory([2, 9], { index: 1 }), trajectory([5, 5], { index: 2 })]);
    const rows = item.trajectories.map((each) => metaRow(item, each, metaTemplate));
    expect(rows.map((row) => row?.label)).toEqual([1, 0, 0]);
    const columns = rows[0]!.columns('test', 0.5) as { prompt: Turn[]; completion: Turn[]; text: string };
    expect(columns).toMatchObject({
      id: '',
      domain: '',
      label: 1,
      split: 'test',
      weight: 0.5,
      completion: [{ content: 'Yes' }],
    });
    expect(columns.prompt.map(({ role }) => role)).toEqual(['system', 'user']);
    for (const text of [columns.prompt[1]!.content, columns.text]) {
      expect(text).toContain('response 0');
      expect(text).toContain('Scores: \\boxed{9, 2}');
    }
    expect(JSON.stringify(columns).startsWith(metaHead)).toBe(true);
  });

  it('is not made of a hinted trajectory, nor of an invalid one', () => {
    const item = sampledItem([trajectory([9, 2], { hinted: true }), trajectory('nothing'), trajectory([2, 9])]);
    expect(item.trajectories.map((each) => metaRow(item, each, metaTemplate))).toEqual([
      undefined,
      undefined,
      expect.anything(),
    ]);
  });
});
