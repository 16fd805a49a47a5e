import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { fold } from '../../../src/grm/fold.js';

const piece = fc.oneof(
  fc.constantFrom(
    '［',
    '【',
    '⟦',
    'ｒｅｆ',
    'е',
    '𝐫𝐞𝐟',
    '\u200b',
    '\u0301',
    '…',
    '⑴',
    'İ',
    'ﬁ',
    '漢字',
    '한국',
    '\u{1f600}',
    '\u{e0041}',
    'a',
    ' ',
    '\u3000',
    '\u00b7',
  ),
  fc.string({ unit: 'binary', maxLength: 3 }),
);
const text = fc.array(piece, { maxLength: 20 }).map((all) => all.join('').toWellFormed());

describe('the fold of a text', () => {
  it.each([
    ['［reference］', '[reference]'],
    ['【reference】', '[reference]'],
    ['[ｒｅｆｅｒｅｎｃｅ]', '[reference]'],
    ['[𝐫𝐞𝐟𝐞𝐫𝐞𝐧𝐜𝐞]', '[reference]'],
    ['[re\u200bfer\u2060en\u00adce]', '[reference]'],
    ['[r\u0435f\u0435r\u0435n\u0441\u0435]', '[reference]'],
    ['[référence]', '[reference]'],
    ['[ʀᴇғᴇʀᴇɴᴄᴇ]', '[reference]'],
    ['‹‹‹response １›››', '<<<response 1>>>'],
    ['<\uff5cUser\uff5c>', '<|User|>'],
    ['a\u00a0b\u3000c\u2028d', 'a b c\nd'],
    ['Reference\uff1a', 'Reference:'],
    ['漢字かな', '漢字かな'],
  ])('%s', (from, to) => {
    expect(fold(from).text).toBe(to);
  });

  it('F1: is made character by character', () => {
    fc.assert(fc.property(text, text, (a, b) => fold(a + b).text === fold(a).text + fold(b).text));
  });

  it('F2: of ASCII is the text itself; small letters have the places of the others', () => {
    fc.assert(fc.property(fc.string({ unit: 'binary-ascii' }), (ascii) => fold(ascii).text === ascii));
    fc.assert(fc.property(text, (any) => fold(any).lower.length === fold(any).text.length));
  });

  it('every unit leads back to the character that it was made of', () => {
    fc.assert(
      fc.property(text, (any) => {
        const folded = fold(any);
        const starts = new Map<number, string>();
        let at = 0;
        for (const character of any) {
          starts.set(at, character);
          at += character.length;
        }
        let last = 0;
        for (let place = 0; place < folded.text.length; place++) {
          const origin = folded.originOf(place);
          expect(origin).toBeGreaterThanOrEqual(last);
          last = origin;
          const character = starts.get(origin);
          // The second half of a character outside the BMP that stays as it is.
          if (character === undefined) expect(starts.get(origin - 1)).toHaveLength(2);
          else expect(fold(character).text).toContain(folded.text[place]);
        }
      }),
      { numRuns: 500 },
    );
  });
});
