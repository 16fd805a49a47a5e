// A cluster for one measurement: nats-server, a coordinator and workers as processes of their own, in a folder that goes away with it.

import { fork, type ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { rm } from 'node:fs/promises';
import { join } from 'node:path';
import { findNatsServer, natsServerMissing, startNats, type OwnNats } from '../src/cli/nats-server.js';
import { environment } from '../src/process/environment.js';
import { packageRoot } from '../src/process/version.js';
import { GrmClient } from '../src/rpc/client.js';
import { disownProcess, makeOwnFolder, ownProcess } from './owned.js';

export interface ClusterPlan {
  readonly workers: number;
  readonly metaWorkers?: number;
  /** Absent: engines that take no time (instant-worker.ts). Given: services/grm-worker, and its engines by the worker's number. */
  readonly engines?: (worker: number) => readonly object[];
  /** `section.key=value` for every process. */
  readonly set?: readonly string[];
  /** Where processes leave their CPU profiles. */
  readonly profileDir?: string | undefined;
}

export interface BenchCluster extends AsyncDisposable {
  readonly client: GrmClient;
  /** Of the coordinator's gRPC door. */
  readonly address: string;
  readonly natsUrl: string;
  readonly pids: {
    readonly coordinator: number;
    readonly workers: number[];
    readonly metas: number[];
    readonly nats: number;
  };
}

const readyMs = 120_000;
const endMs = 60_000;

/** A nats-server with a store of its own, which goes with it. */
export async function startFolderNats(): Promise<OwnNats & AsyncDisposable> {
  const binary = findNatsServer('nats-server', environment().PATH ?? '');
  if (binary === undefined) throw new Error(natsServerMissing);
  const folder = makeOwnFolder();
  const nats = await startNats(binary, folder, 0, ownProcess);
  return {
    ...nats,
    async [Symbol.asyncDispose]() {
      await nats.stop();
      disownProcess(nats.pid);
      await rm(folder, { recursive: true, force: true });
    },
  };
}

export async function startCluster(plan: ClusterPlan): Promise<BenchCluster> {
  const { workers, metaWorkers = 0, engines, profileDir } = plan;
  const nats = await startFolderNats();
  const children: ChildProcess[] = [];
  const settings = [
    'http.listen=127.0.0.1:0',
    'grpc.listen=127.0.0.1:0',
    'log.level=warn',
    'log.format=json',
    `nats.servers=${JSON.stringify([nats.url])}`,
    ...(plan.set ?? []),
  ];
  const start = (name: string, script: string, more: readonly string[] = []): ChildProcess => {
    const profile =
      profileDir === undefined
        ? []
        : ['--cpu-prof', '--cpu-prof-dir', profileDir, '--cpu-prof-name', `${name}.cpuprofile`];
    const args = [...settings, ...more].flatMap((each) => ['--set', each]);
    const child = owned(
      fork(join(packageRoot, 'dist', script), args, {
        execArgv: profile,
        stdio: ['ignore', 'ignore', 'inherit', 'ipc'],
        detached: true,
      }),
    );
    children.push(child);
    return child;
  };
  const stop = async (): Promise<void> => {
    // The coordinator first: it finishes or gives up what the workers are at.
    const [coordinator, ...workers] = children;
    if (coordinator) await ended(coordinator);
    await Promise.all(workers.map(ended));
    await nats[Symbol.asyncDispose]();
  };
  try {
    const coordinator = start('coordinator', 'services/coordinator/main.js');
    const { grpc } = await told<{ grpc: string }>(coordinator, (message) => message.kind === 'ready');
    const serving = told<{ workers: number }>(
      coordinator,
      (message) => message.kind === 'serving' && message.workers === workers && message.metaWorkers === metaWorkers,
    );
    const worker = engines ? 'services/grm-worker/main.js' : 'bench/instant-worker.js';
    const grm = Array.from({ length: workers }, (_, at) =>
      start(`worker-${at}`, worker, engines && [`worker.engines=${JSON.stringify(engines(at))}`]),
    );
    const metas = Array.from({ length: metaWorkers }, (_, at) => start(`meta-${at}`, 'bench/instant-meta.js'));
    await serving;
    const client = GrmClient.connect({ address: grpc });
    const pidsOf = (those: readonly ChildProcess[]): number[] => those.map(({ pid }) => pid ?? 0);
    return {
      client,
      address: grpc,
      natsUrl: nats.url,
      pids: { coordinator: coordinator.pid ?? 0, workers: pidsOf(grm), metas: pidsOf(metas), nats: nats.pid },
      async [Symbol.asyncDispose]() {
        client.close();
        await stop();
      },
    };
  } catch (error) {
    await stop();
    throw error;
  }
}

/** It is killed when the measurement is cut off. */
export function owned(child: ChildProcess): ChildProcess {
  ownProcess(child.pid);
  child.once('exit', () => disownProcess(child.pid));
  return child;
}

type Told = Readonly<Record<string, unknown>>;

/** The first message that `wanted` takes; rejects when the process ends first or says nothing for readyMs. */
export function told<T>(child: ChildProcess, wanted: (message: Told) => boolean): Promise<T> {
  return new Promise((resolve, reject) => {
    const timer = setTimeout(() => reject(new Error(`${child.spawnfile} was not ready within ${readyMs} ms`)), readyMs);
    child.on('message', (message: Told) => {
      if (!wanted(message)) return;
      clearTimeout(timer);
      resolve(message as T);
    });
    child.once('exit', (code, signal) => {
      clearTimeout(timer);
      reject(new Error(`${child.spawnargs.join(' ')} ended early: ${signal ?? code}`));
    });
  });
}

/** SIGTERM, SIGKILL after endMs. */
export async function ended(child: ChildProcess): Promise<void> {
  if (child.exitCode !== null || child.signalCode !== null) return;
  const gone = once(child, 'exit');
  child.kill('SIGTERM');
  const timer = setTimeout(() => child.kill('SIGKILL'), endMs);
  await gone;
  clearTimeout(timer);
}
