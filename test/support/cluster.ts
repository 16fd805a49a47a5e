// A real cluster for end-to-end tests: nats-server, the fake engine and the built services of dist/ as processes of their own.

import { fork, type ChildProcess } from 'node:child_process';
import { existsSync } from 'node:fs';
import { join } from 'node:path';
import { packageRoot } from '../../src/process/version.js';
import { GrmClient } from '../../src/rpc/client.js';
import { startFakeEngine, type FakeEngine } from '../../services/fake-engine/server.js';
import type { FakeEngineOptions } from '../../services/fake-engine/options.js';
import { startNats, type NatsServer } from './nats.js';

export type Role = 'coordinator' | 'grm-worker' | 'meta-worker';

export interface ServiceProcess {
  readonly role: Role;
  readonly node: string;
  /** "127.0.0.1:port" of a coordinator's gRPC door. */
  readonly grpc: string;
  readonly http: string;
  readonly pid: number;
  kill(signal: NodeJS.Signals): void;
  /** Exit code, or the signal's name. */
  readonly ended: Promise<number | string>;
  log(): string;
}

export interface TestCluster extends AsyncDisposable {
  readonly nats: NatsServer;
  readonly engine: FakeEngine;
  start(role: Role, env?: Readonly<Record<string, string>>): Promise<ServiceProcess>;
  /** Resolves when so many workers serve, as a coordinator sees it. */
  serving(client: GrmClient, workers: number, metaWorkers: number): Promise<void>;
}

const readyMs = 30_000;

export async function startCluster(
  engine: Partial<FakeEngineOptions> = {},
  env: Readonly<Record<string, string>> = {},
): Promise<TestCluster> {
  if (!existsSync(join(packageRoot, 'dist', 'services', 'coordinator', 'main.js'))) {
    throw new Error('dist/ is not built: `make build` first (make test does)');
  }
  const nats = await startNats();
  const fake = await startFakeEngine({ port: 0, instant: true, ...engine });
  const processes: ServiceProcess[] = [];
  const base: Record<string, string> = {
    PATH: process.env.PATH ?? '',
    GRM_NATS__SERVERS: JSON.stringify([nats.url]),
    GRM_GRPC__LISTEN: '127.0.0.1:0',
    GRM_HTTP__LISTEN: '127.0.0.1:0',
    GRM_LOG__FORMAT: 'json',
    GRM_WORKER__ENGINES: JSON.stringify([{ kind: 'openai', base_url: fake.url, slots: 16 }]),
    GRM_META__ENGINES: JSON.stringify([{ kind: 'vllm_classify', base_url: fake.url, slots: 16 }]),
    ...env,
  };
  return {
    nats,
    engine: fake,
    async start(role, more = {}) {
      const service = await startService(role, { ...base, ...more });
      processes.push(service);
      return service;
    },
    async serving(client, workers, metaWorkers) {
      const giveUpAtMs = Date.now() + readyMs;
      for (;;) {
        const { nodes } = await client.status();
        const count = (role: Role): number =>
          nodes.filter((node) => node.role === role && !node.draining && node.actors.some((actor) => actor.state === 3))
            .length;
        if (count('grm-worker') === workers && count('meta-worker') === metaWorkers) return;
        if (Date.now() > giveUpAtMs)
          throw new Error(`${workers} workers and ${metaWorkers} meta workers do not serve: ${JSON.stringify(nodes)}`);
        await new Promise((resolve) => setTimeout(resolve, 100));
      }
    },
    async [Symbol.asyncDispose]() {
      for (const each of processes) each.kill('SIGKILL');
      await Promise.all(processes.map((each) => each.ended));
      await fake.close();
      await nats[Symbol.asyncDispose]();
    },
  };
}

async function startService(role: Role, env: Record<string, string>): Promise<ServiceProcess> {
  const child: ChildProcess = fork(join(packageRoot, 'dist', 'services', role, 'main.js'), [], {
    env,
    stdio: ['ignore', 'pipe', 'pipe', 'ipc'],
    execArgv: [],
  });
  let log = '';
  for (const stream of [child.stdout, child.stderr])
    stream?.on('data', (chunk: Buffer) => (log = (log + chunk.toString('utf8')).slice(-1_000_000)));
  const ended = new Promise<number | string>((resolve) =>
    child.once('exit', (code, signal) => resolve(signal ?? code ?? 0)),
  );
  const ready = await new Promise<{ node: string; grpc?: string; http: string }>((resolve, reject) => {
    const timer = setTimeout(() => reject(new Error(`${role} was not ready:\n${log}`)), readyMs);
    child.on('message', (message) => {
      if ((message as { kind: string }).kind !== 'ready') return;
      clearTimeout(timer);
      resolve(message as { node: string; grpc?: string; http: string });
    });
    void ended.then((how) => reject(new Error(`${role} ended (${how}):\n${log}`)));
  });
  return {
    role,
    node: ready.node,
    grpc: ready.grpc ?? '',
    http: ready.http,
    pid: child.pid ?? 0,
    kill: (signal) => child.kill(signal),
    ended,
    log: () => log,
  };
}

export function clientOf(coordinator: ServiceProcess): GrmClient {
  return GrmClient.connect({ address: coordinator.grpc });
}
