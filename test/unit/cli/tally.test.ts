import { expect, it } from 'vitest';
import type { ValidVerdict } from '../../../src/grm/verdict.js';
import { Tally } from '../../../src/cli/tally.js';
import { aVerdict } from '../../support/work-values.js';

it('names the verdicts that say little: ties, low agreement, invalid samples; one response has nothing to agree on', () => {
  const { agreement: _, ...single } = aVerdict('single', { kValid: 8 });
  const tally = new Tally();
  const note = (name: string, more: Partial<ValidVerdict>): void =>
    tally.note(name, { ...single, agreement: 1, ...more });
  note('sure', { agreement: 0.76 });
  note('split', { agreement: 0.75 });
  note('tied', { tie: true });
  tally.note('single', single);
  note('whole', { kValid: 7 });
  note('broken', { kValid: 6 });
  note('stopped', {
    kValid: 4,
    stopping: { stop: { rule: 'outcome_fixed' }, kDrawn: 4, samplesSaved: 4, stopped: 'outcome_fixed' },
  });
  expect(tally.text()).toMatch(
    /^3 of 7 verdicts are in doubt \(a tie, or 25% or more .* invalid or missing\): split, tied, broken$/,
  );
  expect(tally.doubtful).toBe(3);
});

it('names no more than a line holds', () => {
  const tally = new Tally();
  for (let at = 0; at < 13; at++) tally.note(`row-${at}`, aVerdict(`row-${at}`, { agreement: 0, kValid: 8 }));
  expect(tally.text()).toMatch(/: row-0, .*, row-9, and 3 more$/);
});
