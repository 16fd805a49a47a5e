import { expect, test } from 'vitest';
import { emptyLog } from '../../../src/queue/lanes.js';
import type { Added, LaneLog } from '../../../src/queue/queue.js';
import { openAppender } from '../../../src/worker/appender.js';

interface Result {
  readonly index: number;
}
type Append = (known: LaneLog<Result>, results: readonly Result[]) => Promise<Added<Result>>;

/** A lane that answers when the test says so; indexes in `taken` are somebody else's. */
function setting(taken: readonly number[] = []) {
  const calls: { known: number; indexes: number[]; answer(): void; refuse(error: Error): void }[] = [];
  const told: string[] = [];
  const append: Append = (known, results) =>
    new Promise((resolve, reject) => {
      const answer = (): void => {
        const entries = new Map([...known.entries, ...results.map((each) => [each.index, each] as const)]);
        const stored = results.filter(({ index }) => !taken.includes(index));
        resolve({ log: { appends: known.appends + 1, entries }, stored });
      };
      calls.push({ known: known.appends, indexes: results.map(({ index }) => index), answer, refuse: reject });
    });
  const appender = openAppender(emptyLog as LaneLog<Result>, append, ({ index }, stored) => {
    told.push(`${index} ${stored ? 'stored' : 'there'}`);
  });
  const add = (...indexes: number[]): void => indexes.forEach((index) => appender.add({ index }));
  const turn = (): Promise<void> => new Promise((resolve) => setImmediate(resolve));
  return { calls, told, appender, add, turn };
}

test('B1: what is added in one turn travels together; while it is under way the next gathers, and begins where it ended', async () => {
  const { calls, told, appender, add, turn } = setting([2]);
  add(0, 2);
  await Promise.resolve();
  await turn();
  add(4);
  await turn();
  add(6);
  expect(calls.map(({ indexes }) => indexes)).toEqual([[0, 2]]);
  calls[0]!.answer();
  await turn();
  expect(told).toEqual(['0 stored', '2 there']);
  expect(calls.map(({ known, indexes }) => [known, indexes])).toEqual([
    [0, [0, 2]],
    [1, [4, 6]],
  ]);
  const flushed = appender.flushed();
  calls[1]!.answer();
  await flushed;
  expect(told).toEqual(['0 stored', '2 there', '4 stored', '6 stored']);
});

test('nothing was added: flushed at once; what comes after a rest is stored too', async () => {
  const { calls, appender, add, turn } = setting();
  await appender.flushed();
  add(0);
  await turn();
  calls[0]!.answer();
  await appender.flushed();
  add(2);
  await turn();
  calls[1]!.answer();
  await appender.flushed();
  expect(calls.map(({ known }) => known)).toEqual([0, 1]);
});

test('B2: a failure takes its results with it and no later ones, and is told by flushed, not as an unhandled rejection', async () => {
  const { calls, told, appender, add, turn } = setting();
  add(0);
  await turn();
  add(2);
  calls[0]!.refuse(new Error('NATS is away'));
  await turn();
  expect(calls[1]).toMatchObject({ known: 0, indexes: [2] });
  calls[1]!.answer();
  await turn();
  await expect(appender.flushed()).rejects.toThrow('NATS is away');
  expect(told).toEqual(['2 stored']);
});
