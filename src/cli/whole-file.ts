// Whole file: a result that is there whole or not at all: written beside its place, then moved there.
//
//   W1. A file that is not an earlier result of the same kind is refused and left as it is.
//   W2. An interrupted run leaves the earlier result, or none.

import { once } from 'node:events';
import { createReadStream, createWriteStream, type WriteStream } from 'node:fs';
import { rename, rm, stat } from 'node:fs/promises';
import { exitCodes } from '../process/run.js';
import { CliError } from './context.js';
import { readLines } from './lines.js';

export class WholeFile {
  readonly #stream: WriteStream;
  #failure: Error | undefined;

  private constructor(private readonly path: string) {
    this.#stream = createWriteStream(`${path}.part`);
    this.#stream.on('error', (error) => (this.#failure ??= error));
  }

  /** @param head what results of this kind begin with; throws CliError (usage) for a file that begins otherwise */
  static async open(path: string, head: string): Promise<WholeFile> {
    await checkOurs(path, head);
    const file = new WholeFile(path);
    await once(file.#stream, 'open').catch((error: unknown) => {
      throw new CliError(`cannot write ${path}: ${words(error)}`, exitCodes.usage);
    });
    return file;
  }

  /** Resolves when there is room for more. */
  async write(text: string): Promise<void> {
    if (!this.#failure && !this.#stream.write(text)) await once(this.#stream, 'drain').catch(() => undefined);
    this.#check();
  }

  /** The result takes its place. */
  async finish(): Promise<void> {
    this.#stream.end();
    await once(this.#stream, 'close').catch(() => undefined);
    this.#check();
    try {
      await rename(`${this.path}.part`, this.path);
    } catch (error) {
      throw new CliError(`cannot write ${this.path}: ${words(error)}`);
    }
  }

  /** For a result that will not be: nothing of it stays. */
  async drop(): Promise<void> {
    this.#stream.destroy();
    await rm(`${this.path}.part`, { force: true });
  }

  #check(): void {
    if (this.#failure) throw new CliError(`cannot write ${this.path}: ${this.#failure.message}`);
  }
}

/** W1. Told before long work begins, too. */
export async function checkOurs(path: string, head: string): Promise<void> {
  const stats = await stat(path).catch(() => undefined);
  if (!stats) return;
  if (!stats.isFile()) throw new CliError(`cannot write ${path}: it is no file`, exitCodes.usage);
  for await (const line of readLines(createReadStream(path, { end: 4_096 }), head.length)) {
    if (line.head.toString('latin1') === head) return;
    throw new CliError(`${path} exists and is no earlier result of this command: give another file`, exitCodes.usage);
  }
}

/** Writes a small result at once. */
export async function writeWhole(path: string, head: string, text: string): Promise<void> {
  const file = await WholeFile.open(path, head);
  await file.write(text);
  await file.finish();
}

function words(error: unknown): string {
  return error instanceof Error ? error.message : String(error);
}
