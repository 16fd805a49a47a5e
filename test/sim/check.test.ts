// The checker is checked: a good history passes, and each kind of broken one is found.

import { expect, test } from 'vitest';
import type { Verdict } from '../../src/grm/verdict.js';
import { vote } from '../../src/grm/vote.js';
import { encodeSample, encodeVerdict } from '../../src/queue/codec.js';
import { plan, scored, voteInput } from '../support/judgement.js';
import type { Allowance } from './allowance.js';
import { check, type Judged, type Rule } from './check.js';
import type { Entry, Happening } from './history.js';

const samples = [scored(0, [3, 8]), scored(1, [4, 9])];
const verdictOf = (scores: readonly number[], more: Partial<Parameters<typeof voteInput>[0]> = {}): Verdict =>
  vote(voteInput({ plan: plan({ k: 2 }), samples: [scored(0, [3, 8]), scored(1, scores)], ...more }));
const verdict = verdictOf([4, 9]);
const latin1 = (bytes: Uint8Array): string => Buffer.from(bytes).toString('latin1');
const verdictValue = latin1(encodeVerdict(verdict));

const record: Happening = { kind: 'ledger', how: 'stored', what: 'record', request: 'r0', value: 'record', by: 'c0' };
const look = (index: number, lookedAtMs: number | undefined = 0): Happening => ({
  kind: 'drawn',
  request: 'r0',
  index,
  worker: 'w0',
  lookedAtMs,
});
const store = (index: number, by = 'w0'): Happening => ({
  kind: 'ledger',
  how: 'stored',
  what: 'sample',
  request: 'r0',
  unit: index,
  value: latin1(encodeSample(samples[index]!)),
  by,
});
const fin: Happening = { kind: 'ledger', how: 'stored', what: 'verdict', request: 'r0', value: verdictValue, by: 'c0' };
const asked: Happening = { kind: 'asked', request: 'r0', caller: 'r0/0', node: 'c0' };
const answer = (value = verdictValue, summary = 'valid'): Happening => ({
  kind: 'answered',
  request: 'r0',
  caller: 'r0/0',
  outcome: { kind: 'verdict', value, summary },
});
const content: Happening = { kind: 'done', request: 'r0', caller: 'r0/0', how: 'content' };
const rest: Happening = { kind: 'rest', settled: true, open: '' };
const good = [asked, record, look(0), look(1), store(0), store(1), fin, answer(), content, rest];

const strict: Allowance = { faults: new Set(), degraded: new Set(), mayBeForgotten: false };

function judge(
  happenings: readonly Happening[],
  more: Partial<Judged> = {},
): readonly { rule: Rule; message: string }[] {
  return check({
    entries: happenings.map((each, atMs): Entry => ({ ...each, atMs })),
    verdicts: new Map([['r0', verdict]]),
    undisturbed: new Map([['r0', verdict]]),
    allowed: () => strict,
    ...more,
  });
}

const rulesOf = (happenings: readonly Happening[], more: Partial<Judged> = {}): readonly Rule[] =>
  [...new Set(judge(happenings, more).map(({ rule }) => rule))].sort();

const without = (...gone: readonly Happening[]): readonly Happening[] => good.filter((each) => !gone.includes(each));
const before = (which: Happening, ...more: readonly Happening[]): readonly Happening[] =>
  good.flatMap((each) => (each === which ? [...more, each] : [each]));

test('a good history passes, and doubled deliveries that change nothing are part of one', () => {
  expect(judge(good)).toEqual([]);
  expect(judge(before(fin, look(0), look(1)))).toEqual([]);
});

test('P1: a lost request is found, whether its record stays or goes', () => {
  const lost = { verdicts: new Map<string, Verdict>() };
  expect(rulesOf(without(fin, answer(), content), lost)).toContain('P1 answered');
  expect(judge([asked, record, rest], lost).map(({ message }) => message)).toEqual([
    'r0 was accepted and has no verdict',
    'r0/0 still waits',
  ]);
  const forgotten = [asked, record, { ...record, how: 'purged', value: '' } as const, rest];
  expect(judge(forgotten, lost).map(({ message }) => message)).toContain(
    'r0 was accepted, forgotten and never answered',
  );
  const allowed = () => ({ ...strict, mayBeForgotten: true });
  expect(rulesOf([...forgotten, { ...content, how: 'left' }], { ...lost, allowed })).toEqual([]);
});

test('P1: a caller that waits for ever is found, and one that is told to give up', () => {
  expect(judge(good.filter((each) => each !== content)).map(({ message }) => message)).toEqual(['r0/0 still waits']);
  expect(rulesOf([...without(content), { ...content, how: 'tired' }])).toEqual(['P1 answered']);
});

test('P2: a double effect is found: an index stored twice, changed, or removed', () => {
  const other = { ...store(0, 'w1'), value: latin1(encodeSample(scored(0, [9, 1]))) } as Happening;
  expect(rulesOf(before(fin, other))).toEqual(['P2 one effect', 'P7 audit']);
  expect(rulesOf(before(fin, store(0, 'w1')))).toEqual(['P2 one effect']);
  expect(rulesOf(before(fin, { ...store(0), how: 'changed' } as Happening))).toEqual(['P2 one effect']);
  expect(rulesOf(before(fin, { ...store(0), how: 'purged' } as Happening, store(0)))).toEqual(['P2 one effect']);
});

test('P2: work that is paid for before it was accepted, or without a look at the ledger, is found', () => {
  expect(rulesOf([look(0), ...good])).toEqual(['P2 one effect']);
  expect(rulesOf(before(fin, { ...look(0), lookedAtMs: undefined } as Happening))).toEqual(['P2 one effect']);
});

