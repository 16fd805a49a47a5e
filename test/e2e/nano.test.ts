// The nano judge as a newcomer meets it: `grm demo` on the sample file, with the models that ship with the package.

import { readFile } from 'node:fs/promises';
import { expect, test } from 'vitest';
import { cliFolder, jsonLines } from '../support/cli.js';

const sample = new URL('../../examples/sample.jsonl', import.meta.url).pathname;

interface Labelled {
  readonly id: string;
  readonly labels?: readonly number[];
}

test('the nano pair judges the sample file: its own families better than chance, every sample in its form, all ranked by its meta RM', async () => {
  await using folder = await cliFolder();
  // Eight samples of a request take a second on two quiet cores; here other tests take them too.
  const { code, out, err } = await folder.run(['demo', sample, '--json', '--set', 'defaults.time_budget_ms=500000']);
  expect(code, err).toBe(0);
  const events = jsonLines(err);
  expect(events.filter(({ event }) => event === 'judge')).toEqual([
    {
      event: 'judge',
      model: expect.stringMatching(/models\/nano\/grm\.gguf$/) as string,
      meta_model: expect.stringMatching(/models\/nano\/meta\.gguf$/) as string,
      nano: true,
    },
  ]);
  expect(events.some(({ event }) => event === 'fake_engine')).toBe(false);
  expect(events.find(({ event }) => event === 'end')).toMatchObject({ rows: 30, samples: 240, failed: 0 });

  const rows = jsonLines(out);
  const items = jsonLines(await readFile(sample, 'utf8')) as unknown as Labelled[];
  expect(rows.map(({ id }) => id)).toEqual(items.map(({ id }) => id));
  let right = 0;
  let chance = 0;
  for (const [at, { id, labels }] of items.entries()) {
    const row = rows[at]!;
    if (!labels) continue;
    expect(row, id).toMatchObject({ vote: 'meta_topk', k: 8, invalid_reason: null });
    expect(row.k_valid, id).toBeGreaterThanOrEqual(4);
    chance += 1 / labels.length;
    if (row.best === labels.indexOf(Math.max(...labels))) right++;
  }
  // Right in about 19 of 27, where chance is right in 12.
  expect(right).toBeGreaterThan(chance + 2);
}, 600_000);
