import { describe, expect, it } from 'vitest';
import { lostText, readRecord, recordColumns, type ItemRecord } from '../../../src/spct/record.js';
import { RftTally } from '../../../src/spct/select.js';
import { content } from '../../support/judgement.js';
import { sampledItem, trajectory } from '../../support/spct.js';

function again(record: ItemRecord) {
  return readRecord(JSON.parse(JSON.stringify(recordColumns(record))));
}

describe('a record', () => {
  it('T1, T2: is read as it was written, and its outputs are judged anew', () => {
    const item = sampledItem(
      [
        trajectory([9, 2]),
        trajectory([2, 9], { index: 1, permutation: [1, 0] }),
        trajectory('no scores', { index: 2 }),
        trajectory({ reason: 'context_exceeded' }, { index: 3 }),
        trajectory([9, 2], { hinted: true }),
      ],
      undefined,
      {
        id: '7',
        domain: 'maths',
        content: content(['a', 'b'], { reference: 'r', principles: [{ text: 'short', weightPercent: 3 }] }),
      },
    );
    expect(again(item)).toEqual({ kind: 'record', record: item });
    const columns = recordColumns(item) as { trajectories: { correct: boolean; scores: unknown }[] };
    expect(columns.trajectories.map(({ correct }) => correct)).toEqual([true, true, false, false, true]);
    const lying = JSON.parse(JSON.stringify(columns)) as typeof columns;
    for (const each of lying.trajectories) Object.assign(each, { correct: true, scores: [10, 1] });
    expect(readRecord(lying)).toEqual({ kind: 'record', record: item });
  });

  it('T3: of an item with samples that the cluster lost is a failure, and none of it is counted as invalid', () => {
    const right = [trajectory([9, 2]), trajectory([9, 2], { index: 1 })];
    for (const reason of ['engine_failed', 'dead_letter'] as const) {
      const item = sampledItem([...right, trajectory({ reason }, { index: 2 })], undefined, { id: '7' });
      const message = `1 of 3 samples could not be drawn (${reason}: it broke)`;
      expect(lostText(item.trajectories.map(({ sample }) => sample))).toBe(message);
      const record: ItemRecord = { kind: 'failed', id: '7', error: { kind: 'incomplete', message } };
      expect(again(item)).toEqual({ kind: 'record', record });
      const tally = new RftTally(false, 1);
      expect(tally.add(record)).toEqual([]);
      expect(tally.report()).toMatchObject({
        items: { rows: 1, failed: { incomplete: 1 } },
        plain: { drawn: 0, invalid: {} },
      });
    }
    expect(lostText([...right, trajectory('x')].map(({ sample }) => sample))).toBeUndefined();
  });

  it('of an item that was not sampled keeps why', () => {
    for (const record of [
      { kind: 'no_unique_best', id: 'x', domain: 'd' },
      { kind: 'failed', id: 'x', error: { kind: 'malformed', message: 'no', line: 4, violations: [] } },
    ] as const)
      expect(again(record)).toEqual({ kind: 'record', record });
  });

  it('tells what is wrong with a line that is none', () => {
    const fields = (raw: unknown): string[] => {
      const read = readRecord(raw);
      return read.kind === 'violations' ? read.violations.map(({ field }) => field) : [];
    };
    expect(fields([])).toEqual(['']);
    expect(fields({ query: 'q', responses: ['a', 'b'], best: 0 })).toEqual(['trajectories']);
    const whole = recordColumns(sampledItem([trajectory([9, 2])])) as { trajectories: object[] };
    const [first] = whole.trajectories;
    const broken = { ...whole, trajectories: [{ ...first, permutation: [0, 0], text: null, seed: null }] };
    expect(fields(broken)).toEqual(['trajectories[0].permutation', 'trajectories[0].seed', 'trajectories[0].text']);
  });
});
