import fc from 'fast-check';
import { expect, test } from 'vitest';
import type { ScoreInput } from '../../../src/coordinator/coordinator.js';
import {
  identify as identifyUnder,
  isRequestId,
  requestIdOfKey,
  type Under,
} from '../../../src/coordinator/identity.js';

const under: Under = {
  judge: 'a',
  defaults: { k: 8, temperature: 0.5, topP: 1, maxTokens: 256, vote: 'auto', quorumRatio: 0.5, timeBudgetMs: 60_000 },
};
const identify = (input: ScoreInput, more: Partial<Under> = {}) => identifyUnder(input, { ...under, ...more });

const texts = fc.string({ unit: 'grapheme', maxLength: 12 });
const inputs: fc.Arbitrary<ScoreInput> = fc
  .record(
    {
      idempotencyKey: fc.string({ minLength: 1, maxLength: 20 }),
      tenant: fc.constantFrom('a', 'b'),
      class: fc.constantFrom('interactive', 'rl', 'batch'),
      content: fc.record(
        {
          messages: fc.array(fc.record({ role: fc.constantFrom('user', 'assistant'), content: texts }), {
            minLength: 1,
            maxLength: 3,
          }),
          responses: fc.array(texts, { minLength: 1, maxLength: 4 }),
          reference: texts,
          principles: fc.array(fc.record({ text: texts }), { maxLength: 2 }),
          hintedBest: fc.nat({ max: 3 }),
        },
        { requiredKeys: ['messages', 'responses', 'principles'] },
      ),
      contentBytes: fc.constant(10),
      options: fc.record({ k: fc.integer({ min: 1, max: 64 }), seed: fc.nat() }, { requiredKeys: [] }),
    },
    { requiredKeys: ['tenant', 'class', 'content', 'contentBytes', 'options'] },
  )
  .map((input) => input as ScoreInput);

test('the same request is the same, also when it waits for another time, quorum or class', () => {
  fc.assert(
    fc.property(inputs, (input) => {
      const again = structuredClone({ ...input, class: 'batch' as const });
      const patient = { ...again, options: { ...again.options, timeBudgetMs: 5, quorum: 1 } };
      expect(identify(again)).toEqual(identify(input));
      expect(identify(patient)).toEqual(identify(input));
    }),
  );
});

test('ids are safe tokens that hold nothing of key, tenant or content', () => {
  fc.assert(
    fc.property(inputs, (input) => {
      const { requestId, digest, nonce } = identify(input);
      expect(isRequestId(requestId)).toBe(true);
      expect(digest).toMatch(/^[0-9a-f]{64}$/);
      expect(nonce).toMatch(/^[0-9a-f]{16}$/);
    }),
  );
  expect(isRequestId('step-7')).toBe(false);
});

const changes: readonly ((input: ScoreInput) => ScoreInput)[] = [
  (input) => ({ ...input, content: { ...input.content, responses: [...input.content.responses, ''] } }),
  (input) => ({
    ...input,
    content: { ...input.content, responses: input.content.responses.map((text) => `${text} `) },
  }),
  (input) => ({ ...input, content: { ...input.content, reference: `${input.content.reference ?? ''}.` } }),
  (input) => ({ ...input, content: { ...input.content, principles: [...input.content.principles, { text: 'more' }] } }),
  (input) => ({
    ...input,
    content: { ...input.content, messages: [...input.content.messages, { role: 'user', content: '' }] },
  }),
  (input) => ({ ...input, options: { ...input.options, k: (input.options.k ?? 0) + 1 } }),
  (input) => ({ ...input, options: { ...input.options, temperature: 0.25 } }),
  (input) => ({ ...input, options: { ...input.options, template: 'other' } }),
];

test('any change of content or options is another digest and another nonce; with a key the id stays, without it does not', () => {
  fc.assert(
    fc.property(inputs, fc.constantFrom(...changes), (input, change) => {
      const before = identify(input);
      const after = identify(change(input));
      expect(after.digest).not.toBe(before.digest);
      expect(after.nonce).not.toBe(before.nonce);
      if (input.idempotencyKey === undefined) expect(after.requestId).not.toBe(before.requestId);
      else expect(after.requestId).toBe(before.requestId);
    }),
  );
});

