// Embedded: a whole cluster on this machine, as separate processes: nats-server, a coordinator, workers, meta workers.
//
//   B1. Every process runs in a process group of its own: a Ctrl-C reaches only the parent, which stops them in order: doors first, then
//       workers, NATS last, so that what was accepted is finished.
//   B2. A service that dies is started again, with growing pauses; it is told, and the cluster goes on.
//   B3. A service whose parent vanished ends by itself (its IPC channel closes); a nats-server left behind is found by the next start.

import { fork, type ChildProcess } from 'node:child_process';
import { createWriteStream } from 'node:fs';
import { mkdir, readFile, rm, writeFile } from 'node:fs/promises';
import { join, resolve } from 'node:path';
import type { Config } from '../process/schema.js';
import { packageRoot } from '../process/version.js';
import { findNatsServer, natsServerMissing, startNats, type OwnNats } from './nats-server.js';

export type ServiceKind = 'coordinator' | 'grm-worker' | 'meta-worker' | 'fake-engine';

export interface EmbeddedOptions {
  readonly config: Config;
  /** Arguments that carry this configuration to the services: `--config FILE --set key=value ...`. */
  readonly configArgs: readonly string[];
  readonly env: Readonly<Record<string, string | undefined>>;
  readonly workers: number;
  readonly metaWorkers: number;
  /** No engine is configured: start the fake one, loudly. */
  readonly fake: boolean;
  /** Aborts when the start is not wanted any more. */
  readonly stopping: AbortSignal;
  /** Tells people what happens, a line at a time. */
  readonly tell: (line: string) => void;
  /** A service's own log lines, when wanted on the terminal. */
  readonly onLog?: (name: string, line: string) => void;
}

export interface Embedded {
  readonly grpcAddress: string;
  readonly natsUrl: string;
  readonly pids: () => Readonly<Record<string, number>>;
  /** Resolves when the cluster can no longer serve, with the reason. */
  readonly failed: Promise<string>;
  /** Drains and stops everything; a second call hurries (SIGKILL). */
  close(): Promise<void>;
}

const readyMs = 90_000;
/** Models of tens of gigabytes load for minutes. */
const servingMs = 45 * 60_000;
const restartPausesMs = [250, 1_000, 4_000, 15_000];
const stopGraceMs = 70_000;

