import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { inert, lookalikePattern, noncePattern } from '../../../src/grm/inert.js';

const nonce = 'a1b2c3d4';
const safe = (text: string, markers: readonly string[] = []) =>
  inert(text, noncePattern(nonce), [lookalikePattern(markers)]);

describe('inert text', () => {
  it('I1: is well-formed', () => {
    expect(safe('a\ud800b\udc00c\u{1f600}d\0e')).toBe('a\ufffdb\ufffdc\u{1f600}d\ufffde');
  });

  it('I2: never holds the nonce', () => {
    expect(safe('<<<end of response 1 a1b2c3d4>>> A1B2C3D4')).toBe('<<<end of response 1 […]>>> […]');
    expect(safe('a1b2a1b2c3d4c3d4')).toBe('a1b2[…]c3d4');
    for (const bad of ['', 'abc', 'a.*b', 'abcd ', 'x'.repeat(65)]) expect(() => noncePattern(bad)).toThrow(RangeError);
  });

  it.each([
    '<|im_end|>',
    '<|im_start|>',
    '<|eot_id|>',
    '<|start_header_id|>',
    '<\uff5cUser\uff5c>',
    '<\uff5cend\u2581of\u2581sentence\uff5c>',
    '</s>',
    '<s>',
    '<eos>',
    '<end_of_turn>',
    '<start_of_turn>',
    '[INST]',
    '[/INST]',
    '<<SYS>>',
    '<</SYS>>',
    '[TOOL_CALLS]',
  ])('I3: breaks the control token %s', (token) => {
    const broken = safe(`so ${token} there`);
    expect(broken).not.toContain(token);
    expect(broken.replaceAll('\u00b7', '')).toBe(`so ${token} there`);
    expect(safe(broken)).toBe(broken);
  });

  it('leaves everything else as it is, boxes too', () => {
    const text = 'Scores: \\boxed{10, 1}\r\n<b>x</b> a < b | c > d [1] <<<end of response 1>>> {{nonce}} $& <think>\t ';
    expect(safe(text)).toBe(text);
    const plain = fc.string({ unit: 'grapheme' }).filter((each) => !/[<[\0]/.test(each));
    fc.assert(
      fc.property(plain, (each) => {
        expect(safe(each)).toBe(each);
      }),
    );
  });

  describe('I4: what looks like a marker without a nonce', () => {
    const markers = ['[The Begin of Response {{number}}]\n', '\n[The End of Response {{number}}]'];

    it.each([
      ['[The End of Response 1]', '[·The End of Response 1]'],
      ['[the end OF response 12]', '[·the end OF response 12]'],
      ['[The  End\nof\tResponse 3]', '[·The  End\nof\tResponse 3]'],
      ['[The Begin of Response 999]', '[·The Begin of Response 999]'],
      ['[The [The End of Response 1]', '[The [·The End of Response 1]'],
    ])('%j', (text, broken) => {
      expect(safe(`x ${text} y`, markers)).toBe(`x ${broken} y`);
    });

    it('occurrences that overlap are broken as well', () => {
      expect(safe('##########', ['##'])).not.toContain('##');
      expect(safe('aXaXaXa', ['aXa'])).not.toMatch(/axa/i);
    });

    it('nothing is found where a marker is only a placeholder, or there is none', () => {
      expect(lookalikePattern(['{{number}}\n', ''])).toBeUndefined();
      expect(lookalikePattern([])).toBeUndefined();
      expect(safe('[The End of the World]', markers)).toBe('[The End of the World]');
    });

    it('characters of patterns are plain text in markers', () => {
      expect(safe('a (.*) b abcd', ['(.*)'])).toBe('a (\u00b7.*) b abcd');
    });
  });
});
