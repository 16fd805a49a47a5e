// A file system of a few megabytes that a test may fill: a tmpfs of its own. Where mounting is not allowed, `mayMount` says so.

import { execFile } from 'node:child_process';
import { mkdtemp, open, rm, rmdir } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { promisify } from 'node:util';

const run = promisify(execFile);

export interface SmallDisk extends AsyncDisposable {
  readonly folder: string;
  /** Takes what room there is; resolves to the bytes that it took. */
  fill(): Promise<number>;
  /** Gives it back. */
  free(): Promise<void>;
  /** Makes it so big. */
  grow(bytes: number): Promise<void>;
}

const chunk = Buffer.alloc(64 * 1024);

export async function mountSmallDisk(bytes: number): Promise<SmallDisk> {
  const folder = await mkdtemp(join(tmpdir(), 'grm-disk-'));
  try {
    await run('mount', ['-t', 'tmpfs', '-o', `size=${bytes}`, 'tmpfs', folder]);
  } catch (error) {
    await rmdir(folder);
    throw error;
  }
  const filler = join(folder, 'filler');
  return {
    folder,
    async fill() {
      let taken = 0;
      const file = await open(filler, 'a');
      try {
        for (;;) taken += (await file.write(chunk)).bytesWritten;
      } catch (error) {
        if ((error as NodeJS.ErrnoException).code !== 'ENOSPC') throw error;
        return taken;
      } finally {
        await file.close();
      }
    },
    free: () => rm(filler, { force: true }),
    async grow(to) {
      await run('mount', ['-o', `remount,size=${to}`, folder]);
    },
    async [Symbol.asyncDispose]() {
      // Lazily: a server that was killed just now may still be let go of.
      await run('umount', ['-l', folder]);
      await rmdir(folder);
    },
  };
}

export async function mayMount(): Promise<boolean> {
  try {
    await using disk = await mountSmallDisk(1024 * 1024);
    return disk.folder !== '';
  } catch {
    return false;
  }
}