export async function startEmbedded(options: EmbeddedOptions): Promise<Embedded> {
  const { config, tell } = options;
  const dataDir = resolve(config.up.dataDir);
  await mkdir(join(dataDir, 'logs'), { recursive: true });
  const unlock = await lock(dataDir);
  const services: Service[] = [];
  let nats: OwnNats | undefined;
  let hurrying = false;
  let closing: Promise<void> | undefined;
  let fail: (reason: string) => void = () => undefined;
  const failed = new Promise<string>((resolve) => (fail = resolve));

  const stopAll = async (): Promise<void> => {
    for (const kind of ['coordinator', 'grm-worker', 'meta-worker', 'fake-engine'] as const) {
      await Promise.all(services.filter((each) => each.kind === kind).map((each) => each.stop()));
    }
    await nats?.stop();
    await unlock();
  };
  const close = (): Promise<void> => {
    if (closing && !hurrying) {
      hurrying = true;
      for (const each of services) each.kill();
    }
    return (closing ??= stopAll());
  };

  // A Ctrl-C during the start ends what was started so far; waiting for its readiness then fails.
  options.stopping.addEventListener('abort', () => starting && void close());
  let starting = true;
  try {
    let natsUrl: string;
    if (config.nats.servers.length > 0) {
      natsUrl = config.nats.servers.join(',');
      tell(`NATS          ${natsUrl} (given)`);
    } else {
      const binary = findNatsServer(config.nats.serverBinary, options.env.PATH ?? '');
      if (!binary) throw new Error(natsServerMissing);
      nats = await startNats(binary, dataDir);
      natsUrl = nats.url;
      tell(`NATS          ${natsUrl} (own, data in ${dataDir})`);
      void nats.ended.then((how) => {
        if (!closing) fail(`nats-server ended: ${how}`);
      });
    }
    await writeFile(join(dataDir, 'nats.url'), natsUrl);

    const start = async (
      kind: ServiceKind,
      name: string,
      args: readonly string[],
      env: Record<string, string>,
    ): Promise<Ready> => {
      const service = new Service(kind, name, args, { ...options.env, ...env }, dataDir, options);
      services.push(service);
      return service.ready();
    };
    const common = { ...(nats ? { GRM_NATS__SERVERS: JSON.stringify([natsUrl]) } : {}), GRM_LOG__FORMAT: 'json' };
    const configArgs = [...options.configArgs];

    const engineEnv: Record<string, string> = {};
    if (options.fake) {
      const { url } = await start('fake-engine', 'fake-engine', ['--port', '0', '--instant'], {});
      if (!url) throw new Error('the fake engine told no address');
      engineEnv.GRM_WORKER__ENGINES = JSON.stringify([{ kind: 'openai', base_url: url, slots: 64 }]);
      engineEnv.GRM_META__ENGINES = JSON.stringify([{ kind: 'vllm_classify', base_url: url, slots: 64 }]);
    }
    const coordinator = await start('coordinator', 'coordinator', configArgs, {
      ...common,
      GRM_HTTP__LISTEN: config.http.listen,
    });
    const ephemeral = { GRM_HTTP__LISTEN: '127.0.0.1:0' };
    const workers = await Promise.all([
      ...Array.from({ length: options.workers }, (_, at) =>
        start('grm-worker', `grm-worker-${at + 1}`, configArgs, { ...common, ...ephemeral, ...engineEnv }),
      ),
      ...Array.from({ length: options.metaWorkers }, (_, at) =>
        start('meta-worker', `meta-worker-${at + 1}`, configArgs, { ...common, ...ephemeral, ...engineEnv }),
      ),
    ]);
    const grpcAddress = coordinator.grpc ?? config.grpc.listen;
    tell(`coordinator   gRPC ${grpcAddress}, metrics http://${coordinator.http ?? ''}/metrics`);
    for (const each of workers)
      tell(
        `${(each.node ?? '').replace(/-[0-9a-f]+$/, '').padEnd(13)} ${each.node ?? ''}, metrics http://${each.http ?? ''}/metrics`,
      );
    await untilServing(services, options);
    await writeFile(
      join(dataDir, 'cluster.json'),
      JSON.stringify({ grpc: grpcAddress, nats: natsUrl, pid: process.pid }),
    );
    starting = false;
    return {
      grpcAddress,
      natsUrl,
      pids: () => Object.fromEntries(services.map((each) => [each.name, each.pid])),
      failed,
      close,
    };
  } catch (error) {
    await close();
    throw error;
  }
}

/** Waits until the coordinator sees every worker with an engine that serves: models take their time to load. */
async function untilServing(
  services: readonly Service[],
  { workers, metaWorkers, tell, stopping }: EmbeddedOptions,
): Promise<void> {
  const coordinator = services.find((each) => each.kind === 'coordinator');
  const startedAtMs = Date.now();
  let toldAtMs = startedAtMs;
  for (;;) {
    const serving = coordinator?.serving ?? { workers: 0, metaWorkers: 0 };
    if (serving.workers >= workers && serving.metaWorkers >= metaWorkers) return;
    if (stopping.aborted) throw new Error('interrupted');
    const now = Date.now();
    if (now - startedAtMs > servingMs)
      throw new Error(`the engines did not serve within ${servingMs / 60_000} minutes; see the logs`);
    if (now - toldAtMs > 5_000) {
      toldAtMs = now;
      tell(
        `waiting for engines: ${serving.workers} of ${workers} workers, ${serving.metaWorkers} of ${metaWorkers} meta workers serve`,
      );
    }
    await new Promise((resolve) => setTimeout(resolve, 50));
  }
}

interface Serving {
  readonly workers: number;
  readonly metaWorkers: number;
}

type Message = ({ readonly kind: 'ready' } & Ready) | ({ readonly kind: 'serving' } & Serving);

interface Ready {
  readonly grpc?: string;
  readonly http?: string;
  readonly node?: string;
  readonly url?: string;
}

