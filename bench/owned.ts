// Owned: processes and folders that go when a measurement is cut off. What ends in good order gives its own back.

import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { exitCodes } from '../src/process/run.js';

const stopped = {
  SIGINT: exitCodes.interrupted,
  SIGTERM: exitCodes.terminated,
  disconnect: exitCodes.failure,
} as const;

const processes = new Set<number>();
const folders = new Set<string>();

/** For a process that may have to drop it all in this one's place. */
export type OwnedNews =
  | { readonly kind: 'own process'; readonly pid: number }
  | { readonly kind: 'disown process'; readonly pid: number }
  | { readonly kind: 'own folder'; readonly folder: string };

let tell: (news: OwnedNews) => void = () => undefined;

export function tellOwned(to: (news: OwnedNews) => void): void {
  tell = to;
}

/** What another process tells of what it owns is owned here too. */
export function hearOwned(news: OwnedNews): void {
  if (news.kind === 'own folder') folders.add(news.folder);
  else if (news.kind === 'own process') processes.add(news.pid);
  else processes.delete(news.pid);
}

export function ownProcess(pid: number | undefined): void {
  if (pid !== undefined) own({ kind: 'own process', pid });
}

/** Made at once and not later: nothing, no signal either, comes between the folder and its owner. */
export function makeOwnFolder(): string {
  const folder = mkdtempSync(join(tmpdir(), 'grm-bench-'));
  own({ kind: 'own folder', folder });
  return folder;
}

/** It has ended: its number may become another's. */
export function disownProcess(pid: number | undefined): void {
  if (pid !== undefined) own({ kind: 'disown process', pid });
}

function own(news: OwnedNews): void {
  hearOwned(news);
  tell(news);
}

/** Kills what is left, at once and in no order, and owns nothing any more. Throws nothing: a folder that cannot be removed stays. */
export function dropOwned(): void {
  for (const pid of processes) {
    try {
      process.kill(pid, 'SIGKILL');
    } catch {
      // ended meanwhile
    }
  }
  // A process that is killed may still write for a moment.
  for (const folder of folders) {
    try {
      rmSync(folder, { recursive: true, force: true, maxRetries: 5 });
    } catch {
      // stays, and keeps none of the others
    }
  }
  forgetOwned();
}

/** Somebody else has dropped it. */
export function forgetOwned(): void {
  processes.clear();
  folders.clear();
}

/** Told to stop: all that is owned goes, and this process with the exit code. What comes meanwhile (a second Ctrl-C) changes nothing. */
export function dropAtSignals(): void {
  for (const [signal, code] of Object.entries(stopped)) {
    process.on(signal, () => {
      dropOwned();
      process.exit(code);
    });
  }
}
