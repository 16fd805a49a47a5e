import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { readLines, type Line } from '../../../src/cli/lines.js';

async function* chunks(...parts: readonly (Buffer | string)[]): AsyncGenerator<Buffer | string> {
  for (const part of parts) yield await Promise.resolve(part);
}

async function all(parts: readonly (Buffer | string)[], headBytesMax = 1_000): Promise<Line[]> {
  const found: Line[] = [];
  for await (const line of readLines(chunks(...parts), headBytesMax)) found.push(line);
  return found;
}

describe('lines', () => {
  it('are split at newlines alone', async () => {
    const found = await all(['a\u2028b\rc\r\nd\u0000\n\ne']);
    expect(found.map(({ head, ended }) => [head.toString(), ended])).toEqual([
      ['a\u2028b\rc\r', true],
      ['d\u0000', true],
      ['', true],
      ['e', false],
    ]);
  });

  it('hold no more than asked and count the rest', async () => {
    const found = await all(['abcdef', 'ghi\nx\n', 'y'.repeat(50)], 4);
    expect(found.map(({ head, lengthBytes }) => [head.toString(), lengthBytes])).toEqual([
      ['abcd', 9],
      ['x', 1],
      ['yyyy', 50],
    ]);
  });

  it('are the same however the bytes are cut', async () => {
    await fc.assert(
      fc.asyncProperty(fc.uint8Array({ max: 30 }), fc.array(fc.nat(6)), async (bytes, cuts) => {
        // Many newlines, so that every cut stands beside one now and then.
        const text = Buffer.from(bytes.map((byte) => (byte < 12 ? 10 : byte)));
        const parts: Buffer[] = [];
        let from = 0;
        for (const cut of cuts) {
          parts.push(text.subarray(from, from + cut));
          from += cut;
        }
        parts.push(text.subarray(from));
        const found = await all(parts);
        const joined = Buffer.concat(found.flatMap(({ head, ended }) => [head, Buffer.from(ended ? '\n' : '')]));
        expect(joined.equals(text)).toBe(true);
        expect(found.every(({ head }) => !head.includes(10))).toBe(true);
      }),
    );
  });
});
