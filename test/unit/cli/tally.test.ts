import { expect, it } from 'vitest';
import { Tally } from '../../../src/cli/tally.js';
import { aVerdict } from '../../support/work-values.js';

it('names the verdicts that say little: ties and low agreement; one response has nothing to agree on', () => {
  const { agreement: _, ...single } = aVerdict('single');
  const tally = new Tally();
  tally.note('sure', aVerdict('sure', { agreement: 0.75 }));
  tally.note('split', aVerdict('split', { agreement: 0.7 }));
  tally.note('tied', aVerdict('tied', { agreement: 1, tie: true }));
  tally.note('single', single);
  expect(tally.doubtful).toBe(2);
  expect(tally.text()).toMatch(/^2 of 4 verdicts are in doubt \(a tie, or less than 75% .*\): split, tied$/);
});

it('names no more than a line holds', () => {
  const tally = new Tally();
  for (let at = 0; at < 13; at++) tally.note(`row-${at}`, aVerdict(`row-${at}`, { agreement: 0 }));
  expect(tally.text()).toMatch(/: row-0, .*, row-9, and 3 more$/);
});