test('P8: no response holds its own nonce by accident of moving text between fields', () => {
  fc.assert(
    fc.property(inputs, (input) => {
      const { nonce } = identify(input);
      const copied = { ...input, content: { ...input.content, responses: [...input.content.responses, nonce] } };
      expect(identify(copied).nonce).not.toBe(nonce);
    }),
  );
});

test("a key is one tenant's own, and never the id of a request without a key", () => {
  fc.assert(
    fc.property(fc.string({ minLength: 1 }), (key) => {
      expect(requestIdOfKey(key, 'a')).not.toBe(requestIdOfKey(key, 'b'));
    }),
  );
  const input: ScoreInput = {
    tenant: 'a',
    class: 'rl',
    content: { messages: [{ role: 'user', content: 'q' }], responses: ['x'], principles: [] },
    contentBytes: 2,
    options: {},
  };
  const { requestId, digest } = identify(input);
  expect(requestIdOfKey(digest, 'a')).not.toBe(requestId);
  expect(identify({ ...input, idempotencyKey: 'k' }).requestId).toBe(requestIdOfKey('k', 'a'));
  expect(identify({ ...input, idempotencyKey: '' }).requestId).toBe(requestId);
});

test('a hint makes another request', () => {
  fc.assert(
    fc.property(inputs, fc.nat({ max: 3 }), (input, hintedBest) => {
      const { hintedBest: _, ...content } = input.content;
      const plain = { ...input, content };
      const hinted = { ...input, content: { ...content, hintedBest } };
      expect(identify(hinted).digest).not.toBe(identify(plain).digest);
      expect(identify(hinted).nonce).not.toBe(identify(plain).nonce);
    }),
  );
});

test('ID1, ID2: another judge, or other defaults for what is left open, make another request without a key; with one the prompts stay', () => {
  const unders: readonly Partial<Under>[] = [
    { judge: 'b' },
    { defaults: { ...under.defaults, k: 4 } },
    { defaults: { ...under.defaults, temperature: 1 } },
    { defaults: { ...under.defaults, topP: 0.5 } },
    { defaults: { ...under.defaults, maxTokens: 64 } },
    { defaults: { ...under.defaults, vote: 'sum' } },
    { defaults: { ...under.defaults, stop: 'confident', stopError: 0.1 } },
  ];
  fc.assert(
    fc.property(inputs, fc.constantFrom(...unders), (input, more) => {
      const open = { ...input, options: {} };
      const before = identify(open);
      const after = identify(open, more);
      expect(after.digest).toBe(before.digest);
      if (input.idempotencyKey === undefined) expect(after.requestId).not.toBe(before.requestId);
      else expect(after).toEqual(before);
    }),
  );
});

test('defaults that a request does not leave open, and those that only say how long to wait, change nothing', () => {
  fc.assert(
    fc.property(inputs, (input) => {
      const said = {
        ...input,
        options: { k: 4, temperature: 0, topP: 1, maxTokens: 9, vote: 'sum', ...input.options } as const,
      };
      const defaults = { ...under.defaults, k: 5, temperature: 2, topP: 0.1, maxTokens: 1, vote: 'mean' } as const;
      expect(identify(said, { defaults })).toEqual(identify(said));
      const patient = { ...under.defaults, quorumRatio: 1, timeBudgetMs: 1 };
      expect(identify(input, { defaults: patient })).toEqual(identify(input));
    }),
  );
});

test('a word for drawing anew makes another request, with a key too, and the same word the same', () => {
  fc.assert(
    fc.property(inputs, fc.string({ minLength: 1 }), fc.string({ minLength: 1 }), (input, one, other) => {
      const fresh = (word: string): string => identify({ ...input, fresh: word }).requestId;
      expect(fresh(one)).not.toBe(identify(input).requestId);
      expect(fresh(one) === fresh(other)).toBe(one === other);
    }),
  );
});
