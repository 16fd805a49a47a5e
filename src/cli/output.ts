// Output: where the rows of a long run go: a file that a later run goes on with, or standard output.
//
//   F1. What is in the file is rows 0..n-1 of one input, whole, in order. Half a row, left by a kill, is cut off before the next is written.
//   F2. A file that is anything else is refused and left as it is.
//   F3. Rows are written in the order given; the first failure is kept and told by every later `flushed`.
//   F4. One process writes a file at a time: FILE.lock says which (lock.ts).
//   F5. Rows that are tried again take the places of their lines (mend.ts).

import { createHash, type Hash } from 'node:crypto';
import { createReadStream } from 'node:fs';
import { open, realpath, stat, truncate } from 'node:fs/promises';
import { exitCodes } from '../process/run.js';
import { CliError } from './context.js';
import { readLines } from './lines.js';
import { takeLock, type Lock } from './lock.js';
import { Mending } from './mend.js';
import { rowHead } from './row-line.js';

export interface Output {
  /** Rows that an earlier run wrote. */
  readonly rows: number;
  /** Over their digests; undefined when there are none. */
  readonly chain: string | undefined;
  /** Queues a line. */
  write(line: string): void;
  /** Resolves when everything queued is written; rejects with CliError when it could not be. */
  flushed(): Promise<void>;
  /** F5. Nothing else is written until that is finished. Absent where lines cannot be replaced: standard output, a device. */
  readonly mend?: () => Promise<Mending>;
  close(): Promise<void>;
}

/** One value for the digests of many rows, in order. */
export class Chain {
  readonly #hash: Hash = createHash('sha256');

  add(digest: string): void {
    this.#hash.update(digest);
  }

  value(): string {
    return this.#hash.copy().digest('hex');
  }
}

/** Told of every row that an earlier run wrote, by its first 64 KiB: for the counts of the whole file. */
export type OnEarlier = (head: string) => void;

/** Opens or makes the file. Throws CliError (usage) when it is not ours, in use, or cannot be written (F2, F4). */
export async function openOutput(path: string, whose = 'grm score', onEarlier?: OnEarlier): Promise<Output> {
  const unlock = await lockOutput(path, whose);
  try {
    const done = await doneRows(path, whose, onEarlier);
    if (done.wholeBytes < done.sizeBytes) await truncate(path, done.wholeBytes);
    let file = await open(path, 'a');
    const close = async (): Promise<void> => {
      await file.close();
      unlock();
    };
    const appended = queued(path, done, (text) => file.appendFile(text), close);
    const reopen = async (): Promise<void> => {
      await file.close();
      file = await open(path, 'a');
    };
    return (await file.stat()).isFile() ? { ...appended, mend: () => Mending.open(path, reopen) } : appended;
  } catch (error) {
    unlock();
    if (error instanceof CliError) throw error;
    throw new CliError(`cannot write ${path}: ${words(error)}`, exitCodes.usage);
  }
}

/** F4. A device or a pipe may be shared. By its real name, so that two names of a file are one. */
async function lockOutput(path: string, whose: string): Promise<() => void> {
  const stats = await stat(path).catch(() => undefined);
  if (stats && !stats.isFile()) return () => undefined;
  const real = stats ? await realpath(path).catch(() => path) : path;
  let lock: Lock;
  try {
    lock = takeLock(`${real}.lock`);
  } catch (error) {
    // A file may be ours to write in a folder that is not: then nothing can be told, and nothing is asked.
    if (stats) return () => undefined;
    throw new CliError(`cannot write ${path}: ${words(error)}`, exitCodes.usage);
  }
  switch (lock.kind) {
    case 'taken': {
      const release = (): void => lock.release();
      // A second Ctrl-C ends without closing.
      process.once('exit', release);
      return () => {
        process.off('exit', release);
        release();
      };
    }
    case 'held':
      throw new CliError(
        `another \`${whose}\` (pid ${lock.pid}) writes ${path}: wait for its end, stop it (kill ${lock.pid}), or give another file`,
        exitCodes.usage,
      );
    case 'contended':
      throw new CliError(`another \`${whose}\` begins to write ${path} just now: give another file`, exitCodes.usage);
  }
}

