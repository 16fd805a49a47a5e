// The output of a managed server, kept on disk: `<name>.log` and, when that is full, the one before as `<name>.log.1`. It goes on over restarts.
//
//   O1. The two files together hold at most twice limits.engineLogBytesMax.
//   O2. A disk that fails stops the writing, not the server: its output is still read, and the tail still kept.

import { mkdir, open, rename, type FileHandle } from 'node:fs/promises';
import { dirname } from 'node:path';
import { limits } from '../limits.js';

export class ServerLog {
  #tail = '';
  #bytes: number;
  #file: FileHandle | undefined;
  #last: Promise<void> = Promise.resolve();

  private constructor(
    readonly path: string,
    file: FileHandle,
    bytes: number,
    private readonly bytesMax: number,
    private readonly onTrouble: (error: unknown) => void,
  ) {
    this.#file = file;
    this.#bytes = bytes;
  }

  /** Makes the folder when it is not there. Rejects when the file cannot be written. */
  static async open(
    path: string,
    onTrouble: (error: unknown) => void,
    bytesMax: number = limits.engineLogBytesMax,
  ): Promise<ServerLog> {
    await mkdir(dirname(path), { recursive: true });
    const file = await open(path, 'a');
    return new ServerLog(path, file, (await file.stat()).size, bytesMax, onTrouble);
  }

  /** The end of the output since `open`, at most limits.engineLogTailCharsMax characters. */
  tail(): string {
    return this.#tail.trim();
  }

  /** The last line that says something. */
  lastLine(): string {
    return (
      this.tail()
        .split(/[\r\n]+/)
        .at(-1)
        ?.trim() ?? ''
    );
  }

  /** Resolves when written: whoever waits for it holds the server back while the disk is slow. Never rejects. */
  append(chunk: Buffer): Promise<void> {
    this.#tail = (this.#tail + chunk.toString('utf8')).slice(-limits.engineLogTailCharsMax);
    this.#last = this.#last.then(() => this.#write(chunk));
    return this.#last;
  }

  async close(): Promise<void> {
    await this.#last;
    const file = this.#file;
    this.#file = undefined;
    await file?.close().catch(this.onTrouble);
  }

  async #write(chunk: Buffer): Promise<void> {
    try {
      for (let at = 0; at < chunk.length && this.#file; at += this.bytesMax) {
        const part = chunk.subarray(at, at + this.bytesMax);
        if (this.#bytes + part.length > this.bytesMax) await this.#rotate(this.#file);
        await this.#file.write(part);
        this.#bytes += part.length;
      }
    } catch (error) {
      const file = this.#file;
      this.#file = undefined;
      this.onTrouble(error);
      await file?.close().catch(() => undefined);
    }
  }

  async #rotate(file: FileHandle): Promise<void> {
    this.#file = undefined;
    await file.close();
    await rename(this.path, `${this.path}.1`);
    this.#file = await open(this.path, 'a');
    this.#bytes = 0;
  }
}
