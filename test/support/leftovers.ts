// Leftovers: what a test makes outside of its process (mounts, links, namespaces) is to go with the process, also when that is cut off.
// A signal that can be heard drops it at once; what a killed process left is found by its pid, and swept by the next one.

import { execFileSync } from 'node:child_process';
import { readdirSync } from 'node:fs';

/** One command that hangs must not keep all others. */
const commandMs = 5_000;
const drops = new Set<() => void>();

/** Calls `drop`, which waits for nothing, when this process ends; not any more once the function that it returns was called. */
export function dropAtExit(drop: () => void): () => void {
  listen();
  drops.add(drop);
  return () => void drops.delete(drop);
}

let isListening = false;

function listen(): void {
  if (isListening) return;
  isListening = true;
  process.on('exit', () => {
    for (const drop of drops) drop();
    drops.clear();
  });
  for (const [signal, code] of [['SIGINT', 130] as const, ['SIGTERM', 143] as const]) {
    process.once(signal, () => {
      // process.exit is refused inside of vitest. All who clean up at the end are asked; then the signal does what it does unheard.
      process.emit('exit', code);
      process.kill(process.pid, signal);
    });
  }
}

/** What it says; nothing when it fails. */
export function quietly(command: string, ...args: readonly string[]): string {
  try {
    return execFileSync(command, args, { stdio: ['ignore', 'pipe', 'ignore'], timeout: commandMs }).toString();
  } catch {
    return '';
  }
}

/** Nothing where there is no such folder. */
export function namesIn(folder: string): readonly string[] {
  try {
    return readdirSync(folder);
  } catch {
    return [];
  }
}
