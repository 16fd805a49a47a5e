// Open files: how many this process may have open at once, and how many connections to engines fit into that.

import { readFileSync } from 'node:fs';
import { limits } from '../limits.js';

/** The limit on open files (`ulimit -n`; Node raises the soft one to the hard one when it starts). Undefined: none, or the system does not tell. */
export function openFilesMax(limitsFile = '/proc/self/limits'): number | undefined {
  let text: string;
  try {
    text = readFileSync(limitsFile, 'utf8');
  } catch {
    // Not Linux: nothing is known.
    return undefined;
  }
  const [, soft] = /^Max open files\s+(\d+)\s/m.exec(text) ?? [];
  return soft === undefined ? undefined : Number(soft);
}

/** Connections that fit beside what a worker has open anyway; at least one. Undefined: as many as one likes. */
export function connectionsMax(filesMax: number | undefined, engines: number): number | undefined {
  if (filesMax === undefined) return undefined;
  return Math.max(1, filesMax - limits.filesReserved - engines * limits.filesPerEngine);
}

/** What to tell when the slots of engines need more connections than fit; undefined when they fit. */
export function shortOfFiles(slots: number, filesMax: number | undefined, engines: number): string | undefined {
  const fit = connectionsMax(filesMax, engines);
  if (fit === undefined || slots <= fit) return undefined;
  return `${slots} slots need a connection each, and with ${filesMax} open files (ulimit -n) ${fit} fit`;
}
