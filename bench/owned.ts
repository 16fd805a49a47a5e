// Owned: processes and folders that go when a measurement is cut off. What ends in good order gives its own back.

import { rmSync } from 'node:fs';

const processes = new Set<number>();
const folders = new Set<string>();

export function ownProcess(pid: number | undefined): void {
  if (pid !== undefined) processes.add(pid);
}

export function ownFolder(folder: string): void {
  folders.add(folder);
}

/** It has ended: its number may become another's. */
export function disownProcess(pid: number | undefined): void {
  if (pid !== undefined) processes.delete(pid);
}

/** Kills what is left, at once and in no order. */
export function dropOwned(): void {
  for (const pid of processes) {
    try {
      process.kill(pid, 'SIGKILL');
    } catch {
      // ended meanwhile
    }
  }
  for (const folder of folders) rmSync(folder, { recursive: true, force: true, maxRetries: 5 });
}
