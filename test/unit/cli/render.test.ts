import { stripVTControlCharacters } from 'node:util';
import { describe, expect, it } from 'vitest';
import { table, verdictInFull, verdictRow, verdictSummary } from '../../../src/cli/render.js';
import type { Content } from '../../../src/grm/query.js';
import { vote } from '../../../src/grm/vote.js';
import { failed, plan, scored, voteInput } from '../../support/judgement.js';

const content: Content = {
  messages: [{ role: 'user', content: 'Which\nis better?' }],
  responses: ['the first', 'the second \u001b[2Jwith a screen wipe'],
  principles: [],
};

const valid = vote(
  voteInput({
    plan: plan({ k: 4, vote: 'meta_topk', kMeta: 2, meta: true }),
    samples: [
      scored(0, [1, 5], { critique: 'sure\u0007\nsecond line', principles: 'accuracy' }),
      scored(1, [5, 6]),
      scored(2, [4, 8]),
      scored(3, [7, 6], { worker: 'evil\u001b[31m' }),
    ],
    metaRewards: new Map([
      [0, 2],
      [1, 0],
      [2, 1],
      [3, -1],
    ]),
    metaModel: 'meta-1',
  }),
);
const invalid = vote(
  voteInput({
    plan: plan({ k: 2 }),
    samples: [failed(0, 'no_box'), { ...failed(1, 'truncated'), text: 'half a \u009b thought' }],
  }),
);

const plain = stripVTControlCharacters;
// eslint-disable-next-line no-control-regex
const control = /[\u0000-\u0009\u000b-\u001f\u007f-\u009f]/;

describe('a verdict for people', () => {
  it('shows responses by rank, the vote table, who was kept and why not, and every text', () => {
    const text = plain(verdictInFull(valid, content));
    const lines = text.split('\n');
    expect(lines[1]).toBe('  query  Which is better?');
    expect(lines[2]).toMatch(/^ {2}1\. \[1\] {3}6\.50 {2}vote 13 {2}the second/);
    expect(lines[3]).toMatch(/^ {2}2\. \[0\] {3}2\.50 {2}vote 5 {2}the first/);
    expect(lines[4]).toContain('meta_topk, 2 of 4 valid of 4 samples kept');
    expect(text).toMatch(/^sample +\[0\] +\[1\] +meta +kept +shown as +seed +tokens +ms +worker +model$/m);
    expect(text).toMatch(/^0 +1 +5 +2\.000 +kept +0 1 +7 +50 +20 +worker-a +judge-1$/m);
    expect(text).toMatch(/^1 +5 +6 +0\.000 +meta_rank /m);
    expect(text).toMatch(/^vote +5 +13$/m);
    expect(text).toMatch(/^reward +2\.50 +6\.50$/m);
    expect(text).toMatch(/^rank +2 +1$/m);
    expect(text).toContain('principles\n  accuracy\ncritique\n  sure\ufffd\n  second line');
    expect(text).toMatch(/template abababababab {2}models judge-1 {2}meta meta-1/);
  });

  it('of invalid samples says so, with the reason of each and what it wrote', () => {
    const text = plain(verdictInFull(invalid, undefined));
    expect(text).toContain('INVALID no_valid_sample: 0 of 2 samples are valid');
    expect(text).toMatch(/^0 +- +- +- +no_box /m);
    expect(text).toContain('sample 1  truncated: truncated');
    expect(text).toContain('text\n  half a \ufffd thought');
    expect(text).not.toContain('reward');
  });

  it('lets no text steer the terminal', () => {
    for (const text of [verdictInFull(valid, content), verdictSummary('\u001b]0;title\u0007', valid, content)]) {
      expect(plain(text).replaceAll('\n', '')).not.toMatch(control);
      expect(text).not.toContain('\u001b[2J');
    }
  });
});

describe('a verdict for programs', () => {
  it('holds the numbers', () => {
    expect(verdictRow(valid, false)).toMatchObject({
      rewards: [2.5, 6.5],
      votes: [5, 13],
      ranking: [1, 0],
      best: 1,
      k: 4,
      k_kept: 2,
      invalid_reason: null,
    });
  });

  it('P7: has null for every number of an invalid one', () => {
    const row = verdictRow(invalid, true);
    expect(row).toMatchObject({
      rewards: [null, null],
      votes: null,
      ranking: null,
      best: null,
      tie: null,
      margin: null,
      agreement: null,
      invalid_reason: 'no_valid_sample',
    });
    expect(row.samples).toMatchObject([
      { index: 0, scores: null, invalid_reason: 'no_box', kept: 'invalid', meta_reward: null },
      { index: 1, scores: null, invalid_reason: 'truncated', text: 'half a \u009b thought' },
    ]);
  });

  it('says what adaptive k saved, where there was a rule', () => {
    expect(Object.keys(verdictRow(valid, false))).not.toContain('samples_saved');
    const stop = { rule: 'confident', error: 0.02 } as const;
    const stopped = { ...valid, k: 8, stopping: { stop, stopped: 'confident', kDrawn: 4, samplesSaved: 4 } } as const;
    expect(verdictRow(stopped, false)).toMatchObject({ k: 8, stopped: 'confident', k_drawn: 4, samples_saved: 4 });
    expect(verdictSummary('x', stopped, undefined)).toContain(
      'stopped: confident at error 0.02 after 4 samples, 4 saved',
    );
    const drew = { ...valid, stopping: { stop, kDrawn: 4, samplesSaved: 0 } };
    expect(verdictRow(drew, false)).toMatchObject({ stopped: null, k_drawn: 4, samples_saved: 0 });
    expect(verdictSummary('x', drew, undefined)).toContain('stop confident: drew on to the end');
  });

  it('says where the samples are that time left behind', () => {
    const missing = { notAsked: 0, waiting: 1, unfinished: 3 };
    const cut = { ...valid, k: 8, degraded: ['time_budget'], missing } as const;
    expect(verdictRow(cut, false)).toMatchObject({ missing: { not_asked: 0, waiting: 1, unfinished: 3 } });
    const words = 'time ran out with 3 in the queue or at an engine, 1 waiting at the coordinator';
    expect(verdictSummary('x', cut, undefined)).toContain(words);
    expect(verdictRow(valid, false)).not.toHaveProperty('missing');
    const out = { ...cut, missing: { ...missing, why: 'no engine serves: HTTP 401' } } as const;
    expect(verdictRow(out, false)).toMatchObject({ missing: { why: 'no engine serves: HTTP 401' } });
    expect(verdictSummary('t', out, undefined)).toContain('no engine serves: HTTP 401');
  });

  it('holds samples only when asked', () => {
    expect(verdictRow(valid, false)).not.toHaveProperty('samples');
    expect(verdictRow(valid, true).samples).toHaveLength(4);
  });
});

it('a table keeps each row on its line, whatever its cells say', () => {
  const text = plain(
    table(
      ['a', 'b'],
      [
        ['x\ny\u001b[1A', 1],
        [{ painted: 'ours' }, 'z'.repeat(500)],
      ],
    ),
  );
  expect(text.split('\n')).toHaveLength(3);
  expect(text).not.toContain('\u001b[1A');
  expect(text).toMatch(/^x y\ufffd\[1A +1$/m);
});