/** Standard output: nothing to go on with. */
export function standardOutput(): Output {
  const write = (text: string): Promise<void> =>
    new Promise((resolve, reject) => {
      process.stdout.write(text, (error) => {
        if (error) reject(error);
        else resolve();
      });
    });
  return queued('standard output', none, write, () => Promise.resolve());
}

/** For rows that are shown in another way. */
export const noOutput: Output = {
  rows: 0,
  chain: undefined,
  write: () => undefined,
  flushed: () => Promise.resolve(),
  close: () => Promise.resolve(),
};

function queued(
  name: string,
  { rows, chain }: Done,
  append: (text: string) => Promise<void>,
  close: () => Promise<void>,
): Output {
  let pending: string[] = [];
  let failure: CliError | undefined;
  let writing: Promise<void> | undefined;
  const drain = async (): Promise<void> => {
    while (pending.length > 0 && !failure) {
      const text = pending.join('');
      pending = [];
      try {
        await append(text);
      } catch (error) {
        failure = new CliError(`cannot write ${name}: ${words(error)}`);
      }
    }
    writing = undefined;
  };
  const flushed = async (): Promise<void> => {
    while (writing) await writing;
    if (failure) throw failure;
  };
  return {
    rows,
    chain,
    write(line) {
      pending.push(line);
      // In a later turn: lines that come together are written together.
      writing ??= Promise.resolve().then(drain);
    },
    flushed,
    async close() {
      while (writing) await writing;
      await close();
    },
  };
}

interface Done {
  readonly rows: number;
  readonly chain: string | undefined;
  readonly wholeBytes: number;
  readonly sizeBytes: number;
}

const none: Done = { rows: 0, chain: undefined, wholeBytes: 0, sizeBytes: 0 };

/** Enough for what a command tells a row's kind by. */
export const rowHeadBytesMax = 64 * 1024;

async function doneRows(path: string, whose: string, onEarlier: OnEarlier | undefined): Promise<Done> {
  const stats = await stat(path).catch(() => undefined);
  if (stats?.isDirectory()) throw new CliError(`cannot write ${path}: it is a folder`, exitCodes.usage);
  // A device or a pipe holds nothing to go on with.
  if (!stats?.isFile() || stats.size === 0) return none;
  const chain = new Chain();
  let rows = 0;
  let wholeBytes = 0;
  for await (const { head, lengthBytes, ended } of readLines(createReadStream(path), rowHeadBytesMax)) {
    const text = head.toString('latin1');
    const match = rowHead.exec(text);
    if (!ended) {
      // What a kill left of a row begins as that row does; anything else is somebody's text without a newline.
      const begins = `{"row":${rows},"input":"`;
      if (!text.startsWith(begins) && !begins.startsWith(text)) throw foreign(path, whose);
      break;
    }
    if (!match || Number(match[1]) !== rows) throw foreign(path, whose);
    chain.add(match[2]!);
    wholeBytes += lengthBytes + 1;
    rows++;
    onEarlier?.(text);
  }
  return { rows, chain: rows === 0 ? undefined : chain.value(), wholeBytes, sizeBytes: stats.size };
}

/** Of an input's rows those that are not in the output yet; throws `otherInput` when what is there was not written for this input. */
export async function* remainingRows<R extends { readonly number: number; readonly digest: string }>(
  input: AsyncIterable<R>,
  output: Output,
  otherInput: CliError,
): AsyncGenerator<R, void, undefined> {
  const chain = new Chain();
  let seen = 0;
  for await (const row of input) {
    seen++;
    if (row.number >= output.rows) {
      yield row;
      continue;
    }
    chain.add(row.digest);
    if (seen === output.rows && chain.value() !== output.chain) throw otherInput;
  }
  if (seen < output.rows) throw otherInput;
}

function foreign(path: string, whose: string): CliError {
  return new CliError(`${path} exists and is not the output of \`${whose}\`: give another file`, exitCodes.usage);
}

function words(error: unknown): string {
  return error instanceof Error ? error.message : String(error);
}
