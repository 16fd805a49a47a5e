import { describe, expect, it } from 'vitest';
import { type HeadOptions, heads } from '../../../src/engine/meta-heads.js';

const options: HeadOptions = { model: 'm', yesWord: 'Yes', noWord: 'No', extraBody: {} };
const input = { messages: [{ role: 'user' as const, content: 'chat' }], text: 'plain' };
const off = { name: 'softmax', on: false } as const;

function listed(...tokens: readonly (readonly [string, number])[]): unknown {
  const top = tokens.map(([token, probability]) => ({ token, logprob: Math.log(probability) }));
  return { choices: [{ logprobs: { content: [{ token: 'x', logprob: 0, top_logprobs: top }] } }] };
}

describe('scalar heads', () => {
  it('ask under the given switch, and never let extra fields replace the text', () => {
    const extra = { ...options, extraBody: { add_special_tokens: false, input: 'other' } };
    expect(heads.vllm_classify.body(input, extra, off)).toEqual({
      add_special_tokens: false,
      model: 'm',
      input: 'plain',
      softmax: false,
    });
    expect(heads.sglang_classify.body(input, options, off)).toEqual({ model: 'm', text: ['plain'] });
  });

  it('read one label, the log-odds of two, the last of a pooled list', () => {
    const classify = (probs: unknown) => heads.vllm_classify.read({ data: [{ probs }] }, options);
    expect(classify([-3.5])).toEqual({ kind: 'logit', logit: -3.5, withinUnit: false });
    expect(classify([1, 4])).toEqual({ kind: 'logit', logit: 3, withinUnit: false });
    expect(classify([0.9, 0.1])).toMatchObject({ withinUnit: true });
    const pooled = (data: unknown) => heads.vllm_pooling.read({ data: [{ data }] }, options);
    expect(pooled([2.5])).toMatchObject({ kind: 'logit', logit: 2.5 });
    expect(pooled([[0.1], [0.2], [7]])).toMatchObject({ kind: 'logit', logit: 7 });
    expect(heads.sglang_classify.read([{ embedding: [1.25] }], options)).toMatchObject({ kind: 'logit', logit: 1.25 });
  });

  it.each([
    [null],
    [{}],
    [{ data: [] }],
    [{ data: [{ probs: ['1'] }] }],
    [{ data: [{ probs: [1, 2, 3] }] }],
    [[{ embedding: [] }]],
  ])('P7, M2: make no number out of %j', (reply) => {
    for (const head of Object.values(heads)) expect(head.read(reply, options).kind).toBe('unreadable');
  });
});

describe('yes/no log-odds', () => {
  const read = (reply: unknown) => heads.yes_no.read(reply, options);
  const logitOf = (reply: unknown) => {
    const reading = read(reply);
    if (reading.kind !== 'logit') throw new Error(reading.reason);
    return reading.logit;
  };

  it('asks for one token with its twenty likeliest', () => {
    expect(heads.yes_no.body(input, options, off)).toMatchObject({
      max_tokens: 1,
      temperature: 0,
      logprobs: true,
      top_logprobs: 20,
    });
  });

  it('sums the spellings of each word', () => {
    const reply = listed(
      ['Yes', 0.4],
      [' yes', 0.1],
      ['\u2581YES', 0.1],
      ['No', 0.2],
      ['\u0120no.', 0.1],
      ['Not', 0.05],
    );
    expect(logitOf(reply)).toBeCloseTo(Math.log(0.6 / 0.3), 9);
  });

  it('takes an absent word at its upper bound: the last listed token, or all that is unlisted if that is less', () => {
    expect(logitOf(listed(['Yes', 0.5], ['Maybe', 0.01]))).toBeCloseTo(Math.log(0.5 / 0.01), 9);
    expect(logitOf(listed(['No', 0.98], ['Maybe', 0.019]))).toBeCloseTo(Math.log(0.001 / 0.98), 6);
    expect(Number.isFinite(logitOf(listed(['Yes', 1])))).toBe(true);
  });

  it('M2: says when neither word is there, or no probabilities at all', () => {
    expect(read(listed(['Maybe', 0.9]))).toMatchObject({ kind: 'unreadable' });
    expect(read({ choices: [{ message: { content: 'Yes' } }] })).toMatchObject({ kind: 'unreadable' });
  });
});
