import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { itemKey, splitOf } from '../../../src/spct/split.js';
import { content } from '../../support/judgement.js';

const texts = fc.string({ unit: 'grapheme', maxLength: 10 });
const contents = fc
  .record({ query: texts, responses: fc.array(texts, { minLength: 1, maxLength: 4 }) })
  .map(({ query, responses }) => content(responses, { messages: [{ role: 'user', content: query }] }));
const shares = { validation: 0.1, test: 0.1 };

describe('split', () => {
  it('D1: an item is in one part, in whatever order its responses stand', () => {
    fc.assert(
      fc.property(contents, fc.nat(), (item, seed) => {
        const turned = { ...item, responses: [...item.responses].reverse(), reference: 'r' };
        expect(itemKey(turned)).toBe(itemKey(item));
        expect(splitOf(itemKey(turned), seed, shares)).toBe(splitOf(itemKey(item), seed, shares));
      }),
    );
  });

  it('D1: no item stands in two parts, however often and where it comes', () => {
    fc.assert(
      fc.property(fc.array(contents, { maxLength: 30 }), fc.nat(), (items, seed) => {
        const parts = new Map<string, Set<string>>();
        for (const item of [...items, ...items.toReversed()]) {
          const key = JSON.stringify([item.messages, [...item.responses].sort()]);
          const part = splitOf(itemKey(item), seed, shares);
          parts.set(key, (parts.get(key) ?? new Set()).add(part));
        }
        for (const part of parts.values()) expect(part.size).toBe(1);
      }),
    );
  });

  it('D2: by query, all items of a conversation stand together', () => {
    fc.assert(
      fc.property(contents, fc.array(texts, { minLength: 1, maxLength: 4 }), (item, responses) => {
        expect(itemKey({ ...item, responses }, 'query')).toBe(itemKey(item, 'query'));
      }),
    );
  });

  it('has about the shares asked for, and others with another seed', () => {
    const keys = Array.from({ length: 5_000 }, (_, at) => itemKey(content([`a${at}`, `b${at}`])));
    expect(new Set(keys).size).toBe(keys.length);
    const parts = keys.map((key) => splitOf(key, 1, { validation: 0.1, test: 0.2 }));
    const share = (part: string): number => parts.filter((each) => each === part).length / keys.length;
    expect(share('validation')).toBeCloseTo(0.1, 1);
    expect(share('test')).toBeCloseTo(0.2, 1);
    const others = keys.map((key) => splitOf(key, 2, { validation: 0.1, test: 0.2 }));
    expect(others).not.toEqual(parts);
    expect(new Set(keys.map((key) => splitOf(key, 1, { validation: 0, test: 0 })))).toEqual(new Set(['train']));
  });
});
