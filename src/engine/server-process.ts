// One model server as a child process.
//
//   V1. `died` resolves once, when the process has ended and its last output is read; it says how it ended and its last words.
//   V2. When the process ends, or is stopped, its whole process group is killed: no worker of it keeps a GPU.
//   V3. When this process goes, even by kill -9, the group is told to end and killed after the grace: a watcher in the group waits for the end
//       of its standard input, which this process holds open. What cannot be caught: a server that leaves its process group, and a watcher that is
//       killed alone.
//
// The server replaces the shell that starts it, so its process id, exit code and signals are the child's own.

import { spawn } from 'node:child_process';
import type { Readable } from 'node:stream';
import { limits } from '../limits.js';
import type { ServerLog } from './server-log.js';

export interface ServerProcess {
  readonly pid: number;
  readonly died: Promise<string>;
  /** SIGTERM, then SIGKILL after the grace. Resolves when it is gone, or was left behind after limits.engineKillMs. */
  stop(): Promise<void>;
}

export interface ServerProcessOptions {
  readonly command: readonly string[];
  /** Its whole environment, GPUs apart. */
  readonly env: Readonly<Record<string, string | undefined>>;
  /** Empty: its environment decides. */
  readonly gpus: readonly number[];
  readonly log: ServerLog;
  /** Between SIGTERM and SIGKILL. */
  readonly graceMs: number;
}

/** $1 = grace in seconds, the rest is the command. The watcher ignores the signals that it sends to its own group. */
const guard = `
grace=$1
shift
exec 3<&0 </dev/null
( trap "" TERM INT HUP
  exec >/dev/null 2>&1
  cat <&3
  kill -TERM 0
  sleep "$grace"
  kill -KILL 0 ) &
exec 3<&-
exec "$@"
`;

/** Rejects when no process can be made; a command that does not exist shows as a death. */
export async function startServer({ command, env, gpus, log, graceMs }: ServerProcessOptions): Promise<ServerProcess> {
  const child = spawn('/bin/sh', ['-c', guard, 'grm-engine', String(Math.ceil(graceMs / 1_000)), ...command], {
    detached: true,
    stdio: 'pipe',
    env: {
      ...env,
      ...(gpus.length > 0 ? { CUDA_DEVICE_ORDER: 'PCI_BUS_ID', CUDA_VISIBLE_DEVICES: gpus.join(',') } : {}),
    },
  });
  // Nothing is written to it; a server that is gone must not be an error of ours.
  child.stdin.on('error', () => undefined);
  const read = Promise.all([keep(child.stdout, log), keep(child.stderr, log)]);
  const exited = new Promise<string>((resolve) => {
    child.once('exit', (code, signal) => resolve(signal === null ? `exit code ${code}` : `signal ${signal}`));
  });
  await new Promise<void>((resolve, reject) => child.once('spawn', resolve).once('error', reject));
  const { pid } = child;
  if (pid === undefined) throw new Error('a spawned process without an id');

  const died = exited.then(async (how) => {
    killGroup(pid);
    child.stdin.destroy();
    // Nobody holds the pipes any more, unless something left the group with them.
    await within(limits.engineKillMs, read);
    const words = log.tail();
    return words === '' ? how : `${how}; its last words: ${words}`;
  });
  let stopping: Promise<void> | undefined;
  async function stop(): Promise<void> {
    child.kill('SIGTERM');
    if (await within(graceMs, died)) return;
    killGroup(pid!);
    await within(limits.engineKillMs, died);
  }
  return { pid, died, stop: () => (stopping ??= stop()) };
}

async function keep(output: Readable, log: ServerLog): Promise<void> {
  try {
    for await (const chunk of output) await log.append(chunk as Buffer);
  } catch {
    // The pipe broke with its process; `died` tells of that.
  }
}

function killGroup(pid: number): void {
  try {
    process.kill(-pid, 'SIGKILL');
  } catch {
    // ESRCH: nobody is left in it.
  }
}

/** True when `work` ended in time. */
async function within(timeoutMs: number, work: Promise<unknown>): Promise<boolean> {
  let timer: NodeJS.Timeout | undefined;
  const late = new Promise<boolean>((resolve) => {
    timer = setTimeout(resolve, timeoutMs, false);
  });
  const first = await Promise.race([work.then(() => true), late]);
  clearTimeout(timer);
  return first;
}
