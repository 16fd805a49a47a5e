// Processes that tests start and kill.

import { existsSync } from 'node:fs';
import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';

/** Runs no more. A zombie that its parent has not read yet counts as gone. Linux only. */
export async function isGone(pid: number): Promise<boolean> {
  try {
    const stat = await readFile(`/proc/${pid}/stat`, 'utf8');
    // "pid (name) state …"; the name may hold anything.
    return /^[ZX]/.test(stat.slice(stat.lastIndexOf(')') + 2));
  } catch {
    return true;
  }
}

/** Waits until `check` holds; throws with `what` after `withinMs`, which is generous: the suite shares two cores with whatever else runs. */
export async function until(check: () => boolean | Promise<boolean>, what: string, withinMs = 60_000): Promise<void> {
  const endMs = Date.now() + withinMs;
  while (!(await check())) {
    if (Date.now() > endMs) throw new Error(`not within ${withinMs} ms: ${what}`);
    await sleep(20);
  }
}

/** A file of the build, for tests that start processes of their own. `make test` builds first. */
export function built(path: string): string {
  const file = join(process.cwd(), 'dist', path);
  if (!existsSync(file)) throw new Error(`${file} is not there: run "npm run build" first`);
  return file;
}
