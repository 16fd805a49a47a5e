import { describe, expect, it } from 'vitest';
import { voteMethods } from '../../../src/grm/query.js';
import type { Verdict } from '../../../src/grm/verdict.js';
import { underQuorum, vote } from '../../../src/grm/vote.js';
import { failed, plan, scored, voteInput } from '../../support/judgement.js';

const samples = [scored(0, [1, 5]), scored(1, [5, 6]), scored(2, [4, 8]), scored(3, [7, 6])];
const allRanked = new Map([
  [0, 2.5],
  [1, -1],
  [2, 0.5],
  [3, -4],
]);

describe('another quorum', () => {
  it('gives the verdict that a vote with it would have given, whatever the method', () => {
    for (const method of voteMethods) {
      for (const rewarded of [allRanked, new Map([[2, 0.5]]), new Map<number, number>()]) {
        const withQuorum = (quorum: number): Verdict =>
          vote(
            voteInput({
              samples: [...samples, failed(4)],
              metaRewards: rewarded,
              expired: true,
              plan: plan({ vote: method, meta: true, k: 8, quorum }),
            }),
          );
        for (const [was, is] of [
          [1, 4],
          [1, 5],
          [5, 4],
          [6, 5],
        ] as const) {
          expect(underQuorum(withQuorum(was), is)).toEqual(withQuorum(is));
        }
      }
    }
  });

  it('counts only where time cut the verdict short, and makes nothing of no valid sample', () => {
    const whole = vote(voteInput({ samples: [failed(0), scored(1, [1, 5])], plan: plan({ k: 2, quorum: 1 }) }));
    expect(underQuorum(whole, 2)).toBe(whole);
    const none = vote(voteInput({ samples: [failed(0)], expired: true, plan: plan({ k: 2, quorum: 1 }) }));
    expect(underQuorum(none, 0)).toBe(none);
  });
});
