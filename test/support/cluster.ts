// A real cluster for end-to-end tests: nats-server, the fake engine and the built services of dist/ as processes of their own.

import { fork, type ChildProcess } from 'node:child_process';
import { existsSync } from 'node:fs';
import { createServer } from 'node:net';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { packageRoot } from '../../src/process/version.js';
import { GrmClient, GrmError, type ConnectOptions, type Verdict } from '../../src/rpc/client.js';
import { startFakeEngine, type FakeEngine } from '../../services/fake-engine/server.js';
import type { FakeEngineOptions } from '../../services/fake-engine/options.js';
import { startNats, type NatsOptions, type NatsServer } from './nats.js';
import { until } from './processes.js';

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
  /** `enter`: as of startService. */
  start(role: Role, env?: Readonly<Record<string, string>>, enter?: readonly string[]): Promise<ServiceProcess>;
  /** Resolves when so many workers serve, as a coordinator sees it. */
  serving(client: GrmClient, workers: number, metaWorkers: number): Promise<void>;
}

/** Generous: the suite shares two cores with whatever else runs, and a start that is given up is a member less for the rest of a chaos run. */
const readyMs = 240_000;

export async function startCluster(
  engine: Partial<FakeEngineOptions> = {},
  env: Readonly<Record<string, string>> = {},
  natsOptions: NatsOptions = {},
): Promise<TestCluster> {
  const nats = await startNats(natsOptions);
  const fake = await startFakeEngine({ port: 0, instant: true, accuracy: 1, ...engine });
  const processes: ServiceProcess[] = [];
  const base = { ...serviceEnvironment([nats.url], fake.url), ...env };
  return {
    nats,
    engine: fake,
    async start(role, more = {}, enter) {
      const service = await startService(role, { ...base, ...more }, enter);
      processes.push(service);
      return service;
    },
    serving,
    async [Symbol.asyncDispose]() {
      for (const each of processes) each.kill('SIGKILL');
      await Promise.all(processes.map((each) => each.ended));
      await fake.close();
      await nats[Symbol.asyncDispose]();
    },
  };
}

/** Resolves when so many workers serve, as a coordinator sees it. */
export async function serving(client: GrmClient, workers: number, metaWorkers: number): Promise<void> {
  const giveUpAtMs = Date.now() + readyMs;
  for (;;) {
    const { nodes } = await client.status();
    const count = (role: Role): number =>
      nodes.filter((node) => node.role === role && !node.draining && node.actors.some((actor) => actor.state === 3))
        .length;
    if (count('grm-worker') === workers && count('meta-worker') === metaWorkers) return;
    if (Date.now() > giveUpAtMs)
      throw new Error(`${workers} workers and ${metaWorkers} meta workers do not serve: ${JSON.stringify(nodes)}`);
    await sleep(100);
  }
}

/** What every service of a test's cluster is told. */
export function serviceEnvironment(natsServers: readonly string[], engineUrl: string): Record<string, string> {
  return {
    PATH: process.env.PATH ?? '',
    GRM_NATS__SERVERS: JSON.stringify(natsServers),
    GRM_GRPC__LISTEN: '127.0.0.1:0',
    GRM_HTTP__LISTEN: '127.0.0.1:0',
    GRM_LOG__FORMAT: 'json',
    GRM_WORKER__ENGINES: JSON.stringify([{ kind: 'openai', base_url: engineUrl, slots: 16 }]),
    GRM_META__ENGINES: JSON.stringify([{ kind: 'vllm_classify', base_url: engineUrl, slots: 16 }]),
  };
}

/**
 * Starts one process of the build; rejects when it ends, or is not ready in time, and then nothing of it is left.
 * @param enter a command that runs the one behind it in its own place: namespace.ts
 */
