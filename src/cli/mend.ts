// Mend: rows of a file that are tried again take the places of their lines.
//
//   E1. The file is written anew beside itself (FILE.part) and takes its own place when it is whole: whoever reads it, or finds it after a kill,
//       sees the old one or the new one.
//   E2. Every line that is not replaced stays as it was, byte for byte, and lines stay in order. So a run that ends early keeps what it
//       has: finish() copies the rest.
//   E3. Places are read from the old file as it is written: what is held does not grow with the file.

import { createReadStream } from 'node:fs';
import { open, realpath, rename, rm, type FileHandle } from 'node:fs/promises';
import { CliError } from './context.js';
import { readLines } from './lines.js';
import { rowHead, type RowPlace } from './row-line.js';

/** Where a row stands in the file. */
export interface Place extends RowPlace {
  /** Of the line's first byte. */
  readonly atBytes: number;
  /** With its newline. */
  readonly bytes: number;
  /** The line's beginning. */
  readonly head: string;
}

const copyBytes = 1024 * 1024;

export class Mending {
  #written = 0;
  /** All before it is in the new file. */
  #copiedBytes = 0;
  #work: Promise<void> = Promise.resolve();
  #failure: CliError | undefined;

  private constructor(
    private readonly path: string,
    private readonly sizeBytes: number,
    private readonly from: FileHandle,
    private readonly to: FileHandle,
    private readonly onReplaced: () => Promise<void>,
  ) {}

  /**
   * Throws CliError when there is no room or no right for it; then nothing is changed.
   * @param onReplaced called when the new file has taken the old one's place: whoever has it open has the old one
   */
  static async open(path: string, onReplaced: () => Promise<void> = () => Promise.resolve()): Promise<Mending> {
    try {
      // By its real name: a link stays one.
      const real = await realpath(path);
      const from = await open(real, 'r');
      const { size, mode } = await from.stat();
      return new Mending(real, size, from, await open(`${real}.part`, 'w', mode), onReplaced);
    } catch (error) {
      throw cannotWrite(path, error);
    }
  }

  /** The file's lines, in order. @param headBytesMax of each is told */
  async *places(headBytesMax: number): AsyncGenerator<Place, void, undefined> {
    let atBytes = 0;
    for await (const { head, lengthBytes } of readLines(createReadStream(this.path), headBytesMax)) {
      const text = head.toString('latin1');
      const match = rowHead.exec(text);
      const bytes = lengthBytes + 1;
      if (match) yield { number: Number(match[1]), digest: match[2]!, atBytes, bytes, head: text };
      atBytes += bytes;
    }
  }

  /** Places come in order. Queues it; a failure is told by `flushed`. */
  replace({ atBytes, bytes }: Place, line: string): void {
    this.#then(async () => {
      await this.#copyTo(atBytes);
      await this.to.appendFile(line);
      this.#copiedBytes = atBytes + bytes;
      this.#written++;
    });
  }

  async flushed(): Promise<void> {
    await this.#work;
    if (this.#failure) throw this.#failure;
  }

  /** E1. Without a single new line the old file stays. */
  async finish(): Promise<void> {
    if (this.#written === 0) return this.drop();
    this.#then(() => this.#copyTo(this.sizeBytes));
    await this.flushed().catch(async (error: unknown) => {
      await this.drop();
      throw error;
    });
    await Promise.all([this.from.close(), this.to.close()]);
    try {
      await rename(`${this.path}.part`, this.path);
      await this.onReplaced();
    } catch (error) {
      throw cannotWrite(this.path, error);
    }
  }

  async drop(): Promise<void> {
    await this.#work;
    await Promise.allSettled([this.from.close(), this.to.close()]);
    await rm(`${this.path}.part`, { force: true });
  }

  #then(step: () => Promise<void>): void {
    this.#work = this.#work.then(async () => {
      if (this.#failure) return;
      try {
        await step();
      } catch (error) {
        this.#failure = cannotWrite(this.path, error);
      }
    });
  }

  async #copyTo(endBytes: number): Promise<void> {
    const buffer = Buffer.allocUnsafe(Math.min(copyBytes, Math.max(1, endBytes - this.#copiedBytes)));
    while (this.#copiedBytes < endBytes) {
      const wanted = Math.min(buffer.length, endBytes - this.#copiedBytes);
      const { bytesRead } = await this.from.read(buffer, 0, wanted, this.#copiedBytes);
      if (bytesRead === 0) throw new Error('the file became shorter meanwhile');
      await this.to.appendFile(buffer.subarray(0, bytesRead));
      this.#copiedBytes += bytesRead;
    }
  }
}

function cannotWrite(path: string, error: unknown): CliError {
  if (error instanceof CliError) return error;
  return new CliError(`cannot write ${path}: ${error instanceof Error ? error.message : String(error)}`);
}
