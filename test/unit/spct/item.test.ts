import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { readItem } from '../../../src/spct/item.js';

const row = { query: 'Why?', responses: ['a', 'b'], best: 1 };

function problems(raw: unknown): string[] {
  const read = readItem(raw);
  return read.kind === 'violations' ? read.violations.map(({ field }) => field) : [];
}

describe('an item', () => {
  it('is read with everything that it may hold', () => {
    const read = readItem({
      ...row,
      id: 7,
      domain: 'maths',
      query: [{ role: 'user', content: 'Why?' }],
      reference: 'because',
      principles: ['short', { text: 'true', weight_percent: 60 }],
      source: 'somewhere',
    });
    expect(read).toEqual({
      kind: 'item',
      item: {
        id: '7',
        domain: 'maths',
        content: {
          messages: [{ role: 'user', content: 'Why?' }],
          responses: ['a', 'b'],
          reference: 'because',
          principles: [{ text: 'short' }, { text: 'true', weightPercent: 60 }],
        },
        label: { kind: 'best', n: 2, best: 1 },
      },
    });
  });

  it('without one best response is left out, and says which it is', () => {
    expect(readItem({ ...row, id: 'x', domain: 'd', best: null, labels: [5, 5] })).toEqual({
      kind: 'no_unique_best',
      head: { id: 'x', domain: 'd' },
    });
  });

  it('tells all that is wrong at once, each field as the row spells it', () => {
    const wrong = {
      id: { a: 1 },
      domain: 'd'.repeat(65),
      query: [{ role: 'nobody', content: 3 }],
      responses: ['a', 4],
      best: 2,
      principles: [{ text: '' }],
    };
    expect(problems(wrong)).toEqual([
      'query.messages[0].role',
      'query.messages[0].content',
      'responses[1]',
      'principles[0].text',
      'id',
      'domain',
      'best',
    ]);
    expect(problems({ query: 'Why?', responses: ['a'] })).toEqual(['labels']);
    expect(problems([])).toEqual(['']);
  });

  it('takes no JSON for an item that it cannot use, and never throws', () => {
    fc.assert(
      fc.property(fc.anything(), (value) => {
        expect(['item', 'no_unique_best', 'violations']).toContain(readItem(value).kind);
      }),
    );
  });
});
