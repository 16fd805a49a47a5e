// The judge is judged: a good history passes, and each kind of broken one is found.

import { describe, expect, test } from 'vitest';
import type { Verdict } from '../../src/grm/verdict.js';
import { vote } from '../../src/grm/vote.js';
import { encodeAppend, encodeSample, encodeVerdict } from '../../src/queue/codec.js';
import { failed, plan, scored, voteInput } from '../support/judgement.js';
import type { Allowance } from '../sim/allowance.js';
import type { Entry, Happening } from '../sim/history.js';
import { judge, type ChaosJudged, type Complaint } from './judge.js';
import { ledgerStory, type Seen, type Stored } from './ledger-story.js';
import { allowanceOf, requestOf } from './load.js';

const samples = [scored(0, [3, 8]), scored(1, [4, 9])];
const verdict = vote(voteInput({ requestId: 'id0', plan: plan({ k: 2 }), samples }));
const stored = (subject: string, bytes: Uint8Array, atMs: number): Stored => ({ subject, bytes, atMs });
const record = stored('grm.req.id0', Buffer.from('record'), 1);
const first = stored('grm.res.id0.l-0-0', encodeAppend([encodeSample(samples[0]!)]), 2);
const second = stored('grm.res.id0.l-1-0', encodeAppend([encodeSample(samples[1]!)]), 3);
const fin = stored('grm.fin.id0', encodeVerdict(verdict), 4);
const kept = [record, first, second, fin];
const strict: Allowance = { faults: new Set(), degraded: new Set(), mayBeForgotten: false };

const asked: Entry = { kind: 'asked', request: 'r0', caller: 'r0/0', node: 'c0', atMs: 0 };
const answer = (value: Verdict = verdict): Entry => ({
  kind: 'answered',
  request: 'r0',
  caller: 'r0/0',
  outcome: { kind: 'verdict', value: Buffer.from(encodeVerdict(value)).toString('latin1'), summary: value.kind },
  atMs: 5,
});
const content: Entry = { kind: 'done', request: 'r0', caller: 'r0/0', how: 'content', atMs: 6 };
const rest: Entry = { kind: 'rest', settled: true, open: '', atMs: 7 };
const callers = [asked, answer(), content, rest];

function found(
  { seen = { heard: [], kept }, told = callers }: { seen?: Seen; told?: readonly Entry[] },
  more: Partial<ChaosJudged> = {},
): readonly Complaint[] {
  const story = ledgerStory(seen, (id) => (id === 'id0' ? 'r0' : undefined));
  return judge({
    entries: [...story, ...told].sort((a, b) => a.atMs - b.atMs),
    verdicts: new Map([['r0', verdict]]),
    undisturbed: new Map([['r0', verdict]]),
    allowed: () => strict,
    poison: new Set(),
    ...more,
  });
}
const rules = (...given: Parameters<typeof found>) => [...new Set(found(...given).map(({ rule }) => rule))].sort();

test('a good history passes, with announcements heard, missed and repeated', () => {
  expect(found({})).toEqual([]);
  const heard = [
    first,
    { ...first, subject: 'grm.res.id0.l-0-again', atMs: 9 },
    { ...fin, atMs: 9 },
    { ...fin, bytes: new Uint8Array() },
  ];
  expect(found({ seen: { heard, kept } })).toEqual([]);
});

describe('what is kept and what was announced', () => {
  test('P1: a record without a verdict is found, and a caller that never hears', () => {
    const seen = { heard: [], kept: [record, first, second] };
    expect(rules({ seen, told: [asked, rest] }, { verdicts: new Map() })).toEqual(['P1 answered']);
  });

  test('P1 P2: a sample or a verdict that was announced and is gone is found', () => {
    expect(rules({ seen: { heard: [first], kept: [record, second, fin] } })).toEqual(['P2 one effect']);
    const lost = { heard: [fin], kept: [record, first, second] };
    expect(rules({ seen: lost }, { verdicts: new Map() })).toContain('P2 one effect');
  });

  test('P2: a sample that was announced with another content is found, and one that is kept twice', () => {
    const other = { ...first, bytes: encodeAppend([encodeSample(scored(0, [9, 1]))]) };
    expect(rules({ seen: { heard: [other], kept } })).toContain('P2 one effect');
    const again = { ...first, subject: 'grm.res.id0.l-0-1', atMs: 4 };
    expect(rules({ seen: { heard: [], kept: [...kept, again] } })).toEqual(['P2 one effect']);
    expect(rules({ seen: { heard: [other, { ...other, bytes: first.bytes }], kept: kept.slice(1) } })).toContain(
      'P2 one effect',
    );
  });

  test('messages of other requests and other streams are no part of the story', () => {
    const others = [stored('grm.res.id9.l-0-0', first.bytes, 1), stored('grm.other.id0', first.bytes, 1)];
    expect(found({ seen: { heard: others, kept: [...kept, ...others] } })).toEqual([]);
  });
});

