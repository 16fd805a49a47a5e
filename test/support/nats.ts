// A real nats-server for one test file: random port, own store, killed and removed when the test lets go of it.
//
//   await using nats = await startNats();
//   await nats.kill();      // SIGKILL: nothing is flushed
//   await nats.restart();   // same port, same store

import { spawn, type ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { mkdir, mkdtemp, readdir, readFile, rm, writeFile } from 'node:fs/promises';
import { connect } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import type { Namespace } from './namespace.js';

export interface NatsOptions {
  /** More lines for the configuration file, in nats-server's own language (limits, users, TLS). */
  readonly config?: string;
  /** Inside the jetstream block: `max_file_store: 10485760`. */
  readonly jetstream?: string;
  /** A configuration file instead of one made from these. Address and port are still ours, and $GRM_NATS_STORE_DIR is the store. */
  readonly file?: string;
  /** A folder for its store, removed with it. Default: one of its own. */
  readonly storeDir?: string;
  /** Where it runs and listens, when that is a namespace (namespace.ts). */
  readonly place?: Pick<Namespace, 'enter' | 'address'>;
  /** Variables that it refers to. */
  readonly env?: Readonly<Record<string, string>>;
}

export interface NatsServer extends AsyncDisposable {
  /** "nats://127.0.0.1:40123" */
  readonly url: string;
  readonly port: number;
  readonly storeDir: string;
  /** Of the process that runs now; undefined while it is down. */
  pid(): number | undefined;
  /** What the server has written, for messages about a failed test. */
  log(): string;
  /** Ends the process and waits until it is gone; default SIGKILL. */
  kill(signal?: NodeJS.Signals): Promise<void>;
  /**
   * Starts it again on the same port and store. One that still runs is killed before, or told to end (SIGTERM) and killed when it has
   * not by then, as a supervisor does.
   */
  restart(graceMs?: number): Promise<void>;
  /** SIGSTOP and SIGCONT: it holds its connections and answers nobody. */
  pause(): void;
  resume(): void;
}

const startMs = 15_000;
/** The setting nats.server_binary by its environment name, as in `make setup`: tests run against any version. */
const serverBinary = process.env.GRM_NATS__SERVER_BINARY ?? 'nats-server';
const living = new Set<ChildProcess>();
process.on('exit', () => {
  for (const child of living) child.kill('SIGKILL');
});

export async function startNats(options: NatsOptions = {}): Promise<NatsServer> {
  const dir = await mkdtemp(join(tmpdir(), 'grm-nats-'));
  const storeDir = options.storeDir ?? join(dir, 'store');
  const portsDir = join(dir, 'ports');
  const configFile = join(dir, 'nats.conf');
  await mkdir(portsDir);
  await writeFile(
    configFile,
    `jetstream { store_dir: ${JSON.stringify(storeDir)}\n${options.jetstream ?? ''}\n}\n${options.config ?? ''}\n`,
  );

  const host = options.place?.address ?? '127.0.0.1';

  let child: ChildProcess | undefined;
  let written = '';

  async function start(port: number): Promise<number> {
    const args = ['-c', options.file ?? configFile, '-a', host, '-p', String(port), '--ports_file_dir', portsDir];
    const env = { ...process.env, GRM_NATS_STORE_DIR: JSON.stringify(storeDir), ...options.env };
    const [command = '', ...rest] = [...(options.place?.enter ?? []), serverBinary, ...args];
    const started = spawn(command, rest, { stdio: ['ignore', 'pipe', 'pipe'], env });
    child = started;
    living.add(started);
    let failed: Error | undefined;
    started.once('error', (error) => {
      failed = error;
    });
    started.once('exit', () => living.delete(started));
    const hear = (chunk: Buffer): void => {
      written = (written + chunk.toString()).slice(-64 * 1024);
    };
    started.stdout.on('data', hear);
    started.stderr.on('data', hear);
    const giveUpAt = Date.now() + startMs;
    while (Date.now() < giveUpAt) {
      if (failed) throw new Error(`${serverBinary} did not start: ${failed.message}`);
      if (started.exitCode !== null) throw new Error(`nats-server exited with ${started.exitCode}:\n${written}`);
      const found = port === -1 ? await portOf(portsDir, started.pid) : port;
      if (found !== undefined && (await answers(host, found))) return found;
      await sleep(10);
    }
    throw new Error(`nats-server was not ready within ${startMs} ms:\n${written}`);
  }

  async function kill(signal: NodeJS.Signals = 'SIGKILL'): Promise<void> {
    const running = child;
    child = undefined;
    if (running?.exitCode !== null || running.signalCode !== null) return;
    const gone = once(running, 'exit');
    running.kill(signal);
    await gone;
  }

  const port = await start(-1);
  return {
    url: `nats://${host}:${port}`,
    port,
    storeDir,
    pid: () => child?.pid,
    log: () => written,
    kill,
    async restart(graceMs) {
      const running = child;
      if (running && graceMs !== undefined) {
        const timer = setTimeout(() => running.kill('SIGKILL'), graceMs);
        await kill('SIGTERM');
        clearTimeout(timer);
      }
      await kill();
      await start(port);
    },
    pause: () => void child?.kill('SIGSTOP'),
    resume: () => void child?.kill('SIGCONT'),
    async [Symbol.asyncDispose]() {
      await kill();
      if (options.storeDir !== undefined) await rm(storeDir, { recursive: true, force: true, maxRetries: 3 });
      await rm(dir, { recursive: true, force: true, maxRetries: 3 });
    },
  };
}

/** nats-server writes `<name>_<pid>.ports` once it listens. */
async function portOf(portsDir: string, pid: number | undefined): Promise<number | undefined> {
  for (const name of await readdir(portsDir)) {
    if (!name.endsWith(`_${pid}.ports`)) continue;
    try {
      const ports = JSON.parse(await readFile(join(portsDir, name), 'utf8')) as { nats: string[] };
      return Number(new URL(ports.nats[0]!).port);
    } catch {
      return undefined; // half written: asked again
    }
  }
  return undefined;
}

function answers(host: string, port: number): Promise<boolean> {
  return new Promise((resolve) => {
    const socket = connect(port, host);
    const end = (answer: boolean): void => {
      socket.destroy();
      resolve(answer);
    };
    socket.setTimeout(1_000, () => {
      end(false);
    });
    socket.once('data', (data) => {
      end(data.toString().startsWith('INFO'));
    });
    socket.once('error', () => {
      end(false);
    });
  });
}
