import fc from 'fast-check';
import { existsSync, readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { parseFirstLine } from '../../../src/grm/first-line.js';

describe('a first line of scores', () => {
  it.each<[string, number, readonly number[]]>([
    ['9 8.5\nBoth assistants were helpful.', 2, [9, 8.5]],
    ['9, 8\n\nfine', 2, [9, 8]],
    ['  8   9  \r\nfine', 2, [8, 9]],
    ['\n\n7 10', 2, [7, 10]],
    ['9/10 8/10\nfine', 2, [9, 8]],
    ['**9 8**\nfine', 2, [9, 8]],
    ['6', 1, [6]],
    ['1 2 3 4', 4, [1, 2, 3, 4]],
  ])('%j', (text, n, expected) => {
    expect(parseFirstLine(text, n)).toEqual({ kind: 'scores', scores: expected });
  });

  it.each<[string, string]>([
    ['', 'no_box'],
    ['First, I will solve the problem.\n9 8', 'no_box'],
    ['Assistant 1: 9\nAssistant 2: 8', 'no_box'],
    ['9\n8', 'wrong_count'],
    ['9 8 7', 'wrong_count'],
    ['0 9\nfine', 'out_of_range'],
    ['9 -1', 'out_of_range'],
    ['9 11', 'out_of_range'],
    ['9 - 8', 'not_a_number'],
    ['9.5.1 8', 'not_a_number'],
  ])('%j is invalid: %s', (text, reason) => {
    expect(parseFirstLine(text, 2)).toMatchObject({ kind: 'invalid', reason });
  });

  it('P7: no text throws, and scores are n numbers within 1..10', () => {
    fc.assert(
      fc.property(
        fc.oneof(fc.string(), fc.stringMatching(/^[0-9 .,/-]*$/)),
        fc.integer({ min: 1, max: 4 }),
        (text, n) => {
          const read = parseFirstLine(text, n);
          if (read.kind === 'invalid') return;
          expect(read.scores).toHaveLength(n);
          for (const score of read.scores) expect(score >= 1 && score <= 10).toBe(true);
        },
      ),
    );
  });
});

const reviewsDir = join(import.meta.dirname, '../../../../shared/data/fastchat-reviews/reviews');
const here = existsSync(reviewsDir);
if (!here)
  console.log(
    `first-line.test.ts: ${reviewsDir} is not there; the 400 recorded reviews are NOT checked, only the cases above are.`,
  );

interface Review {
  readonly question_id: number;
  readonly text: string;
  readonly score: readonly number[];
}

describe.runIf(here)('every recorded review (shared/data/fastchat-reviews)', () => {
  /** Texts that do not begin with a line of scores: people read these scores out of the prose when the data was made. */
  const prose: Readonly<Record<string, readonly number[]>> = {
    'gpt-3.5-turbo_review_gpt35_vicuna-13b-20230322-new-hp-fp16.jsonl': [61, 62, 63, 65, 66, 67, 68, 69, 70],
    'review_alpaca-13b_vicuna-13b-20230322-clean-lang.jsonl': [68, 69, 70],
    'review_bard_vicuna-13b-20230322-clean-lang.jsonl': [68, 69, 70],
    'review_gpt35_vicuna-13b-20230322-clean-lang.jsonl': [68, 69, 70],
    'review_llama-13b_vicuna-13b-20230322-clean-lang.jsonl': [68, 69, 70],
  };

  it('reads the recorded scores wherever the first line holds them, and none elsewhere', () => {
    const tally = { equal: 0, belowScale: 0, prose: 0 };
    for (const file of readdirSync(reviewsDir).sort()) {
      for (const line of readFileSync(join(reviewsDir, file), 'utf8').trim().split('\n')) {
        const review = JSON.parse(line) as Review;
        const read = parseFirstLine(review.text, 2);
        const name = `${file} question ${review.question_id}`;
        if (prose[file]?.includes(review.question_id) === true) {
          expect(read, name).toMatchObject({ kind: 'invalid', reason: 'no_box' });
          tally.prose += 1;
        } else if (review.score.some((score) => score < 1)) {
          // One judge wrote "0 9" on a scale from 1 to 10.
          expect(read, name).toMatchObject({ kind: 'invalid', reason: 'out_of_range' });
          tally.belowScale += 1;
        } else {
          expect(read, name).toEqual({ kind: 'scores', scores: review.score });
          tally.equal += 1;
        }
      }
    }
    expect(tally).toEqual({ equal: 378, belowScale: 1, prose: 21 });
  });
});