describe('what callers were told', () => {
  test('a second answer, and asking again after the end, are found', () => {
    expect(rules({ told: [...callers, { ...answer(), atMs: 8 }] })).toEqual(['one answer']);
    expect(rules({ told: [...callers, { ...asked, atMs: 8 }] })).toEqual(['one answer']);
    expect(rules({ told: [asked, answer(), content, content, rest] })).toEqual(['one answer']);
  });

  test('a verdict that is not the stored one is found, and one that was told before it was stored', () => {
    const other = vote(
      voteInput({ requestId: 'id0', plan: plan({ k: 2 }), samples: [samples[0]!, scored(1, [9, 1])] }),
    );
    expect(rules({ told: [asked, answer(other), content, rest] })).toEqual(['one verdict']);
    const early = callers.map((each) => (each.kind === 'answered' ? { ...each, atMs: 3 } : each));
    expect(rules({ told: early })).toEqual(['one verdict']);
  });

  test('a fault without cause is found; the network gives cause for some, none for a bug', () => {
    const faulty = (fault: 'unreachable' | 'internal'): Entry => ({
      kind: 'answered',
      request: 'r0',
      caller: 'r0/0',
      outcome: { kind: 'fault', fault, message: 'x' },
      atMs: 1,
    });
    const allowed = () => allowanceOf(requestOf(1, 0, 'streamed'));
    expect(rules({ told: [...callers, faulty('unreachable')] }, { allowed })).toEqual([]);
    expect(rules({ told: [...callers, faulty('internal')] }, { allowed })).toEqual(['told']);
  });
});

describe('what verdicts say', () => {
  test('P3: a verdict that differs from the undisturbed one, or has none to be compared with, is found', () => {
    const other = vote(
      voteInput({ requestId: 'id0', plan: plan({ k: 2 }), samples: [samples[0]!, scored(1, [4, 8])] }),
    );
    expect(rules({}, { undisturbed: new Map([['r0', other]]) })).toEqual(['P3 equal']);
    expect(rules({}, { undisturbed: new Map() })).toEqual(['P3 compared']);
  });

  test('P5: poison that is not quarantined is found, and poison that takes the harmless half with it', () => {
    expect(rules({}, { poison: new Set(['r0']) })).toEqual(['P5 poison']);
    const dead = [failed(0, 'dead_letter'), samples[1]!];
    const half = vote(voteInput({ requestId: 'id0', plan: plan({ k: 2 }), samples: dead }));
    const none = vote(
      voteInput({ requestId: 'id0', plan: plan({ k: 2 }), samples: [dead[0]!, failed(1, 'dead_letter')] }),
    );
    const about = (which: Verdict) =>
      found({}, { poison: new Set(['r0']), verdicts: new Map([['r0', which]]) }).filter(
        ({ rule }) => rule === 'P5 poison',
      );
    expect(about(half)).toEqual([]);
    expect(about(none)).toHaveLength(1);
  });

  test('P7: a number out of range, an index that counts twice, and an invalid sample that counts are found', () => {
    const broken = (change: (good: Extract<Verdict, { kind: 'valid' }>) => Verdict): readonly string[] => {
      if (verdict.kind !== 'valid') throw new Error('the good one is valid');
      const verdicts = new Map([['r0', change(verdict)]]);
      return found({}, { verdicts }).flatMap(({ rule, message }) => (rule === 'P7 numbers' ? [message] : []));
    };
    expect(broken((good) => good)).toEqual([]);
    expect(broken((good) => ({ ...good, rewards: [{ value: 0, vote: 0, rank: 1 }] }))).toHaveLength(1);
    expect(broken((good) => ({ ...good, kValid: 0 }))).toHaveLength(1);
    expect(broken((good) => ({ ...good, samples: [...good.samples, good.samples[0]!] }))).toHaveLength(1);
    expect(broken((good) => ({ ...good, samples: [{ sample: scored(0, [0, 11]), kept: 'kept' }] }))).toHaveLength(1);
    expect(broken((good) => ({ ...good, samples: [{ sample: failed(0), kept: 'kept' }] }))).toHaveLength(1);
  });
});

test('P4: a queue that is not empty at the end, an autoscaling signal above zero, and unrest are found', () => {
  const held: Happening = { kind: 'held', what: 'GRM_WORK grm-rl waits for acks', count: 1, max: 0 };
  expect(rules({ told: [...callers, { ...held, atMs: 8 }] })).toEqual(['P4 bounded']);
  const unrest: Entry = { kind: 'rest', settled: false, open: '1 request', atMs: 8 };
  expect(rules({ told: [asked, answer(), content, unrest] })).toEqual(['rest']);
});
