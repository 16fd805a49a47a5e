import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { intake, type RawScore } from '../../../src/coordinator/intake.js';
import { limits } from '../../../src/limits.js';
import type { Violation } from '../../../src/fault.js';

const good = {
  content: {
    query: { messages: [{ role: 'user', content: 'Why is the sky blue?' }] },
    responses: ['Rayleigh scattering.', 'Paint.'],
  },
};

function withContent(more: object): RawScore {
  return { content: { ...good.content, ...more } };
}

function withOptions(options: object): RawScore {
  return { ...good, options };
}

function inputOf(raw: RawScore) {
  const result = intake(raw);
  if (result.kind !== 'ok') throw new Error(JSON.stringify(result.violations));
  return result.input;
}

function violationsOf(raw: RawScore): readonly Violation[] {
  const result = intake(raw);
  return result.kind === 'violations' ? result.violations : [];
}

function fieldsOf(raw: RawScore): string[] {
  return violationsOf(raw).map((violation) => violation.field);
}

describe('intake of well-formed requests', () => {
  it('fills in the tenant alone, and leaves class and options to the server', () => {
    expect(inputOf(good)).toEqual({
      tenant: 'default',
      content: {
        messages: [{ role: 'user', content: 'Why is the sky blue?' }],
        responses: ['Rayleigh scattering.', 'Paint.'],
        principles: [],
      },
      contentBytes: 20 + 20 + 6,
      options: {},
    });
  });

  it('keeps every option and every part of the content', () => {
    const options = {
      k: 128,
      kMeta: 64,
      vote: 'meta_topk',
      temperature: 2,
      topP: 1,
      maxTokens: 32_768,
      quorum: 128,
      timeBudgetMs: 100,
      seed: 0xffff_ffff,
      template: 'paper-v1',
      meta: true,
    };
    const input = inputOf({
      ...withContent({ reference: 'So.', principles: [{ text: 'Honest', weightPercent: 100 }, { text: 'Brief' }] }),
      idempotencyKey: 'step-7/row-3',
      tenant: 'team.a_b-C9',
      class: 'interactive',
      options,
    });
    expect(input.options).toEqual(options);
    expect(input.idempotencyKey).toBe('step-7/row-3');
    expect([input.tenant, input.class]).toEqual(['team.a_b-C9', 'interactive']);
    expect(input.content.reference).toBe('So.');
    expect(input.content.principles).toEqual([{ text: 'Honest', weightPercent: 100 }, { text: 'Brief' }]);
  });

  it('takes a query as a text or a list of messages too', () => {
    const messages = good.content.query.messages;
    expect(inputOf(withContent({ query: 'Why is the sky blue?' })).content.messages).toEqual(messages);
    expect(inputOf(withContent({ query: messages })).content.messages).toEqual(messages);
  });

  it('takes an empty response: a model may answer nothing', () => {
    expect(inputOf(withContent({ responses: [''] })).content.responses).toEqual(['']);
  });

  it('takes a hint that names one of several responses, and no other', () => {
    expect(inputOf(withContent({ hintedBest: 1 })).content.hintedBest).toBe(1);
    expect(inputOf(withContent({ hintedBest: null })).content).not.toHaveProperty('hintedBest');
    for (const hintedBest of [2, -1, 0.5, '0']) {
      expect(fieldsOf(withContent({ hintedBest }))).toEqual(['content.hinted_best']);
    }
    expect(fieldsOf(withContent({ responses: ['only'], hintedBest: 0 }))).toEqual(['content.hinted_best']);
  });

  it('takes an empty reference, key, tenant or template as absent, and null as absent', () => {
    const input = inputOf({
      ...withContent({ reference: '', principles: null }),
      idempotencyKey: '',
      tenant: '',
      class: null,
      options: { k: null, template: '', meta: null },
    });
    expect(input).toEqual(inputOf(good));
  });

  it('counts UTF-8 bytes of all texts', () => {
    const input = inputOf({
      content: { query: 'é', responses: ['€', '🧮'], reference: 'a', principles: [{ text: 'ß' }] },
    });
    expect(input.contentBytes).toBe(2 + 3 + 4 + 1 + 2);
  });

  it('I3: makes lone surrogates what a protobuf decoder makes of broken UTF-8', () => {
    const input = inputOf({ content: { query: 'a\ud800b', responses: ['\udc00', '🧮'] } });
    expect(input.content.messages[0]!.content).toBe('a\ufffdb');
    expect(input.content.responses).toEqual(['\ufffd', '🧮']);
    expect(fieldsOf({ ...good, idempotencyKey: 'a\ud800' })).toEqual(['idempotency_key']);
  });
});

