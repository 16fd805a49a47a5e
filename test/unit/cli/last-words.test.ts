import { describe, expect, it } from 'vitest';
import { lastError, lastWords, LineSplitter, logWords } from '../../../src/cli/last-words.js';

const info = JSON.stringify({ level: 'info', message: 'coordinator serves' });
const fatal = JSON.stringify({ level: 'fatal', message: 'cannot start', error: { type: 'Error', message: 'no NATS' } });

describe('last words', () => {
  it('are the errors of a log', () => {
    expect(lastWords([info, fatal, info])).toBe('  cannot start: no NATS');
    expect(lastError([info, fatal, info])).toBe('cannot start: no NATS');
  });

  it('are all there is when nothing is called an error', () => {
    expect(lastWords([info, info])).toBe('  coordinator serves\n  coordinator serves');
    expect(lastError([info])).toBe(undefined);
  });

  it('keep what is no log line: a stack, a usage', () => {
    expect(lastWords([info, 'Error: boom', '    at x.js:1'])).toBe('  Error: boom\n      at x.js:1');
  });

  it.each(['{"level":3,"message":"x"}', '{}', 'null', '[1]', '"x"', '{"level":"info"}'])(
    'take %s as it stands',
    (line) => {
      expect(logWords(line)).toEqual({ level: '', words: line });
    },
  );
});

describe('line splitter', () => {
  it('gives whole lines, also of characters that came in two', () => {
    const lines: string[] = [];
    const splitter = new LineSplitter((line) => lines.push(line));
    const bytes = Buffer.from('grün\n\n  \nnext\nrest');
    for (const byte of bytes) splitter.take(Buffer.from([byte]));
    expect(lines).toEqual(['grün', 'next']);
  });

  it('holds no more than a bound of a line without an end', () => {
    const lines: string[] = [];
    const splitter = new LineSplitter((line) => lines.push(line));
    for (let times = 0; times < 40; times++) splitter.take(Buffer.alloc(10_000, 'x'));
    splitter.take(Buffer.from('\nnext\n'));
    expect(lines[0]?.length).toBe(64 * 1024);
    expect(lines[1]).toBe('next');
  });
});
