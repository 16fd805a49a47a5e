import { describe, expect, it } from 'vitest';
import { FaultPlan, parseFault, readFaults } from '../../../services/fake-engine/faults.js';

describe('faults', () => {
  it('F1: counted faults come first, in order, and run out', () => {
    const plan = new FaultPlan(
      [
        { kind: 'slow', probability: 1 },
        { kind: '500', next: 2 },
        { kind: 'cut', next: 1, on: 'meta' },
      ],
      1,
    );
    const drawn = [0, 1, 2].map(() => plan.choose('generate')?.kind);
    expect(drawn).toEqual(['500', '500', 'slow']);
    expect(plan.choose('meta')?.kind).toBe('cut');
    expect(plan.choose('meta')?.kind).toBe('slow');
    expect(plan.pending).toEqual([{ kind: 'slow', probability: 1 }]);
    expect(plan.fired).toMatchObject({ '500': 2, cut: 1, slow: 2 });
  });

  it('F2: the dice are seeded and fair', () => {
    const series = (seed: number) => {
      const plan = new FaultPlan([{ kind: 'hang', probability: 0.2 }], seed);
      return Array.from({ length: 1_000 }, () => plan.choose('generate')?.kind ?? '-').join('');
    };
    expect(series(1)).toBe(series(1));
    expect(series(1)).not.toBe(series(2));
    expect(Math.abs(series(1).split('hang').length - 1 - 200)).toBeLessThan(60);
  });

  it('are read from JSON and from the command line, or refused with what is wrong', () => {
    expect(readFaults({ faults: [{ kind: 429, next: 3, retryAfterSeconds: 2 }] })).toEqual([
      { kind: '429', next: 3, retryAfterSeconds: 2 },
    ]);
    expect(readFaults([{ kind: 'melt', next: 1 }])).toContain('kind is one of');
    expect(readFaults([{ kind: 'cut' }])).toContain('next or probability');
    expect(readFaults([{ kind: 'cut', probability: 2 }])).toContain('0..1');
    expect(readFaults([{ kind: 'cut', next: 1, when: 'now' }])).toContain('unknown field when');
    expect(readFaults('cut')).toContain('expected');
    expect(parseFault('slow:0.1,delayMs=50,on=meta')).toEqual({
      kind: 'slow',
      probability: 0.1,
      delayMs: 50,
      on: 'meta',
    });
    expect(parseFault('500:next=3')).toEqual({ kind: '500', next: 3 });
    expect(parseFault('500:often')).toContain('500:often');
  });
});
