import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { findingOf } from '../../../src/spct/record.js';
import { RftTally, select } from '../../../src/spct/select.js';
import { sampledItem, trajectory } from '../../support/spct.js';

const right = [9, 2] as const;
const wrong = [2, 9] as const;
const tie = [5, 5] as const;

const trajectories = fc.array(
  fc
    .record({
      what: fc.oneof(
        fc.tuple(fc.integer({ min: 1, max: 10 }), fc.integer({ min: 1, max: 10 })),
        fc.constant('no scores'),
        fc.constant({ reason: 'context_exceeded' } as const),
      ),
      hinted: fc.boolean(),
      swapped: fc.boolean(),
    })
    .map(({ what, hinted, swapped }) => trajectory(what, { hinted, permutation: swapped ? [1, 0] : [0, 1] })),
  { minLength: 1, maxLength: 6 },
);

describe('select', () => {
  it('S1: keeps the correct ones of an item that is neither easy nor hopeless', () => {
    const item = sampledItem([trajectory(right), trajectory(wrong), trajectory(tie), trajectory('nothing')]);
    expect(select(item)).toEqual({ kept: [item.trajectories[0]], tooEasy: false });
  });

  it('S2: drops an item of which all are correct; an invalid one among them makes it worth keeping', () => {
    const easy = sampledItem([trajectory(right), trajectory(right, { index: 1 })]);
    expect(select(easy)).toEqual({ kept: [], tooEasy: true });
    expect(select(easy, true)).toEqual({ kept: easy.trajectories, tooEasy: true });
    const broken = sampledItem([trajectory(right), trajectory('no scores', { index: 1 })]);
    expect(select(broken).kept).toEqual([broken.trajectories[0]]);
  });

  it('S3: a hinted trajectory is rejected only if incorrect, and makes no item easy', () => {
    const hinted = trajectory(right, { hinted: true });
    expect(select(sampledItem([trajectory(right), hinted]))).toEqual({ kept: [hinted], tooEasy: true });
    expect(select(sampledItem([trajectory(wrong), hinted]))).toEqual({ kept: [hinted], tooEasy: false });
    expect(select(sampledItem([trajectory(wrong), trajectory(wrong, { hinted: true })])).kept).toEqual([]);
  });

  it('S1, S2, S3: for any trajectories', () => {
    fc.assert(
      fc.property(trajectories, fc.boolean(), (all, keepEasy) => {
        const item = sampledItem(all);
        const { kept, tooEasy } = select(item, keepEasy);
        for (const each of kept) expect(findingOf(each, item.label)).toBe('correct');
        const correct = all.filter((each) => findingOf(each, item.label) === 'correct');
        const plain = all.filter(({ hinted }) => !hinted);
        const allRight = plain.length > 0 && plain.every((each) => correct.includes(each));
        expect(tooEasy).toBe(allRight);
        expect(kept).toEqual(correct.filter(({ hinted }) => hinted || keepEasy || !allRight));
      }),
    );
  });
});

describe('the report', () => {
  it('adds up: rows to items, trajectories to what became of them', () => {
    fc.assert(
      fc.property(fc.array(trajectories, { maxLength: 8 }), (items) => {
        const tally = new RftTally(false, 2);
        let kept = 0;
        items.forEach((all, at) => (kept += tally.add(sampledItem(all, undefined, { domain: `d${at % 4}` })).length));
        tally.add({ kind: 'failed', error: { kind: 'malformed', message: 'no' } });
        tally.add({ kind: 'no_unique_best' });
        const report = tally.report();
        const sum = (counts: Record<string, number>): number => Object.values(counts).reduce((a, b) => a + b, 0);
        for (const counts of [report, ...Object.values(report.domains)]) {
          const { rows, failed, ...others } = counts.items;
          expect(rows).toBe(sum(others) + sum(failed));
          for (const { drawn, accepted, too_easy: easy, rejected, invalid } of [counts.plain, counts.hinted])
            expect(drawn).toBe(accepted + easy + sum(rejected) + sum(invalid));
        }
        expect(report.plain.accepted + report.hinted.accepted).toBe(kept);
        expect(report.plain.drawn + report.hinted.drawn).toBe(items.flat().length);
        expect(report.items.rows).toBe(items.length + 2);
        // Two domains by name, and "other".
        expect(Object.keys(report.domains).length).toBeLessThanOrEqual(3);
      }),
    );
  });

  it('names reasons, models and tokens', () => {
    const tally = new RftTally(false, 10);
    tally.add(sampledItem([trajectory(right), trajectory(wrong), trajectory(tie), trajectory('x')], undefined, {}));
    tally.add(sampledItem([trajectory([3])], { kind: 'score', n: 1, score: 4 }, { domain: 'maths' }));
    expect(tally.report()).toMatchObject({
      items: { rows: 2, kept: 1, none_correct: 1 },
      plain: { drawn: 5, accepted: 1, rejected: { wrong_best: 1, tie: 1, wrong_score: 1 }, invalid: { no_box: 1 } },
      hinted: { drawn: 0 },
      tokens: { prompt: 500, cached: 400, completion: 250 },
      models: ['judge-1'],
      domains: { maths: { items: { rows: 1 } }, none: { items: { rows: 1 } } },
    });
  });
});
