import { describe, expect, it } from 'vitest';
import { take } from '../../../src/cli/spct-sample.js';
import { vote } from '../../../src/grm/vote.js';
import { failed, plan, scored, voteInput } from '../../support/judgement.js';
import type { Sample } from '../../../src/grm/sample.js';

const right = (index: number): Sample => scored(index, [9, 2], { text: 'Scores: \\boxed{9, 2}' });

function verdictOf(samples: readonly Sample[]) {
  return vote(voteInput({ plan: plan({ k: 3, quorum: 3 }), samples }));
}

describe('what is taken of a verdict', () => {
  it('K3: all samples, correct or not', () => {
    const samples = [right(0), right(1), failed(2, 'no_box')];
    const taken = take(verdictOf(samples), false, 3);
    expect(Array.isArray(taken) && taken.map(({ sample }) => sample)).toEqual(samples);
  });

  it.each(['engine_failed', 'dead_letter'] as const)('K3: nothing when one of them is a %s', (reason) => {
    const taken = take(verdictOf([right(0), right(1), failed(2, reason)]), false, 3);
    expect(taken).toBe(`1 of 3 samples could not be drawn (${reason}: ${reason})`);
  });

  it('K3: nothing when some did not come', () => {
    expect(take(verdictOf([right(0), right(1)]), false, 3)).toBe('2 of 3 samples came within the time');
  });
});
