import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { indented, oneLine, printable } from '../../../src/cli/printable.js';

// eslint-disable-next-line no-control-regex
const steers = /[\u0000-\u0008\u000b-\u001f\u007f-\u009f\u202a-\u202e\u2066-\u2069]/;

describe('printable', () => {
  it('shows what would steer a terminal and keeps the rest', () => {
    expect(printable('a\u001b[31mred\u001b[0m\u0007\u009b1m\ttab\nline\r\nnext\rback')).toBe(
      'a\ufffd[31mred\ufffd[0m\ufffd\ufffd1m\ttab\nline\nnext\ufffdback',
    );
    expect(printable('safe \u202eesrever\u2069')).toBe('safe \ufffdesrever\ufffd');
    expect(printable('日本語 😀 Ünïcödé \ud800')).toBe('日本語 😀 Ünïcödé \ufffd');
  });

  it('lets nothing through that steers', () => {
    fc.assert(
      fc.property(fc.string({ unit: 'binary', maxLength: 50 }), (text) => {
        expect(printable(text)).not.toMatch(steers);
        expect(indented(text)).not.toMatch(steers);
        expect(oneLine(text, 20)).not.toMatch(steers);
      }),
    );
  });
});

describe('oneLine', () => {
  it('folds white space and cuts whole characters', () => {
    expect(oneLine('  a\n\n b\tc ', 10)).toBe('a b c');
    expect(oneLine('abcdef', 5)).toBe('abcd…');
    expect(oneLine('😀😀😀😀😀😀', 5)).toBe('😀😀😀😀…');
  });

  it('is one line of at most that many characters', () => {
    fc.assert(
      fc.property(fc.string({ unit: 'binary', maxLength: 400 }), fc.integer({ min: 2, max: 30 }), (text, widthMax) => {
        const line = oneLine(text, widthMax);
        expect(line).not.toMatch(/[\n\r\t]/);
        expect(Array.from(line).length).toBeLessThanOrEqual(widthMax);
      }),
    );
  });
});

it('indented keeps the lines', () => {
  expect(indented('a\nb\u0007')).toBe('  a\n  b\ufffd');
});
