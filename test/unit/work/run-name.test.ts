import { expect, test } from 'vitest';
import { endedBy, hedgeName, isHedge, originalOf, passesOf, taskName } from '../../../src/work/run-name.js';

test('a task names its run and itself, a hedge its original too, and how often it was passed on', () => {
  const task = taskName('c-k3j-7', 12);
  const hedge = hedgeName(task);
  const passedOn = hedgeName(hedgeName(hedge));
  const all = [task, hedge, passedOn];
  expect(all.map(isHedge)).toEqual([false, true, true]);
  expect(all.map(originalOf)).toEqual([task, task, task]);
  expect(all.map(passesOf)).toEqual([0, 0, 2]);
  for (const each of all) expect(endedBy(each)).toEqual(['c-k3j-7', task]);
  expect(endedBy(taskName('c-k3j-7', 1))).not.toContain(task);
});

test('an older run, and a meta task, stand for themselves', () => {
  for (const run of ['c-k3j-7', '']) {
    expect([isHedge(run), originalOf(run), endedBy(run)]).toEqual([false, run, [run]]);
  }
});
