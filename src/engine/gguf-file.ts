// GGUF file: is a path a whole model? llama.cpp's own words for anything else are hard to read, and come late; a file that is cut short it
// fails to load again and again.
//
//   G1. Reads the header alone, never the tensors: what they need is known from their table (format: github.com/ggml-org/ggml docs/gguf.md).
//   G2. What no other try would mend is an UnfitModel. A file that is not there, or a disk that fails, may be there the next time.

import { open, type FileHandle } from 'node:fs/promises';
import { basename, dirname, join } from 'node:path';
import { limits } from '../limits.js';
import { UnfitModel } from './engine.js';

/** Throws an Error in words when the file, or another part of a split one, cannot be read, is something else or is not whole (G2). */
export async function checkGguf(path: string): Promise<void> {
  const first = await checkFile(path);
  if (first.parts <= 1) return;
  const [, stem, number, count] = splitName.exec(basename(path)) ?? [];
  if (stem === undefined || Number(number) !== 1 || Number(count) !== first.parts) {
    const wanted = `-00001-of-${String(first.parts).padStart(5, '0')}.gguf`;
    throw new UnfitModel(
      `${path} is one of ${first.parts} parts of a model: name the first one, which ends in ${wanted}`,
    );
  }
  for (let part = 2; part <= first.parts; part++) {
    const name = `${stem}-${String(part).padStart(5, '0')}-of-${count}.gguf`;
    await checkFile(join(dirname(path), name)).catch((error: unknown) => {
      if (!isMissing(error)) throw error;
      throw new UnfitModel(`${path} is one of ${first.parts} parts of a model, and ${name} is not beside it`);
    });
  }
}

/** Whether a model's name is the path of such a file. */
export function isGguf(model: string): boolean {
  return /\.gguf$/i.test(model) && !model.startsWith('hf:');
}

const splitName = /^(.*)-(\d{5})-of-(\d{5})\.gguf$/i;

interface Checked {
  /** Files that the model is split into. */
  readonly parts: number;
}

async function checkFile(path: string): Promise<Checked> {
  const file = await open(path).catch((error: unknown) => {
    throw unreadable(path, error);
  });
  try {
    const stats = await file.stat();
    if (!stats.isFile())
      throw new UnfitModel(`${path} is ${stats.isDirectory() ? 'a directory' : 'no file'}, not a GGUF file`);
    return await readHeader(path, new Cursor(file, stats.size));
  } catch (error) {
    if (error instanceof EndOfFile) {
      throw new UnfitModel(
        `${path} is cut short: its header goes on after its ${error.sizeBytes} bytes; download it again`,
      );
    }
    if (error instanceof UnfitModel) throw error;
    throw unreadable(path, error);
  } finally {
    await file.close();
  }
}

function isMissing(error: unknown): boolean {
  return error instanceof Error && !(error instanceof UnfitModel) && error.message.includes('ENOENT');
}

function unreadable(path: string, error: unknown): Error {
  const words = `the model file cannot be read: ${error instanceof Error ? error.message : String(error)}`;
  const code = (error as { readonly code?: unknown } | undefined)?.code;
  const forGood = code === 'EACCES' || code === 'EPERM' || code === 'EISDIR' || code === 'ENOTDIR' || code === 'ELOOP';
  return forGood ? new UnfitModel(words) : new Error(words.includes(path) ? words : `${words} (${path})`);
}

async function readHeader(path: string, cursor: Cursor): Promise<Checked> {
  if (cursor.sizeBytes === 0) throw new UnfitModel(`${path} is empty`);
  const magic = (await cursor.peek(4)).toString('latin1');
  if (magic !== 'GGUF') throw new UnfitModel(`${path} is not a GGUF file${whatElse(await cursor.peek(64))}`);
  await cursor.skip(4);
  const version = await cursor.u32();
  if (version < 2 || version > 3) {
    const why = version === 1 ? 'too old' : version >= 1 << 16 ? 'for big-endian machines' : 'not known';
    throw new UnfitModel(`${path} is a GGUF file of a version that is ${why}`);
  }
  const tensors = await cursor.u64();
  const keys = await cursor.u64();
  if (tensors > limits.ggufTensorsMax || keys > limits.ggufKeysMax) throw damaged(path);

  let alignment = 32;
  let parts = 1;
  for (let at = 0; at < keys; at++) {
    const key = await cursor.string(path);
    const type = await cursor.u32();
    if (key === 'general.alignment' && type === 4) alignment = await cursor.u32();
    else if (key === 'split.count' && type === 2) parts = await cursor.u16();
    else await skipValue(path, cursor, type, 0);
  }
  if (alignment === 0) throw damaged(path);

  let endOfData = 0;
  for (let at = 0; at < tensors; at++) {
    await cursor.string(path);
    const dimensions = await cursor.u32();
    if (dimensions > 8) throw damaged(path);
    let elements = 1;
    for (let dimension = 0; dimension < dimensions; dimension++) elements *= await cursor.u64();
    const [perBlock, blockBytes] = blocks.get(await cursor.u32()) ?? [1, 0];
    const offset = await cursor.u64();
    endOfData = Math.max(endOfData, offset + Math.ceil(elements / perBlock) * blockBytes);
  }
  const neededBytes = Math.ceil(cursor.position / alignment) * alignment + endOfData;
  if (tensors > 0 && neededBytes > cursor.sizeBytes) {
    throw new UnfitModel(
      `${path} is cut short: it has ${cursor.sizeBytes} bytes, and its ${tensors} tensors need ${neededBytes}; download it again`,
    );
  }
  return { parts };
}