test('two verdicts are found: told apart, stored apart, or told and never stored', () => {
  const second = latin1(encodeVerdict(verdictOf([9, 1])));
  expect(rulesOf(before(content, answer(second)))).toEqual(['one verdict']);
  expect(rulesOf([...good, { ...fin, how: 'changed', value: second }])).toEqual(['P2 one effect', 'one verdict']);
  expect(rulesOf(good.filter((each) => each !== fin))).toEqual(['one verdict']);
  expect(judge([...without(fin), fin]).map(({ message }) => message)).toEqual([
    'r0/0 was told a verdict that was not stored',
  ]);
});

test('S3: a verdict that is invalid for want of time may be told without being stored, and only then', () => {
  const cut = before(content, answer('cut', 'invalid, quorum_not_met'));
  expect(rulesOf(cut)).toEqual(['one verdict']);
  expect(rulesOf(cut, { allowed: () => ({ ...strict, degraded: new Set(['time_budget']) }) })).toEqual([]);
});

test('P3: a verdict that differs from the undisturbed one is found, down to one score', () => {
  expect(rulesOf(good, { undisturbed: new Map([['r0', verdictOf([4, 8])]]) })).toEqual(['P3 equal']);
  const ranked = verdictOf([4, 9], { metaRewards: new Map([[0, 1]]), metaModel: 'm' });
  expect(rulesOf(good, { undisturbed: new Map([['r0', ranked]]) })).toEqual(['P3 equal']);
});

test('P3: a verdict that is short of samples is found, unless there was a reason', () => {
  const short = vote(voteInput({ plan: plan({ k: 2, quorum: 1 }), samples: [samples[0]!], expired: true }));
  const value = latin1(encodeVerdict(short));
  const history = good.map((each) =>
    each === fin ? { ...fin, value } : each.kind === 'answered' ? answer(value) : each,
  );
  const verdicts = new Map([['r0', short]]);
  expect(rulesOf(history, { verdicts })).toEqual(['P3 equal']);
  const allowed = () => ({ ...strict, degraded: new Set(['time_budget'] as const) });
  expect(rulesOf(history, { verdicts, allowed })).toEqual([]);
});

test('P4: what is held above its bound, or left over, is found', () => {
  expect(rulesOf([...good, { kind: 'held', what: 'w0 samples', count: 1, max: 0 }])).toEqual(['P4 bounded']);
  expect(rulesOf([...good, { kind: 'held', what: 'c0 timers', count: 2, max: 2 }])).toEqual([]);
});

test('P5: a quarantine before the tries are used up is found', () => {
  const letter = { kind: 'dead letter', request: 'r0', stage: 'sample', unit: 0, samples: [0], reason: 'x' } as const;
  expect(rulesOf([...good, { ...letter, deliveries: 4 }])).toEqual(['P5 quarantine']);
  expect(rulesOf([...good, { ...letter, deliveries: 5 }])).toEqual([]);
});

test('P7: a verdict made of something that is not in the ledger is found, and a sample that only a caller saw', () => {
  expect(rulesOf(good.filter((each) => !(each.kind === 'ledger' && each.unit === 1)))).toEqual(['P7 audit']);
  const watched = { kind: 'watched', request: 'r0', caller: 'r0/0', call: 1, index: 0, value: 'x' } as const;
  expect(rulesOf([...good, watched])).toEqual(['P7 audit']);
  const seen = { ...watched, value: latin1(encodeSample(samples[0]!)) };
  expect(rulesOf([...good, seen])).toEqual([]);
  expect(rulesOf([...good, seen, seen])).toEqual(['P7 audit']);
});

test('a fault that the scenario gives no cause for is found, and a bug in the log', () => {
  const outcome = { kind: 'fault', fault: 'overloaded', message: 'full' } as const;
  const shed: Happening = { kind: 'answered', request: 'r0', caller: 'r0/0', outcome };
  expect(rulesOf(before(content, shed))).toEqual(['told']);
  expect(rulesOf(before(content, shed), { allowed: () => ({ ...strict, faults: new Set(['overloaded']) }) })).toEqual(
    [],
  );
  const trouble = { kind: 'trouble', node: 'c0', where: 'collect', message: 'x is undefined' } as const;
  expect(rulesOf([...good, { ...trouble, bug: true }])).toEqual(['told']);
  expect(rulesOf([...good, { ...trouble, bug: false }])).toEqual([]);
});

test('what does not come to rest is found', () => {
  expect(rulesOf([...without(rest), { ...rest, settled: false, open: '1 task' }])).toEqual(['rest']);
  expect(rulesOf(without(rest))).toEqual(['rest']);
});

test('a dispatcher that lets one flow starve another is found, a fair one is not', () => {
  const turn = (how: 'waits' | 'sent' | 'closed', flow: string): Happening => ({
    kind: 'turn',
    how,
    node: 'c0',
    flow,
    weight: 1,
    cost: 1,
  });
  const waiting = Array.from({ length: 6 }, () => [turn('waits', 'rl/anna'), turn('waits', 'rl/bert')]).flat();
  const fair = Array.from({ length: 5 }, () => [turn('sent', 'rl/anna'), turn('sent', 'rl/bert')]).flat();
  const unfair = Array.from({ length: 5 }, () => turn('sent', 'rl/anna'));
  expect(rulesOf([...good, ...waiting, ...fair])).toEqual([]);
  expect(rulesOf([...good, ...waiting, ...unfair])).toEqual(['fair']);
  expect(rulesOf([...good, ...waiting, turn('closed', 'rl/bert'), ...unfair])).toEqual([]);
});
