import { copyFile, mkdtemp, open, rm, truncate, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { ggufDigest, ggufTraits } from '../../../src/engine/gguf-digest.js';

const MiB = 1024 * 1024;
let folder: string;
beforeAll(async () => void (folder = await mkdtemp(join(tmpdir(), 'grm-digest-'))));
afterAll(() => rm(folder, { recursive: true }));

/** Of zeros, with `text` at each of `places`. */
async function model(name: string, bytes: number, places: readonly number[] = [], text = 'x'): Promise<string> {
  const path = join(folder, name);
  await writeFile(path, 'GGUF');
  await truncate(path, bytes);
  const file = await open(path, 'r+');
  for (const place of places) await file.write(text, place);
  await file.close();
  return path;
}

test('a copy is the same, wherever it stands', async () => {
  const one = await model('judge.gguf', 5 * MiB, [4 * MiB]);
  await copyFile(one, join(folder, 'copy.gguf'));
  expect(await ggufDigest(join(folder, 'copy.gguf'))).toBe(await ggufDigest(one));
});

test('another size, another beginning, another end, or other weights all over are another model', async () => {
  const plain = await ggufDigest(await model('plain.gguf', 20 * MiB));
  const everywhere = Array.from({ length: 400 }, (_, at) => Math.floor((at + 1) * (20 * MiB - 100) * (1 / 401)));
  for (const [name, bytes, places] of [
    ['longer', 20 * MiB + 1, []],
    ['head', 20 * MiB, [100]],
    ['end', 20 * MiB, [20 * MiB - 1]],
    ['weights', 20 * MiB, everywhere],
  ] as const) {
    expect(await ggufDigest(await model(`${name}.gguf`, bytes, places)), name).not.toBe(plain);
  }
});

test('of a model in parts every part counts', async () => {
  const first = await model('big-00001-of-00002.gguf', 1000);
  await model('big-00002-of-00002.gguf', 1000, [500]);
  const before = await ggufDigest(first);
  await model('big-00002-of-00002.gguf', 1000, [501]);
  expect(await ggufDigest(first)).not.toBe(before);
});

test('a file that is gone is told by nothing', async () => {
  await expect(ggufDigest(join(folder, 'none.gguf'))).rejects.toThrow('ENOENT');
  expect(await ggufTraits(join(folder, 'none.gguf'))).toBe('unread');
});