export async function startService(
  role: Role,
  env: Readonly<Record<string, string>>,
  enter: readonly string[] = [],
): Promise<ServiceProcess> {
  if (!existsSync(join(packageRoot, 'dist', 'services', role, 'main.js'))) {
    throw new Error('dist/ is not built: `make build` first (make test does)');
  }
  const [execPath, ...execArgv] = [...enter, process.execPath];
  const child: ChildProcess = fork(join(packageRoot, 'dist', 'services', role, 'main.js'), [], {
    env,
    stdio: ['ignore', 'pipe', 'pipe', 'ipc'],
    execPath,
    execArgv,
  });
  let log = '';
  for (const stream of [child.stdout, child.stderr])
    stream?.on('data', (chunk: Buffer) => (log = (log + chunk.toString('utf8')).slice(-1_000_000)));
  const ended = new Promise<number | string>((resolve) =>
    child.once('exit', (code, signal) => resolve(signal ?? code ?? 0)),
  );
  const ready = await new Promise<{ node: string; grpc?: string; http: string }>((resolve, reject) => {
    const timer = setTimeout(() => {
      child.kill('SIGKILL');
      reject(new Error(`${role} was not ready:\n${log}`));
    }, readyMs);
    child.on('message', (message) => {
      if ((message as { kind: string }).kind !== 'ready') return;
      clearTimeout(timer);
      resolve(message as { node: string; grpc?: string; http: string });
    });
    void ended.then((how) => {
      clearTimeout(timer);
      reject(new Error(`${role} ended (${how}):\n${log}`));
    });
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

export function clientOf(coordinator: ServiceProcess, more: Partial<ConnectOptions> = {}): GrmClient {
  return GrmClient.connect({ address: coordinator.grpc, ...more });
}

/** A verdict but for whether it came from the store: every caller is told the same, whoever of them was first. */
export function same<V extends Verdict | undefined>(verdict: V): V {
  if (verdict === undefined) return verdict;
  const { stored: _stored, ...rest } = verdict;
  return rest as V;
}

/** Fails where it would try again: for tests that want to see the fault. */
export const once = { retries: { triesMax: 1 } } as const;

/** Settles without an unhandled rejection, for calls whose coordinator is going to be killed. */
export function settled<T>(call: Promise<T>): Promise<T | GrmError> {
  return call.catch((error: unknown) => {
    if (error instanceof GrmError) return error;
    throw error;
  });
}

/** Resolves when no shard waits or is with a worker, and no request runs at this client's coordinator. */
export async function quiet(client: GrmClient, withinMs = 60_000): Promise<void> {
  let seen = '';
  await until(
    async () => {
      const { queues, requestsInFlight } = await client.status();
      seen = JSON.stringify({ requestsInFlight, queues: queues.filter((each) => each.pending + each.inFlight > 0) });
      return requestsInFlight === 0 && queues.every(({ pending, inFlight }) => pending + inFlight === 0);
    },
    'the queues are empty',
    withinMs,
  ).catch((error: unknown) => {
    throw new Error(`${String(error)}: ${seen}`);
  });
}

/** What one process serves over HTTP. */
export async function page(service: ServiceProcess, path: string): Promise<{ status: number; body: string }> {
  const response = await fetch(`http://${service.http}${path}`, { signal: AbortSignal.timeout(20_000) });
  return { status: response.status, body: await response.text() };
}

/** Sum of the series of one metric that carry these labels; 0 when there are none. */
export async function metric(service: ServiceProcess, name: string, labels: Readonly<Record<string, string>> = {}) {
  const { body } = await page(service, '/metrics');
  let sum = 0;
  for (const line of body.split('\n')) {
    if (!line.startsWith(`${name}{`) && !line.startsWith(`${name} `)) continue;
    if (Object.entries(labels).every(([label, value]) => line.includes(`${label}="${value}"`))) {
      sum += Number(line.slice(line.lastIndexOf(' ')));
    }
  }
  return sum;
}

/** A port that nobody listens on now, for a process that comes back at the same address. */
export async function freePort(): Promise<number> {
  const server = createServer();
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  const address = server.address();
  await new Promise((resolve) => server.close(resolve));
  if (address === null || typeof address === 'string') throw new Error('no port');
  return address.port;
}

/** A worker's setting for one OpenAI-compatible server. */
export function enginesAt(url: string, slots = 16, more: Readonly<Record<string, unknown>> = {}) {
  return { GRM_WORKER__ENGINES: JSON.stringify([{ kind: 'openai', base_url: url, slots, ...more }]) };
}
