import fc from 'fast-check';
import { expect, test } from 'vitest';
import { nonceOf, textsOf } from '../../../src/coordinator/nonce.js';
import type { Content } from '../../../src/grm/query.js';
import { content } from '../../support/judgement.js';

const source = 'r0\0digest';
const plain = nonceOf(source, content(['a', 'b']));

/** A content with the text in each of the places that a prompt shows. */
const places: readonly ((text: string) => Content)[] = [
  (text) => content(['a', text]),
  (text) => content(['a', 'b'], { reference: text }),
  (text) => content(['a', 'b'], { principles: [{ text }] }),
  (text) =>
    content(['a', 'b'], {
      messages: [
        { role: 'system', content: text },
        { role: 'user', content: 'q' },
      ],
    }),
];

test('E1, E3: it follows from its source alone where no text holds it, and has 64 bits', () => {
  expect(plain).toMatch(/^[0-9a-f]{16}$/);
  expect(nonceOf(source, content(['other', 'texts', 'altogether']))).toBe(plain);
  expect(nonceOf('r0\0another', content(['a', 'b']))).not.toBe(plain);
});

test("E2, P8: a nonce that equals something in a text is not taken, whosever text it is and in whatever case of letters: nobody's text is ever blanked", () => {
  for (const place of places) {
    for (const text of [plain, `x${plain.toUpperCase()}y`, `${plain}${plain}`]) {
      const asked = place(text);
      const nonce = nonceOf(source, asked);
      expect([...textsOf(asked)].join('\n').toLowerCase()).not.toContain(nonce);
      expect(nonceOf(source, place(text))).toBe(nonce);
    }
  }
});

test('E2: as often as it must be', () => {
  fc.assert(
    fc.property(fc.integer({ min: 1, max: 12 }), (times) => {
      const found: string[] = [];
      for (let turn = 0; turn < times; turn++) found.push(nonceOf(source, content(['a', found.join(' ')])));
      expect(new Set(found).size).toBe(times);
    }),
  );
});
