import { describe, expect, test } from 'vitest';
import { endIfChanged, EarlierJudges, judgeColumn, JudgeTally } from '../../../src/cli/judged.js';
import { rowLine } from '../../../src/cli/row-line.js';
import { verdictRow } from '../../../src/cli/render.js';
import { fault } from '../../../src/fault.js';
import type { Judge } from '../../../src/grm/judge.js';
import { aVerdict, someJudge } from '../../support/work-values.js';

const id = `r${'0'.repeat(32)}`;
const other: Judge = { ...someJudge, id: '9999999999999999', models: [{ id: 'x', model: 'Größe-7B' }] };
const rowOf = (judge: Judge | undefined, carried = ''): string => {
  const { judge: _, ...verdict } = aVerdict(id);
  const row = JSON.stringify(verdictRow({ ...verdict, ...(judge && { judge }) }, false));
  // As a row of an output is looked at.
  return Buffer.from(`{"row":0,"input":"0123456789abcdef","id":1,${carried}${row.slice(1)}`).toString('latin1');
};
const earlierOf = (...rows: readonly string[]): EarlierJudges => {
  const earlier = new EarlierJudges();
  for (const row of rows) earlier.take(row, row.includes('"error"') ? 'failed' : 'valid');
  return earlier;
};
const now = (judge: Judge) => () => Promise.resolve(judge);

describe('rows that an output holds already', () => {
  test('are gone on with where the same judge judges', async () => {
    const earlier = earlierOf(rowOf(someJudge), rowOf(someJudge));
    await earlier.check(0, now(someJudge));
    // Only the first of each judge is asked for.
    await earlier.check(1, () => Promise.reject(new Error('asked')));
  });

  test('of another judge are an error that names both', async () => {
    const failed = '{"row":0,"input":"0123456789abcdef","id":1,"rewards":null,"error":{}}';
    const earlier = earlierOf(failed, rowOf(someJudge), rowOf(other));
    await earlier.check(0, () => Promise.reject(new Error('asked')));
    await earlier.check(1, now(someJudge));
    const refused = earlier.check(2, now(someJudge));
    await expect(refused).rejects.toThrow(
      /row 2 .* judged by Größe-7B \(template default\) ranked by meta-7b \[99999999\]/,
    );
    await expect(refused).rejects.toThrow(/now judge-27b \(template default\) ranked by meta-7b \[a1b2c3d4\] judges/);
    await expect(refused).rejects.toThrow('--allow-judge-change');
  });

  test('that do not say who judged them are of nobody knows whom', async () => {
    await expect(earlierOf(rowOf(undefined)).check(0, now(someJudge))).rejects.toThrow('nobody knows whom');
  });

  test('are read by what this command wrote, not by what it carried over', async () => {
    const column = `"note":{"judge":{"id":"a1b2c3d4e5f60718","name":"x"}},"text":${JSON.stringify(rowOf(someJudge))},`;
    await expect(earlierOf(rowOf(other, column)).check(0, now(someJudge))).rejects.toThrow('Größe-7B');
  });

  test('of a trajectories file are read too, where they name a judge', async () => {
    const line = Buffer.from(
      rowLine({ number: 0, digest: '0123456789abcdef' }, { ...judgeColumn(other), id: 'x' }),
    ).toString('latin1');
    await expect(earlierOf(line).check(0, now(someJudge), 'begin anew')).rejects.toThrow(/Größe-7B .*: begin anew/);
  });

  test('say nothing where nothing is known', async () => {
    const unknown: Judge = { ...someJudge, id: 'unknown', models: [] };
    await earlierOf(rowOf(unknown)).check(0, now(someJudge));
    await earlierOf(rowOf(someJudge)).check(0, now(unknown));
  });
});

test('the tally tells how many came from the store, and whose they are', () => {
  const tally = new JudgeTally();
  expect(tally.text()).toBe('');
  tally.note(aVerdict(id));
  tally.note({ ...aVerdict(id), stored: true });
  tally.note({ ...aVerdict(id, { judge: other }), stored: true });
  const { judge: _, ...old } = aVerdict(id);
  tally.note({ ...old, stored: true });
  expect(tally.stored).toBe(3);
  expect(tally.text().split('\n')).toEqual([
    '2 judged by judge-27b (template default) ranked by meta-7b [a1b2c3d4]; 1 of them from the store',
    '1 judged by Größe-7B (template default) ranked by meta-7b [99999999]; all of them from the store',
    '1 judged by an unknown judge; all of them from the store',
  ]);
  expect(tally.json()[0]).toEqual({
    id: someJudge.id,
    name: 'judge-27b (template default) ranked by meta-7b [a1b2c3d4]',
    verdicts: 2,
    stored: 1,
  });
});

test("a change of judge ends a run; other faults are the row's own", () => {
  expect(() => endIfChanged({ kind: 'fault', fault: fault('judge_changed', 'the judge was x') })).toThrow(
    /the judge was x[^]*--fresh[^]*--allow-judge-change/,
  );
  endIfChanged({ kind: 'fault', fault: fault('invalid_request', 'x') });
  endIfChanged({ kind: 'verdict' });
});
