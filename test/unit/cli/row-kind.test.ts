import { describe, expect, it } from 'vitest';
import { verdictRow } from '../../../src/cli/render.js';
import { kindOfAnswer, kindOfRow, RowCounts, type RowKind } from '../../../src/cli/row-kind.js';
import { lineOf } from '../../../src/cli/row-line.js';
import type { Answer } from '../../../src/cli/score.js';
import { fault } from '../../../src/fault.js';
import { vote } from '../../../src/grm/vote.js';
import { failed, plan, scored, voteInput } from '../../support/judgement.js';

const right = scored(0, [9, 2]);
const cut = voteInput({
  plan: plan({ k: 4, quorum: 2 }),
  samples: [right],
  expired: true,
  missing: { notAsked: 0, waiting: 1, unfinished: 2 },
});

const answers: readonly (readonly [string, Answer, RowKind])[] = [
  ['a valid verdict', { kind: 'verdict', verdict: vote(voteInput({ samples: [right] })) }, kind('valid', '')],
  [
    'a judge that gave no number',
    { kind: 'verdict', verdict: vote(voteInput({ samples: [failed(0)] })) },
    kind('invalid', 'no_valid_sample'),
  ],
  ['time below the quorum', { kind: 'verdict', verdict: vote(cut) }, kind('unfinished', 'quorum_not_met', true)],
  ['time without an answer', faulty('deadline_exceeded'), kind('unfinished', 'deadline_exceeded', true)],
  ['a full service', faulty('overloaded'), kind('unfinished', 'overloaded', true)],
  ['an operator', faulty('cancelled'), kind('failed', 'cancelled', true)],
  ['a bug', faulty('internal'), kind('failed', 'internal', true)],
  ['a wrong row', faulty('invalid_request'), kind('failed', 'invalid_request')],
  ['a line that is no JSON', { kind: 'unreadable', reason: 'x' }, kind('failed', 'unreadable')],
];

function kind(is: RowKind['is'], reason: string, again = false): RowKind {
  return { is, reason, again };
}

function faulty(it: Parameters<typeof fault>[0]): Answer {
  return { kind: 'fault', fault: fault(it, 'words') };
}

function lineFor(answer: Answer, carried: string): string {
  const columns =
    answer.kind === 'verdict'
      ? verdictRow(answer.verdict, false)
      : {
          rewards: null,
          error: { kind: answer.kind === 'fault' ? answer.fault.kind : 'unreadable', message: 'words' },
        };
  const { again } = kindOfAnswer(answer);
  return lineOf({ number: 7, digest: 'a'.repeat(16) }, again, `${carried},${JSON.stringify(columns).slice(1)}`);
}

describe('the kind of a row', () => {
  it.each(answers)('of %s, from the answer and from its line', (_, answer, expected) => {
    expect(kindOfAnswer(answer)).toEqual(expected);
    expect(kindOfRow(lineFor(answer, '"id":1'))).toEqual(expected);
  });

  it.each(answers)('of %s, whatever the row carries over', (_, answer, expected) => {
    const others = answers.map(([, other]) => lineFor(other, '"id":null').trim()).join(',');
    expect(kindOfRow(lineFor(answer, `"id":1,"earlier":[${others}]`))).toEqual(expected);
  });

  it('of a row of an earlier version that time ended: it is tried again', () => {
    const line = lineFor({ kind: 'verdict', verdict: vote(cut) }, '"id":1').replace('"retry":true,', '');
    expect(kindOfRow(line)).toEqual(kind('unfinished', 'quorum_not_met', true));
  });
});

describe('counts', () => {
  it('tell how many, why, and how many are tried again', () => {
    const counts = new RowCounts();
    for (const [, answer] of answers) counts.note(kindOfAnswer(answer));
    expect(counts.lost()).toEqual({ invalid: 1, unfinished: 3, failed: 4 });
    expect(counts.again).toBe(5);
    for (const it of [0, 1]) counts.note(kind('invalid', 'quorum_not_met', it === 2));
    expect(counts.text('invalid')).toBe('3 invalid (2 quorum_not_met, 1 no_valid_sample)');
    counts.note(kind('failed', 'cancelled', true), -1);
    expect(counts.reasons('failed')).toEqual({ internal: 1, invalid_request: 1, unreadable: 1 });
    expect([counts.again, counts.text('valid')]).toEqual([4, '1 valid']);
  });
});
