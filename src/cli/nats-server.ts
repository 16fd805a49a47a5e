// nats-server: finds the program, starts one with its own data folder on a free loopback port, stops it.

import { spawn, type ChildProcess } from 'node:child_process';
import { existsSync } from 'node:fs';
import { mkdir, open, readdir, readFile, rm, writeFile } from 'node:fs/promises';
import { delimiter, isAbsolute, join, resolve } from 'node:path';

export interface OwnNats {
  readonly url: string;
  readonly pid: number;
  /** Resolves when the server ends, with how. */
  readonly ended: Promise<string>;
  stop(): Promise<void>;
}

/** Debian puts it where only root's PATH looks. */
const usualFolders = ['/usr/sbin', '/usr/local/sbin', '/usr/local/bin', '/opt/homebrew/bin'];

const readyMs = 20_000;
const stopMs = 10_000;

/** The program's full path; undefined when there is none. */
export function findNatsServer(wanted: string, path: string): string | undefined {
  if (isAbsolute(wanted) || wanted.includes('/')) return existsSync(wanted) ? resolve(wanted) : undefined;
  return [...path.split(delimiter), ...usualFolders]
    .map((folder) => join(folder, wanted))
    .find((file) => existsSync(file));
}

export const natsServerMissing = `nats-server (2.9 or newer) was not found.
  Debian, Ubuntu    sudo apt-get install nats-server
  macOS             brew install nats-server
  elsewhere         a release binary of nats-io/nats-server anywhere on PATH, or: --set nats.server_binary=/path/to/nats-server`;

/** Starts a server with JetStream whose data stays in `dataDir`. Rejects with the end of its log when it does not come up. */
export async function startNats(binary: string, dataDir: string): Promise<OwnNats> {
  await endLeftOver(dataDir);
  const portsDir = join(dataDir, 'nats-ports');
  await rm(portsDir, { recursive: true, force: true });
  await mkdir(portsDir, { recursive: true });
  const logFile = join(dataDir, 'logs', 'nats-server.log');
  await mkdir(join(dataDir, 'logs'), { recursive: true });
  const log = await open(logFile, 'a');
  const args = ['-js', '-sd', join(dataDir, 'nats'), '-a', '127.0.0.1', '-p', '-1', '--ports_file_dir', portsDir];
  // Its own process group: a Ctrl-C in the terminal is ours to hand on, after the cluster has drained.
  const child = spawn(binary, args, { stdio: ['ignore', log.fd, log.fd], detached: true });
  await log.close();
  const ended = new Promise<string>((resolve) => {
    child.once('error', (error) => resolve(error.message));
    child.once('exit', (code, signal) => resolve(signal ? `signal ${signal}` : `exit code ${code}`));
  });
  const failed = ended.then(async (how) => {
    const text = await readFile(logFile, 'utf8').catch(() => '');
    throw new Error(`nats-server ended at its start (${how}):\n${text.split('\n').slice(-6).join('\n')}`);
  });
  failed.catch(() => undefined);
  const url = await Promise.race([portFrom(portsDir), failed]);
  await writeFile(pidFile(dataDir), String(child.pid));
  return { url, pid: child.pid ?? 0, ended, stop: () => stop(child, ended, dataDir) };
}

function pidFile(dataDir: string): string {
  return join(dataDir, 'nats.pid');
}

/** A server whose parent was killed still holds the data folder: two servers must never share one. */
async function endLeftOver(dataDir: string): Promise<void> {
  const pid = Number(await readFile(pidFile(dataDir), 'utf8').catch(() => ''));
  if (!(pid > 0)) return;
  const command = await readFile(`/proc/${pid}/cmdline`, 'utf8').catch(() => '');
  if (!command.includes(join(dataDir, 'nats'))) return;
  process.kill(pid, 'SIGTERM');
  const giveUpAtMs = Date.now() + stopMs;
  while (existsSync(`/proc/${pid}`)) {
    if (Date.now() > giveUpAtMs)
      throw new Error(`a nats-server left behind (pid ${pid}) does not end; it uses ${dataDir}`);
    await new Promise((resolve) => setTimeout(resolve, 50));
  }
}

async function portFrom(folder: string): Promise<string> {
  const giveUpAtMs = Date.now() + readyMs;
  while (Date.now() < giveUpAtMs) {
    for (const name of await readdir(folder)) {
      if (!name.endsWith('.ports')) continue;
      try {
        const { nats } = JSON.parse(await readFile(join(folder, name), 'utf8')) as { nats?: string[] };
        if (nats?.[0]) return nats[0];
      } catch {
        // half written: look again
      }
    }
    await new Promise((resolve) => setTimeout(resolve, 25));
  }
  throw new Error(`nats-server told no port within ${readyMs / 1_000} s`);
}

async function stop(child: ChildProcess, ended: Promise<string>, dataDir: string): Promise<void> {
  await rm(pidFile(dataDir), { force: true });
  if (child.exitCode !== null || child.signalCode !== null) return;
  child.kill('SIGTERM');
  const timer = setTimeout(() => child.kill('SIGKILL'), stopMs);
  await ended;
  clearTimeout(timer);
}
