import { describe, expect, test } from 'vitest';
import { isSameJudge, judgeWords, unknownJudgeId, whoJudged, type Judge } from '../../../src/grm/judge.js';

const model = (id: string, name = id) => ({ id, model: name });
const nano: Judge = {
  id: '1a2b3c4d5e6f7081',
  models: [model('g1', 'nano-grm')],
  template: 'nano',
  templateHash: 'aa',
  meta: [model('m1', 'nano-meta')],
};
const { meta: _, ...sums } = { ...nano, id: '2222222222222222' };
const unknown: Judge = { id: unknownJudgeId, models: [], template: 'nano', templateHash: 'aa' };

describe('the words of a judge', () => {
  test.each([
    [nano, 'nano-grm (template nano) ranked by nano-meta [1a2b3c4d]'],
    [sums, 'nano-grm (template nano) [22222222]'],
    [{ ...nano, meta: [] }, 'nano-grm (template nano) ranked by an unknown meta RM [1a2b3c4d]'],
    [{ ...sums, models: [model('fake-1', 'fake-grm')] }, 'the fake engine fake-grm (template nano) [22222222]'],
    [
      { ...sums, models: [model('a', 'Qwen/Judge-7B'), model('b', 'x')] },
      'Judge-7B and 1 more (template nano) [22222222]',
    ],
    [unknown, 'an unknown judge'],
    [undefined, 'an unknown judge'],
  ] as const)('%#: %o', (judge, words) => {
    expect(judgeWords(judge)).toBe(words);
  });

  test('two judges with the longest names fit a status message, with what to do about it', () => {
    const long = model('x', 'org/'.padEnd(300, 'long-name-'));
    const judge = { ...nano, models: [long, model('y')], template: 't'.repeat(64), meta: [long, model('z')] };
    expect(2 * judgeWords(judge).length + 'the judge was , and now it is '.length).toBeLessThan(300);
  });
});

describe('whether what one judge was asked may be answered under another', () => {
  test.each([
    ['the same', nano, { ...nano }, [], true],
    ['U1: accepted before anything was known', unknown, nano, [], true],
    ['U1: nothing is known now', nano, unknown, [], true],
    ['another model', nano, { ...nano, id: 'x', models: [model('g2')] }, nano.meta!, false],
    ['one model more', nano, { ...nano, id: 'x', models: [model('g1'), model('g2')] }, nano.meta!, false],
    ['another template', nano, { ...nano, id: 'x', templateHash: 'bb' }, nano.meta!, false],
    ['another meta RM', nano, { ...nano, id: 'x', meta: [model('m2')] }, [model('m2')], false],
    ['U2: its meta RM is away', nano, sums, nano.meta!, true],
    ['its meta RM was replaced while it was away', nano, sums, [model('m2')], false],
    ['a meta RM came', sums, nano, nano.meta!, false],
  ] as const)('%s', (_words, accepted, now, metaKept, same) => {
    expect(isSameJudge(accepted, now, metaKept)).toBe(same);
  });
});

describe('who judged', () => {
  const from = (judge: string | undefined, name = judge ?? 'old') => ({
    model: name,
    ...(judge !== undefined && { judge }),
  });

  test('the accepted judge, also where only some of its models drew', () => {
    const ensemble = { ...sums, models: [model('g1'), model('g2')] };
    expect(whoJudged(ensemble, [from('g2')], [])).toEqual({ models: ensemble.models, changed: false });
    expect(whoJudged(nano, [from('g1')], [from('m1')])).toEqual({
      models: nano.models,
      meta: nano.meta,
      changed: false,
    });
    // Nothing was ranked: it was the accepted judge that did not.
    expect(whoJudged(nano, [from('g1')], [])).toEqual({ models: nano.models, meta: nano.meta, changed: false });
  });

  test('those that really did, where others came in between', () => {
    expect(whoJudged(sums, [from('g1'), from('g2'), from('g1')], [])).toEqual({
      models: [model('g1'), model('g2')],
      changed: true,
    });
    expect(whoJudged(nano, [from('g1')], [from('m2')])).toMatchObject({ meta: [model('m2')], changed: true });
  });

  test('a sample that does not say who drew it is not known to be of the judge; one that nobody drew says nothing', () => {
    expect(whoJudged(sums, [from('g1'), from(undefined)], [])).toMatchObject({ changed: true });
    expect(whoJudged(sums, [from('g1'), { model: '' }], [])).toEqual({ models: sums.models, changed: false });
  });

  test('of an unknown judge those that told', () => {
    expect(whoJudged(unknown, [from('g2'), from('g1')], [])).toEqual({
      models: [model('g1'), model('g2')],
      changed: false,
    });
    expect(whoJudged(undefined, [from('g1')], [from('m1')])).toEqual({
      models: [model('g1')],
      meta: [model('m1')],
      changed: false,
    });
  });
});
