// The trainer reads scores in Python (services/trainer/grm_trainer/scores.py) and is tested with the same golden file, so that both readers agree.

import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { parseOutput } from '../../../src/grm/parse.js';

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