/** What often stands where a model should. */
function whatElse(beginning: Buffer): string {
  const text = beginning.toString('latin1').trimStart();
  if (text.startsWith('version https://git-lfs')) return ' but a pointer of Git LFS: `git lfs pull` brings the model';
  if (/^(?:\u00ef\u00bb\u00bf)?\s*<(?:!doctype|html|\?xml|head)/i.test(text))
    return ' but a web page: download the file itself';
  if (text.startsWith('{')) return ' but JSON text: download the file itself';
  return '';
}

function damaged(path: string): UnfitModel {
  return new UnfitModel(`the header of ${path} is damaged; download it again`);
}

/** Bytes of the values of one size, by type. */
const valueBytes = new Map([
  [0, 1],
  [1, 1],
  [2, 2],
  [3, 2],
  [4, 4],
  [5, 4],
  [6, 4],
  [7, 1],
  [10, 8],
  [11, 8],
  [12, 8],
]);

async function skipValue(path: string, cursor: Cursor, type: number, depth: number): Promise<void> {
  const bytes = valueBytes.get(type);
  if (bytes !== undefined) return cursor.skip(bytes);
  if (type === 8) {
    await cursor.string(path);
    return;
  }
  if (type !== 9 || depth > 4) throw damaged(path);
  const inner = await cursor.u32();
  const count = await cursor.u64();
  const each = valueBytes.get(inner);
  if (each !== undefined) return cursor.skip(each * count);
  for (let at = 0; at < count; at++) await skipValue(path, cursor, inner, depth + 1);
}

/** Elements and bytes of one block by ggml's number of the type. One that is not here counts as empty: its tensor is only known to begin. */
const blocks: ReadonlyMap<number, readonly [number, number]> = new Map([
  [0, [1, 4]],
  [1, [1, 2]],
  [2, [32, 18]],
  [3, [32, 20]],
  [6, [32, 22]],
  [7, [32, 24]],
  [8, [32, 34]],
  [9, [32, 36]],
  [10, [256, 84]],
  [11, [256, 110]],
  [12, [256, 144]],
  [13, [256, 176]],
  [14, [256, 210]],
  [15, [256, 292]],
  [16, [256, 66]],
  [17, [256, 74]],
  [18, [256, 98]],
  [19, [256, 50]],
  [20, [32, 18]],
  [21, [256, 110]],
  [22, [256, 82]],
  [23, [256, 136]],
  [24, [1, 1]],
  [25, [1, 2]],
  [26, [1, 4]],
  [27, [1, 8]],
  [28, [1, 8]],
  [29, [256, 56]],
  [30, [1, 2]],
  [34, [256, 54]],
  [35, [256, 66]],
  [39, [32, 17]],
]);

class EndOfFile extends Error {
  constructor(readonly sizeBytes: number) {
    super('end of file');
  }
}

const chunkBytes = 256 * 1024;

/** Reads a file from its beginning on, little-endian. Throws EndOfFile past its end. */
class Cursor {
  #chunk = Buffer.alloc(0);
  #chunkAt = 0;
  position = 0;

  constructor(
    private readonly file: FileHandle,
    readonly sizeBytes: number,
  ) {}

  /** At most so many bytes: fewer at the end of the file. */
  async peek(bytes: number): Promise<Buffer> {
    const from = this.position - this.#chunkAt;
    if (from < 0 || from + bytes > this.#chunk.length) {
      const chunk = Buffer.alloc(Math.max(bytes, chunkBytes));
      const { bytesRead } = await this.file.read(chunk, 0, chunk.length, this.position);
      this.#chunk = chunk.subarray(0, bytesRead);
      this.#chunkAt = this.position;
    }
    const start = this.position - this.#chunkAt;
    return this.#chunk.subarray(start, start + bytes);
  }

  async take(bytes: number): Promise<Buffer> {
    const taken = await this.peek(bytes);
    if (taken.length < bytes) throw new EndOfFile(this.sizeBytes);
    this.position += bytes;
    return taken;
  }

  async skip(bytes: number): Promise<void> {
    if (this.position + bytes > this.sizeBytes) throw new EndOfFile(this.sizeBytes);
    this.position += bytes;
    await Promise.resolve();
  }

  async u16(): Promise<number> {
    return (await this.take(2)).readUInt16LE();
  }

  async u32(): Promise<number> {
    return (await this.take(4)).readUInt32LE();
  }

  async u64(): Promise<number> {
    return Number((await this.take(8)).readBigUInt64LE());
  }

  async string(path: string): Promise<string> {
    const bytes = await this.u64();
    // Chat templates are the longest; keys alone are read.
    if (bytes > limits.ggufStringBytesMax) throw damaged(path);
    if (bytes <= 256) return (await this.take(bytes)).toString('utf8');
    await this.skip(bytes);
    return '';
  }
}
