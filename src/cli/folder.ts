// Folder: the data folder of `grm up` (default .grm): who owns it, where its cluster answers, what a killed `grm up` left running.
//
//   up.pid         the process that owns the folder
//   cluster.json   addresses and processes of its cluster, for the other commands and for the next `grm up`
//   nats/, logs/   what they say
//   fake/          all of this once more, of the fake engine
//
//   D1. One `grm up` per folder. A lock whose owner is gone is taken over.
//   D2. Processes that a killed `grm up` left behind are gone before the next one starts its own: two nats-servers never share a store. They
//       get their drain time first, because an engine's server ends with the worker that started it.
//   D3. The fake engine has a folder of its own inside: what it invented never lies where a judge's verdicts are looked for.

import { readFileSync, renameSync, rmSync, writeFileSync } from 'node:fs';
import { mkdir } from 'node:fs/promises';
import { join, resolve } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { steadyNow } from '../process/clock.js';
import { takeLock, type Lock } from './lock.js';
import { commandOf, isAlive } from './process-table.js';

export interface ClusterState {
  /** Of `grm up` itself. */
  readonly pid: number;
  readonly nats?: string;
  /** Address of the coordinator's door; absent until it is open. Engines may come later. */
  readonly grpc?: string;
  readonly http?: string;
  readonly processes: Readonly<Record<string, StartedProcess>>;
}

export interface StartedProcess {
  readonly pid: number;
  /** What its command line contains: another process may have got its number. */
  readonly command: string;
}

/** D3. */
export function folderOf(dataDir: string, fake: boolean): string {
  return fake ? join(dataDir, 'fake') : dataDir;
}

export interface Folder {
  readonly path: string;
  /** Lets other processes see the state. */
  publish(state: Omit<ClusterState, 'pid'>): void;
  release(): void;
}

/** Takes the folder, or throws an Error that says who has it. `signal` ends the wait for what is left behind. */
export async function openFolder(
  dataDir: string,
  graceMs: number,
  tell: (names: readonly string[]) => void,
  signal: AbortSignal,
): Promise<Folder> {
  const path = resolve(dataDir);
  await mkdir(join(path, 'logs'), { recursive: true });
  const lock = lockFolder(join(path, 'up.pid'), path);
  const stateFile = join(path, 'cluster.json');
  const release = (): void => {
    rmSync(stateFile, { force: true });
    lock.release();
  };
  try {
    await endLeftBehind(readState(stateFile), graceMs, tell, signal);
  } catch (error) {
    // The state stays: what it names still runs.
    lock.release();
    throw error;
  }
  return {
    path,
    publish(state) {
      writeFileSync(`${stateFile}.new`, JSON.stringify({ pid: process.pid, ...state } satisfies ClusterState), {
        mode: 0o600,
      });
      renameSync(`${stateFile}.new`, stateFile);
    },
    release,
  };
}

/** The cluster of that folder, while its `grm up` lives; where a judge's does not, that of the fake engine. */
export function runningCluster(dataDir: string): ClusterState | undefined {
  for (const fake of [false, true]) {
    const state = readState(join(resolve(folderOf(dataDir, fake)), 'cluster.json'));
    if (state && isAlive(state.pid)) return state;
  }
  return undefined;
}

function readState(file: string): ClusterState | undefined {
  try {
    const state = JSON.parse(readFileSync(file, 'utf8')) as ClusterState;
    return Number.isInteger(state.pid) && typeof state.processes === 'object' ? state : undefined;
  } catch {
    return undefined;
  }
}

function lockFolder(file: string, path: string): Lock & { readonly kind: 'taken' } {
  const lock = takeLock(file);
  switch (lock.kind) {
    case 'taken':
      return lock;
    case 'held':
      throw new Error(
        `another \`grm up\` (pid ${lock.pid}) uses ${path}: stop it (kill ${lock.pid}), or give another folder with --data-dir`,
      );
    case 'contended':
      throw new Error(`${file} changes all the time: does another \`grm up\` start just now?`);
  }
}

/** Name of the server itself among the processes of a state; it lives below its keeper. */
export const natsName = 'nats-server';

const toldEveryMs = 5_000;

/** D2: services end by themselves once their parent is gone, and the keeper of nats-server after them. */
async function endLeftBehind(
  state: ClusterState | undefined,
  graceMs: number,
  tell: (names: readonly string[]) => void,
  signal: AbortSignal,
): Promise<void> {
  const processes = Object.entries(state?.processes ?? {});
  const left = () => processes.filter(([, { pid, command }]) => commandOf(pid)?.includes(command) === true);
  const startedAtMs = steadyNow();
  let toldAtMs = -Infinity;
  for (let found = left(); found.length > 0; found = left()) {
    if (signal.aborted) throw new Error('interrupted');
    const waitedMs = steadyNow() - startedAtMs;
    // Without its keeper nobody else ends it.
    if (found.every(([name]) => name === natsName)) for (const [, { pid }] of found) killIfThere(pid, 'SIGTERM');
    if (waitedMs > graceMs) for (const [, { pid }] of found) killIfThere(pid);
    if (waitedMs > graceMs + toldEveryMs)
      throw new Error(`left behind by an earlier \`grm up\`, and not to be ended: ${pidsText(found)}`);
    if (steadyNow() - toldAtMs >= toldEveryMs) {
      toldAtMs = steadyNow();
      tell(found.map(([name, { pid }]) => `${name} (pid ${pid})`));
    }
    await sleep(100);
  }
}

function pidsText(found: readonly (readonly [string, StartedProcess])[]): string {
  return found.map(([name, { pid }]) => `${name} (pid ${pid})`).join(', ');
}

function killIfThere(pid: number, signal: NodeJS.Signals = 'SIGKILL'): void {
  try {
    process.kill(pid, signal);
  } catch {
    // gone meanwhile
  }
}
