import { describe, expect, it } from 'vitest';
import { fault, faults, type FaultKind } from '../../../src/fault.js';
import { vote } from '../../../src/grm/vote.js';
import { limits } from '../../../src/limits.js';
import { endedByTime, samplesOf, Tries, type Outcome } from '../../../src/rpc/again.js';
import { failed, plan, scored, voteInput } from '../../support/judgement.js';

function cut(samples: number, quorum = 2): Outcome {
  const drawn = Array.from({ length: samples }, (_, index) => scored(index, [9, 2]));
  const missing = { notAsked: 0, waiting: 1, unfinished: 3 - samples };
  const input = voteInput({ plan: plan({ k: 4, quorum }), samples: drawn, expired: true, missing });
  return { kind: 'verdict', verdict: vote(input) };
}

describe('what time ended', () => {
  it('AG2: a verdict below its quorum with samples missing is; what the judge said is not', () => {
    expect(endedByTime(cut(1))).toBe(true);
    expect(endedByTime(cut(3))).toBe(false);
    const unreadable = [0, 1, 2, 3].map((index) => failed(index, 'no_box'));
    expect(endedByTime({ kind: 'verdict', verdict: vote(voteInput({ samples: unreadable })) })).toBe(false);
  });

  it('counts the samples that were there', () => {
    expect([cut(0), cut(1), cut(3)].map(samplesOf)).toEqual([0, 1, 3]);
    expect(samplesOf({ kind: 'fault', fault: fault('deadline_exceeded', '') })).toBe(0);
  });

  it('is what the service could not do in time, and never what is wrong with a request or was cancelled', () => {
    const ended = (Object.keys(faults) as FaultKind[]).filter((kind) =>
      endedByTime({ kind: 'fault', fault: fault(kind, '') }),
    );
    expect(ended).toEqual([
      'overloaded',
      'draining',
      'queue_unavailable',
      'clock_off',
      'unreachable',
      'no_engine',
      'deadline_exceeded',
    ]);
  });
});

describe('tries', () => {
  it('AG1, AG3: each has twice the time, up to the longest there is, as long as samples come', () => {
    const tries = new Tries(0);
    const budgets: number[] = [];
    let nowMs = 0;
    for (let budgetMs: number | undefined = 60_000; budgetMs !== undefined;) {
      budgets.push(budgetMs);
      nowMs += budgetMs;
      budgetMs = tries.next(budgets.length, budgetMs, nowMs);
    }
    expect(budgets.slice(0, 8)).toEqual([1, 2, 4, 8, 16, 32, 60, 60].map((minutes) => minutes * 60_000));
    expect(budgets).toHaveLength(limits.againTriesMax);
  });

  it('AG3: they end when no new sample came for long', () => {
    const tries = new Tries(0);
    expect(tries.next(1, 1_000, 1_000)).toBe(2_000);
    expect(tries.next(1, 2_000, 1_000 + limits.againWithoutSampleMs - 1)).toBe(4_000);
    expect(tries.next(1, 4_000, 1_000 + limits.againWithoutSampleMs)).toBeUndefined();
  });

  it('the time without engines does not count', () => {
    const tries = new Tries(0);
    tries.resumed(limits.againWithoutSampleMs);
    expect(tries.next(0, 1_000, limits.againWithoutSampleMs + 1_000)).toBe(2_000);
  });
});
