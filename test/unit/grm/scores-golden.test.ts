// The trainer reads scores in Python (services/trainer/grm_trainer/scores.py) and is tested with the same golden file, so that both readers agree.

import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { parseOutput } from '../../../src/grm/parse.js';
import { reasoningDefaults } from '../../../src/grm/reasoning.js';
import * as words from '../../../src/grm/score-words.js';

interface Row {
  readonly text: string;
  readonly n: number;
  readonly finish: string;
  /** In the order shown; null = invalid. */
  readonly scores: readonly number[] | null;
}

const rows = JSON.parse(readFileSync(join(import.meta.dirname, '../../golden/scores.json'), 'utf8')) as readonly Row[];

describe('scores that the trainer reads too', () => {
  it.each(rows)('$finish: $text', ({ text, n, finish, scores }) => {
    const parsed = parseOutput(text, n, finish);
    expect(parsed.kind === 'scores' ? parsed.shownScores : null).toEqual(scores);
  });
});

it('the words are the same: the trainer reads them from a file that is written here', async () => {
  const patterns = Object.fromEntries(
    Object.entries(words).map(([name, { source, flags }]) => [name, { source, flags: flags.replace(/[^im]/g, '') }]),
  );
  await expect(`${JSON.stringify({ patterns, reasoning: reasoningDefaults }, undefined, 1)}\n`).toMatchFileSnapshot(
    '../../../services/trainer/grm_trainer/score_words.json',
  );
});