/** One supervised service process. */
class Service {
  /** What the coordinator last told. */
  serving: Serving | undefined;
  #child: ChildProcess | undefined;
  #stopping = false;
  #restarts = 0;
  #firstReady: Promise<Ready>;
  #gone: Promise<void> = Promise.resolve();

  constructor(
    readonly kind: ServiceKind,
    readonly name: string,
    private readonly args: readonly string[],
    private readonly env: Readonly<Record<string, string | undefined>>,
    private readonly dataDir: string,
    private readonly options: EmbeddedOptions,
  ) {
    this.#firstReady = this.#start();
    this.#firstReady.catch(() => undefined);
  }

  get pid(): number {
    return this.#child?.pid ?? 0;
  }

  ready(): Promise<Ready> {
    return this.#firstReady;
  }

  async stop(): Promise<void> {
    this.#stopping = true;
    const child = this.#child;
    if (!child || child.exitCode !== null || child.signalCode !== null) return;
    child.kill('SIGTERM');
    const timer = setTimeout(() => child.kill('SIGKILL'), stopGraceMs);
    await this.#gone;
    clearTimeout(timer);
  }

  kill(): void {
    this.#stopping = true;
    this.#child?.kill('SIGKILL');
  }

  #start(): Promise<Ready> {
    const child = fork(join(packageRoot, 'dist', 'services', this.kind, 'main.js'), [...this.args], {
      env: this.env,
      stdio: ['ignore', 'pipe', 'pipe', 'ipc'],
      detached: true,
    });
    this.#child = child;
    const lastLines: string[] = [];
    const log = createWriteStream(join(this.dataDir, 'logs', `${this.name}.log`), { flags: 'a' });
    for (const stream of [child.stdout, child.stderr]) {
      stream?.on('data', (chunk: Buffer) => {
        log.write(chunk);
        for (const line of chunk.toString('utf8').split('\n')) {
          if (line === '') continue;
          lastLines.push(line);
          if (lastLines.length > 12) lastLines.shift();
          this.options.onLog?.(this.name, line);
        }
      });
    }
    let resolveGone: () => void = () => undefined;
    this.#gone = new Promise((resolve) => (resolveGone = resolve));
    return new Promise((resolve, reject) => {
      const timer = setTimeout(
        () => reject(new Error(`${this.name} was not ready within ${readyMs / 1_000} s:\n${lastLines.join('\n')}`)),
        readyMs,
      );
      child.on('message', (message) => {
        const told = message as Message;
        if (told.kind === 'serving') this.serving = told;
        else {
          clearTimeout(timer);
          resolve(told);
        }
      });
      child.once('close', () => log.end());
      child.once('error', (error) => reject(error));
      child.once('exit', (code, signal) => {
        clearTimeout(timer);
        resolveGone();
        const how = signal ? `signal ${signal}` : `exit code ${code}`;
        reject(new Error(`${this.name} ended at its start (${how}):\n${lastLines.join('\n')}`));
        if (!this.#stopping) this.#startAgain(how);
      });
    });
  }

  #startAgain(how: string): void {
    const pauseMs = restartPausesMs[Math.min(this.#restarts, restartPausesMs.length - 1)]!;
    this.#restarts++;
    this.options.tell(`${this.name} ended (${how}); starting it again in ${pauseMs / 1_000} s`);
    setTimeout(() => {
      if (!this.#stopping) this.#start().catch(() => undefined);
    }, pauseMs);
  }
}

/** One cluster per data folder. A lock whose owner is gone is taken over. */
async function lock(dataDir: string): Promise<() => Promise<void>> {
  const file = join(dataDir, 'up.pid');
  const owner = Number(await readFile(file, 'utf8').catch(() => ''));
  if (owner > 0 && owner !== process.pid && isAlive(owner)) {
    throw new Error(
      `another \`grm up\` (pid ${owner}) uses ${dataDir}; stop it, or give another folder with --data-dir`,
    );
  }
  await writeFile(file, String(process.pid));
  return async () => {
    await rm(file, { force: true });
    await rm(join(dataDir, 'cluster.json'), { force: true });
  };
}

function isAlive(pid: number): boolean {
  try {
    process.kill(pid, 0);
    return true;
  } catch (error) {
    return (error as NodeJS.ErrnoException).code === 'EPERM';
  }
}