describe('intake of wrong requests', () => {
  it('I1: tells every wrong field of a request at once', () => {
    const everything: RawScore = {
      idempotencyKey: 'x'.repeat(257),
      tenant: 'no spaces',
      class: 'urgent',
      content: {
        query: {
          messages: [
            { role: 'robot', content: 'hi' },
            { role: 'user', content: 7 },
          ],
        },
        responses: [1, 'fine', null],
        reference: {},
        principles: [{ text: ' ', weightPercent: 0 }, { text: 'x'.repeat(limits.principleBytesMax + 1) }],
      },
      options: {
        k: 129,
        kMeta: 0,
        vote: 'best',
        temperature: 2.1,
        topP: 0,
        maxTokens: 0,
        quorum: 1.5,
        timeBudgetMs: 99,
        seed: -1,
        template: '../etc',
        meta: 'yes',
        stop: 'soon',
        stopError: 0,
      },
    };
    expect(fieldsOf(everything).sort()).toEqual(
      [
        'class',
        'content.principles[0].text',
        'content.principles[0].weight_percent',
        'content.principles[1].text',
        'content.query.messages[0].role',
        'content.query.messages[1].content',
        'content.reference',
        'content.responses[0]',
        'content.responses[2]',
        'idempotency_key',
        'options.k',
        'options.k_meta',
        'options.max_tokens',
        'options.meta',
        'options.quorum',
        'options.seed',
        'options.stop',
        'options.stop_error',
        'options.temperature',
        'options.template',
        'options.time_budget_ms',
        'options.top_p',
        'options.vote',
        'tenant',
      ].sort(),
    );
  });

  it('I1: a template that is not loaded is told where the door knows them, an ill-formed name once', () => {
    const templates = (template: string) => intake(withOptions({ template, k: 0 }), ['default', 'list']);
    expect(templates('elsewhere')).toMatchObject({
      violations: [
        { field: 'options.k' },
        { field: 'options.template', description: 'came "elsewhere", expected a loaded template: default, list' },
      ],
    });
    expect(templates('a/b')).toMatchObject({ violations: [{ field: 'options.k' }, { field: 'options.template' }] });
    expect(templates('list')).toMatchObject({ violations: [{ field: 'options.k' }] });
    expect(fieldsOf(withOptions({ template: 'elsewhere' }))).toEqual([]);
  });

  it('I1: says what came and what was expected, and shows no whole text', () => {
    const secret = `s3cret${'y'.repeat(5_000)}`;
    const [violation] = violationsOf({ ...good, tenant: secret });
    expect(violation!.description).toContain('5006 characters');
    expect(violation!.description).toContain("expected 1..64 of a-z, A-Z, 0-9, '-', '_', '.'");
    expect(violation!.description.length).toBeLessThan(160);
    expect(violationsOf(withOptions({ k: 200 }))[0]!.description).toBe('came 200, expected a whole number 1..128');
  });

  it('I1: tells at most 50 and how many more there are', () => {
    const principles = Array.from({ length: limits.principlesMax }, () => ({ text: '' }));
    const violations = violationsOf(withContent({ principles }));
    expect(violations).toHaveLength(limits.violationsMax);
    expect(violations.at(-1)).toEqual({ field: '', description: 'and 15 more violations' });
  });

  it.each<[string, RawScore, string[]]>([
    ['nothing at all', {}, ['content']],
    ['content that is a text', { content: 'judge this' }, ['content']],
    ['an empty content', { content: {} }, ['content.query.messages', 'content.responses']],
    ['no message', withContent({ query: { messages: [] } }), ['content.query.messages']],
    ['only empty messages', withContent({ query: ' \n ' }), ['content.query.messages']],
    [
      'a last turn that is not the user',
      withContent({
        query: [
          { role: 'user', content: 'a' },
          { role: 'assistant', content: 'b' },
        ],
      }),
      ['content.query.messages[1].role'],
    ],
    ['a message that is a text', withContent({ query: ['hello'] }), ['content.query.messages[0]']],
    ['no response', withContent({ responses: [] }), ['content.responses']],
    ['17 responses', withContent({ responses: Array(17).fill('a') }), ['content.responses']],
    ['65 principles', withContent({ principles: Array(65).fill({ text: 'a' }) }), ['content.principles']],
    ['k of NaN', withOptions({ k: NaN }), ['options.k']],
    ['a temperature of Infinity', withOptions({ temperature: Infinity }), ['options.temperature']],
    ['k_meta above k', withOptions({ k: 4, kMeta: 5 }), ['options.k_meta']],
    ['quorum above k', withOptions({ k: 4, quorum: 5 }), ['options.quorum']],
    ['k_meta above any k', withOptions({ kMeta: 129 }), ['options.k_meta']],
    ['a meta vote without meta', withOptions({ vote: 'meta_topk', meta: false }), ['options.meta']],
    ['k_meta without meta', withOptions({ kMeta: 2, meta: false }), ['options.k_meta']],
    ['k_meta with a vote that keeps all', withOptions({ kMeta: 2, vote: 'sum' }), ['options.k_meta']],
    ['an error level above a half', withOptions({ stop: 'confident', stopError: 0.51 }), ['options.stop_error']],
    ['an error level of another rule', withOptions({ stop: 'none', stopError: 0.1 }), ['options.stop_error']],
    ['options that are a list', withOptions([]), ['options']],
  ])('refuses %s', (_words, raw, fields) => {
    expect(fieldsOf(raw)).toEqual(fields);
  });

  it('weighs the content as a whole: exactly the limit passes, a byte more does not', () => {
    const room = limits.contentBytesMax - 1;
    expect(inputOf({ content: { query: 'q', responses: ['x'.repeat(room)] } }).contentBytes).toBe(
      limits.contentBytesMax,
    );
    expect(violationsOf({ content: { query: 'q', responses: ['x'.repeat(room), 'y'] } })).toEqual([
      {
        field: 'content',
        description: `came ${limits.contentBytesMax + 1} bytes of text, expected at most ${limits.contentBytesMax}`,
      },
    ]);
  });

  it('judges any JSON without throwing, and what passes is within limits', () => {
    const options = fc.record(
      {
        k: fc.oneof(fc.integer({ min: -1, max: 130 }), fc.jsonValue()),
        kMeta: fc.oneof(fc.integer({ min: -1, max: 130 }), fc.jsonValue()),
        temperature: fc.oneof(fc.double(), fc.jsonValue()),
        vote: fc.oneof(fc.constantFrom('sum', 'meta_topk'), fc.jsonValue()),
        meta: fc.jsonValue(),
      },
      { requiredKeys: [] },
    );
    const content = fc.record({
      query: fc.oneof(fc.string(), fc.jsonValue()),
      responses: fc.oneof(fc.array(fc.string({ unit: 'binary' }), { maxLength: 18 }), fc.jsonValue()),
    });
    fc.assert(
      fc.property(
        fc.record({
          content: fc.oneof(content, fc.jsonValue()),
          options: fc.oneof(options, fc.jsonValue()),
          tenant: fc.jsonValue(),
        }),
        (raw) => {
          const result = intake(raw);
          if (result.kind === 'violations') {
            expect(result.violations.length).toBeGreaterThan(0);
            for (const { description } of result.violations) expect(description.length).toBeLessThan(300);
            return;
          }
          const { k = 1, kMeta = 1, temperature = 0 } = result.input.options;
          expect(k >= 1 && k <= limits.kMax && kMeta >= 1 && temperature >= 0 && temperature <= 2).toBe(true);
          expect(result.input.content.responses.every((text) => text.isWellFormed())).toBe(true);
          expect(result.input.content.messages.at(-1)!.role).toBe('user');
        },
      ),
    );
  });
});
