// Lock: a file that says which process has something to itself.
//
//   K1. At most one live process has it. Its file is made by whoever takes it and by nobody else.
//   K2. The lock of a process that is gone is taken over. After a restart of the machine its number may belong to anything, so the owner
//       is alive only while a process of that number has our command line. A folder of our name in it is not enough: editors, tests and
//       whatever else runs in a checkout have that.

import { linkSync, readFileSync, renameSync, rmSync, writeFileSync } from 'node:fs';
import { commandOf } from './process-table.js';

export type Lock =
  | { readonly kind: 'taken'; release(): void }
  | { readonly kind: 'held'; readonly pid: number }
  /** It changes hands all the time. */
  | { readonly kind: 'contended' };

const triesMax = 3;

/** `node …/dist/src/cli/main.js up`, or `node …/bin/grm up` through a link. */
const ourCommand = /(^|[\s/])(grm|cli\/main\.js)(\s|$)/;

/** Throws what the file system throws when the file cannot be made or read. */
export function takeLock(file: string): Lock {
  const mine = String(process.pid);
  for (let tries = 0; tries < triesMax; tries++) {
    try {
      make(file, mine);
      return {
        kind: 'taken',
        release: () => {
          if (contentOf(file) === mine) rmSync(file, { force: true });
        },
      };
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code !== 'EEXIST') throw error;
    }
    const found = contentOf(file);
    if (found === undefined) continue;
    const pid = Number(found);
    if (pid > 0 && pid !== process.pid && ourCommand.test(commandOf(pid) ?? '')) return { kind: 'held', pid };
    removeStale(file, found);
  }
  return { kind: 'contended' };
}

/** With its content from the first moment: an empty lock would look stale. */
function make(file: string, content: string): void {
  const aside = asideOf(file);
  writeFileSync(aside, content);
  try {
    linkSync(aside, file);
  } catch (error) {
    // Not every file system has links.
    if (!['EPERM', 'ENOTSUP', 'ENOSYS'].includes((error as NodeJS.ErrnoException).code ?? '')) throw error;
    writeFileSync(file, content, { flag: 'wx' });
  } finally {
    rmSync(aside, { force: true });
  }
}

function asideOf(file: string): string {
  return `${file}.${process.pid}`;
}

/** Another process may have taken the stale lock over meanwhile: what is moved aside is looked at again, and put back when it is alive. */
function removeStale(file: string, stale: string): void {
  const aside = asideOf(file);
  try {
    renameSync(file, aside);
    if (contentOf(aside) !== stale) linkSync(aside, file);
  } catch {
    // It is gone, or there is a new one: the next try sees.
  }
  rmSync(aside, { force: true });
}

function contentOf(file: string): string | undefined {
  try {
    return readFileSync(file, 'utf8');
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== 'ENOENT') throw error;
    return undefined;
  }
}
