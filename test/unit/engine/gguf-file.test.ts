import { chmodSync, mkdirSync, mkdtempSync, readFileSync, rmSync, truncateSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, describe, expect, it } from 'vitest';
import { UnfitModel } from '../../../src/engine/engine.js';
import { checkGguf } from '../../../src/engine/gguf-file.js';
import { writeTinyGguf } from '../../support/gguf.js';

const folder = mkdtempSync(join(tmpdir(), 'grm-gguf-'));
afterAll(() => rmSync(folder, { recursive: true, force: true }));

const whole = join(folder, 'whole.gguf');
writeTinyGguf(whole, { seed: 1, contextTokens: 64 });
const bytes = readFileSync(whole);

function fileOf(name: string, content: Uint8Array | string): string {
  const path = join(folder, name);
  writeFileSync(path, content);
  return path;
}

/** What is said of a file; fails unless it is that no other try would help (G2). */
async function unfit(path: string): Promise<string> {
  const error: unknown = await checkGguf(path).then(
    () => undefined,
    (thrown: unknown) => thrown,
  );
  expect(error, path).toBeInstanceOf(UnfitModel);
  const { message } = error as Error;
  expect(message).toContain(path);
  return message;
}

describe('a GGUF file', () => {
  it('that is whole passes, also with bytes behind it', async () => {
    await checkGguf(whole);
    await checkGguf(fileOf('more.gguf', Buffer.concat([bytes, Buffer.alloc(1000)])));
  });

  it('G1: cut short by one byte of its tensors or by most of them says how much is missing', async () => {
    const lost = [64, 4_096, bytes.length >> 1];
    for (const missing of lost) {
      const path = join(folder, `cut-${missing}.gguf`);
      writeFileSync(path, bytes);
      truncateSync(path, bytes.length - missing);
      const message = await unfit(path);
      expect(message).toMatch(/cut short: it has \d+ bytes, and its \d+ tensors need \d+/);
    }
  });

  it('cut anywhere in its header is told apart from a whole one', async () => {
    for (let end = 5; end < 8_000; end += 97) {
      expect(await unfit(fileOf('head.gguf', bytes.subarray(0, end)))).toMatch(/cut short|damaged/);
    }
  });

  it('with numbers that cannot be is damaged, and is not read on', async () => {
    const damage = (at: number, value: bigint): Buffer => {
      const copy = Buffer.from(bytes);
      copy.writeBigUInt64LE(value, at);
      return copy;
    };
    expect(await unfit(fileOf('tensors.gguf', damage(8, 2n ** 60n)))).toContain('damaged');
    expect(await unfit(fileOf('keys.gguf', damage(16, 2n ** 60n)))).toContain('damaged');
    expect(await unfit(fileOf('key.gguf', damage(24, 2n ** 60n)))).toContain('damaged');
  });

  it('of another version says so', async () => {
    const versioned = (version: number): Buffer => {
      const copy = Buffer.from(bytes);
      copy.writeUInt32LE(version, 4);
      return copy;
    };
    expect(await unfit(fileOf('v1.gguf', versioned(1)))).toContain('too old');
    expect(await unfit(fileOf('v9.gguf', versioned(9)))).toContain('not known');
    expect(await unfit(fileOf('big.gguf', versioned(0x03000000)))).toContain('big-endian');
  });
});

describe('what is no GGUF file', () => {
  it.each([
    ['empty', '', /is empty/],
    ['lfs', 'version https://git-lfs.github.com/spec/v1\noid sha256:00\nsize 9\n', /Git LFS.*git lfs pull/],
    ['html', '\n<!DOCTYPE html><html><head><title>Sign in</title>', /web page/],
    ['json', '{"error":"Repository not found"}', /JSON/],
    ['safetensors', Buffer.from([16, 0, 0, 0, 0, 0, 0, 0, 1, 2]), /not a GGUF file$/],
    ['short', 'GG', /not a GGUF file/],
  ])('%s', async (name, content, words) => {
    expect(await unfit(fileOf(`${name}.gguf`, content))).toMatch(words);
  });

  it('a directory', async () => {
    const path = join(folder, 'dir.gguf');
    mkdirSync(path);
    expect(await unfit(path)).toContain('a directory');
  });

  it.skipIf(process.getuid?.() === 0)('a file that may not be read', async () => {
    const path = fileOf('secret.gguf', bytes);
    chmodSync(path, 0);
    expect(await unfit(path)).toContain('EACCES');
  });

  it('G2: a file that is not there may come', async () => {
    const missing = checkGguf(join(folder, 'nowhere.gguf'));
    await expect(missing).rejects.toThrow('ENOENT');
    await expect(missing).rejects.not.toBeInstanceOf(UnfitModel);
  });
});

describe('a split model', () => {
  /** The same file with `split.count` in its metadata. */
  function part(count: number): Buffer {
    const key = Buffer.from('split.count');
    const pair = Buffer.alloc(8 + key.length + 4 + 2);
    pair.writeBigUInt64LE(BigInt(key.length), 0);
    key.copy(pair, 8);
    pair.writeUInt32LE(2, 8 + key.length);
    pair.writeUInt16LE(count, 12 + key.length);
    const header = Buffer.from(bytes.subarray(0, 24));
    header.writeBigUInt64LE(header.readBigUInt64LE(16) + 1n, 16);
    // Longer by less than one alignment: the tensors begin where they began, or one alignment later.
    return Buffer.concat([header, pair, bytes.subarray(24), Buffer.alloc(64)]);
  }

  it('needs all of its parts, each of them whole', async () => {
    const first = fileOf('m-00001-of-00002.gguf', part(2));
    expect(await unfit(first)).toContain('m-00002-of-00002.gguf is not beside it');
    const second = fileOf('m-00002-of-00002.gguf', part(2));
    await checkGguf(first);
    truncateSync(second, bytes.length >> 1);
    await expect(checkGguf(first)).rejects.toThrow(/m-00002-of-00002.gguf is cut short/);
  });

  it('is named by its first part', async () => {
    expect(await unfit(fileOf('n-00002-of-00002.gguf', part(2)))).toContain('-00001-of-00002.gguf');
    expect(await unfit(fileOf('renamed.gguf', part(3)))).toContain('-00001-of-00003.gguf');
  });
});
