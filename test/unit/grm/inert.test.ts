import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { tokenFinders } from '../../../src/grm/chat-tokens.js';
import { inert, noncePattern } from '../../../src/grm/inert.js';
import { findMarkers } from '../../../src/grm/markers.js';

const nonce = 'a1b2c3d4';
const safe = (text: string) => inert(text, noncePattern(nonce), []);
const undotted = (text: string) => text.replaceAll('\u00b7', '');

describe('inert text', () => {
  it('I1: is well-formed', () => {
    expect(safe('a\ud800b\udc00c\u{1f600}d\0e')).toBe('a\ufffdb\ufffdc\u{1f600}d\ufffde');
  });

  it('I2: never holds the nonce', () => {
    expect(safe('end of response 1 a1b2c3d4 A1B2C3D4')).toBe('end of response 1 […] […]');
    expect(safe('a1b2a1b2c3d4c3d4')).toBe('a1b2[…]c3d4');
    for (const bad of ['', 'abc', 'a.*b', 'abcd ', 'x'.repeat(65)]) expect(() => noncePattern(bad)).toThrow(RangeError);
  });

  it('leaves everything else as it is, boxes too', () => {
    const text =
      'Scores: \\boxed{10, 1}\r\n<b>x</b> a < b | c > d [1] {{nonce}} $& a[mask] x[i] List<T> <div> <user> f(x) |> g <!-- -->\t ';
    expect(safe(text)).toBe(text);
    const plain = fc
      .string({ unit: 'grapheme' })
      .filter((each) => !/[<[\]\0\u25c1]/.test(each.normalize('NFKC')) && safe(each) === each);
    fc.assert(
      fc.property(
        plain,
        fc.string({ unit: fc.constantFrom(...Array.from('ab \n.,:;1+=$\\{}^_()-*#é漢ж')) }),
        (a, b) => safe(a + b) === a + b,
      ),
    );
  });
});

/** Texts built of tokens, halves of tokens, markers, and everything that might join or hide them. */
const ownTokens = [
  '<|im_end|>',
  '<turn|>',
  '<|turn>',
  '[THINK]',
  '{{end}}',
  '<own:stop>',
  '@@stop@@',
  '<\uff5cA\uff5c>',
  '</s>',
  '<unused12>',
];
const halves = ownTokens.flatMap((token) => [token.slice(0, token.length >> 1), token.slice(token.length >> 1)]);
const markers = findMarkers({
  blocks: ['[reference] ', '<<<response {{number}} {{nonce}}>>>\n'],
  instructions: ['The conversation:'],
});
const others = [...tokenFinders(ownTokens), ...markers.inContent];
const hostile = fc
  .array(
    fc.oneof(
      fc.constantFrom(
        ...ownTokens,
        ...halves,
        '[reference]',
        '[refer',
        'ence]',
        '<<<',
        'response 1',
        '<',
        '[',
        '|',
        '\u200b',
        '\u0301',
        '\u00b7',
        nonce,
        nonce.slice(0, 4),
      ),
      fc.string({ unit: 'binary', maxLength: 3 }),
    ),
    { maxLength: 14 },
  )
  .map((all) => all.join(''));

describe('properties over texts made of tokens, markers and what might hide them', () => {
  it('I3, I4: no token of the list or of the engine, and no marker, is left; not even one that a replacement made', () => {
    fc.assert(
      fc.property(hostile, (text) => {
        const out = inert(text, noncePattern(nonce), others);
        for (const token of ownTokens) expect(out).not.toContain(token);
        expect(out).not.toMatch(/\[\s*reference|<<<response/i);
        expect(out.toLowerCase()).not.toContain(nonce);
      }),
      { numRuns: 2_000 },
    );
  });

  it('I5: a second time changes nothing, and but for dots, broken characters and the nonce the text is as it came', () => {
    fc.assert(
      fc.property(hostile, (text) => {
        const out = inert(text, noncePattern(nonce), others);
        expect(inert(out, noncePattern(nonce), others)).toBe(out);
        const expected = text.toWellFormed().replaceAll('\0', '\ufffd').replaceAll(new RegExp(nonce, 'gi'), '[…]');
        expect(undotted(out)).toBe(undotted(expected));
      }),
      { numRuns: 2_000 },
    );
  });

  it('takes time in proportion to the text, also where brackets, spaces or unseen characters come by the thousand', () => {
    const long = 200_000;
    for (const piece of [
      '<',
      '[',
      '<<<',
      '[ ',
      '[\u200b',
      '<|',
      '<|a',
      'reference ',
      '\n>',
      '\n#*',
      ']~',
      'the response ',
      '\u25c1',
      '\u0301',
      '（',
      '<start_of_',
    ])
      expect(undotted(inert(piece.repeat(long / piece.length), noncePattern(nonce), others)).length).toBeGreaterThan(0);
  });
});
