// nats-server: finds the program, starts one with its own data folder on a loopback port, stops it.

import { spawn, type ChildProcess } from 'node:child_process';
import { existsSync } from 'node:fs';
import { mkdir, readdir, readFile, rm } from 'node:fs/promises';
import { delimiter, isAbsolute, join, resolve } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { ServerLog } from '../engine/server-log.js';
import { steadyNow } from '../process/clock.js';

export interface OwnNats {
  readonly url: string;
  readonly pid: number;
  /** Resolves when the server ends, with how. */
  readonly ended: Promise<string>;
  stop(): Promise<void>;
}

/** Debian puts it where only root's PATH looks. */
const usualFolders = ['/usr/sbin', '/usr/local/sbin', '/usr/local/bin', '/opt/homebrew/bin'];

const readyMs = 30_000;
const stopMs = 10_000;

/** The program's full path; undefined when there is none. */
export function findNatsServer(wanted: string, path: string): string | undefined {
  if (isAbsolute(wanted) || wanted.includes('/')) return existsSync(wanted) ? resolve(wanted) : undefined;
  return [...path.split(delimiter).filter((folder) => folder !== ''), ...usualFolders]
    .map((folder) => join(folder, wanted))
    .find((file) => existsSync(file));
}

export const natsServerMissing = `nats-server (2.9 or newer) was not found.
  Debian, Ubuntu    sudo apt-get install nats-server
  macOS             brew install nats-server
  elsewhere         a release binary of nats-io/nats-server anywhere on PATH, or: --set nats.server_binary=/path/to/nats-server
  or use a server that runs already: --nats nats://host:4222`;

/** Where the server keeps its streams; its command line names it. */
export function storeDir(dataDir: string): string {
  return join(dataDir, 'nats');
}

/**
 * Rejects with the end of its log when it does not come up.
 * @param port 0: any free one
 * @param begun hears the process id as soon as there is one, before the server is ready
 */
export async function startNats(
  binary: string,
  dataDir: string,
  port: number,
  begun: (pid: number) => void = () => undefined,
): Promise<OwnNats> {
  const portsDir = join(dataDir, 'nats-ports');
  await rm(portsDir, { recursive: true, force: true });
  await mkdir(portsDir, { recursive: true });
  const log = await ServerLog.open(join(dataDir, 'logs', 'nats-server.log'), () => undefined);
  const place = ['-sd', storeDir(dataDir), '-a', '127.0.0.1', '-p', String(port === 0 ? -1 : port)];
  // Its own process group: a Ctrl-C in the terminal is ours to hand on, after the cluster has drained.
  const child = spawn(binary, ['-js', ...place, '--ports_file_dir', portsDir], {
    stdio: ['ignore', 'pipe', 'pipe'],
    detached: true,
  });
  if (child.pid !== undefined) begun(child.pid);
  for (const stream of [child.stdout, child.stderr]) stream.on('data', (chunk: Buffer) => void log.append(chunk));
  const ended = new Promise<string>((resolve) => {
    child.once('error', (error) => resolve(error.message));
    child.once('close', (code, signal) => resolve(signal ? `signal ${signal}` : `exit code ${code}`));
  });
  const failed = ended.then(async (how) => {
    await log.close();
    throw new Error(`nats-server ended at its start (${how}):\n${log.tail().split('\n').slice(-4).join('\n')}`);
  });
  failed.catch(() => undefined);
  try {
    const url = await Promise.race([portFrom(portsDir), failed]);
    return { url, pid: child.pid ?? 0, ended, stop: () => stop(child, ended) };
  } catch (error) {
    await stop(child, ended);
    throw error;
  }
}

async function portFrom(folder: string): Promise<string> {
  const giveUpAtMs = steadyNow() + readyMs;
  while (steadyNow() < giveUpAtMs) {
    for (const name of await readdir(folder)) {
      if (!name.endsWith('.ports')) continue;
      try {
        const { nats } = JSON.parse(await readFile(join(folder, name), 'utf8')) as { nats?: string[] };
        if (nats?.[0]) return nats[0];
      } catch {
        // half written: look again
      }
    }
    await sleep(25);
  }
  throw new Error(`nats-server told no port within ${readyMs / 1_000} s`);
}

async function stop(child: ChildProcess, ended: Promise<string>): Promise<void> {
  if (child.pid === undefined || child.exitCode !== null || child.signalCode !== null) return;
  child.kill('SIGTERM');
  const timer = setTimeout(() => child.kill('SIGKILL'), stopMs);
  await ended;
  clearTimeout(timer);
}
