// A file system that a test may fill: a tmpfs of its own, which takes as much memory as there is in it. Where mounting is not allowed, `refusalToMount` says why.

import { execFile } from 'node:child_process';
import { rmdirSync } from 'node:fs';
import { mkdtemp, open, rm, rmdir, statfs } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { isAlive } from '../../src/cli/process-table.js';
import { dropAtExit, namesIn, quietly } from './leftovers.js';
import { reasonIn } from './namespace.js';

const run = promisify(execFile);

export interface SmallDisk extends AsyncDisposable {
  readonly folder: string;
  /** Takes what room there is, and little memory for that; resolves to the bytes that it took. */
  fill(): Promise<number>;
  /** Gives it back; nothing to do when nothing was taken. */
  free(): Promise<void>;
  /** Makes it so big. */
  grow(bytes: number): Promise<void>;
}

const chunk = Buffer.alloc(64 * 1024);
/** What is left for the filler when the file system is made smaller. */
const restBytes = 1024 * 1024;
/** Whoever writes meanwhile may have taken more than it was to shrink to. */
const shrinkTriesMax = 5;

export async function mountSmallDisk(bytes: number): Promise<SmallDisk> {
  const folder = await mkdtemp(join(tmpdir(), `grm-disk-${process.pid}-`));
  const forget = dropAtExit(() => drop(folder));
  try {
    await run('mount', ['-t', 'tmpfs', '-o', `size=${bytes}`, 'tmpfs', folder]);
  } catch (error) {
    await rmdir(folder);
    forget();
    throw error;
  }
  const filler = join(folder, 'filler');
  let size = bytes;
  const resize = async (to: number): Promise<void> => {
    await run('mount', ['-o', `remount,size=${to}`, folder]);
  };
  /** Resolves to the bytes that it is smaller by. */
  const shrink = async (): Promise<number> => {
    for (let tries = 1; ; tries++) {
      const { blocks, bfree, bsize } = await statfs(folder);
      const to = (blocks - bfree) * bsize + restBytes;
      if (to >= blocks * bsize) return 0;
      try {
        await resize(to);
        return blocks * bsize - to;
      } catch (error) {
        if (tries >= shrinkTriesMax) throw error;
      }
    }
  };
  return {
    folder,
    async fill() {
      let taken = await shrink();
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
    async free() {
      await rm(filler, { force: true });
      await resize(size);
    },
    async grow(to) {
      await resize(to);
      size = to;
    },
    async [Symbol.asyncDispose]() {
      // Lazily: a server that was killed just now may still be let go of.
      await run('umount', ['-l', folder]);
      await rmdir(folder);
      forget();
    },
  };
}

/** Those of processes that are gone: they take memory for as long as they are mounted. */
export function sweepSmallDisks(): void {
  for (const name of namesIn(tmpdir())) {
    const pid = /^grm-disk-(\d+)-/.exec(name)?.[1];
    if (pid !== undefined && !isAlive(Number(pid))) drop(join(tmpdir(), name));
  }
}

function drop(folder: string): void {
  quietly('umount', '-l', folder);
  try {
    rmdirSync(folder);
  } catch {
    // still mounted, or gone already
  }
}

/** Why this machine does not allow it, in one line; undefined where it does. */
export async function refusalToMount(): Promise<string | undefined> {
  try {
    await using disk = await mountSmallDisk(restBytes);
    await disk.free();
    return undefined;
  } catch (error) {
    return reasonIn(error);
  }
}
