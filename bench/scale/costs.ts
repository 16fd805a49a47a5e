// What one sample costs the real processes: CPU time of each, and the messages and bytes that nats-server counts. The simulation takes its
// costs from here (inputs.ts); another machine gives others.
//
//   node dist/bench/scale/costs.js [--seconds 20] [--warm 10] [--in-flight 64] [--json]
//
// One coordinator, one GRM worker and one meta worker on the fake engine without simulated time, a nats-server of their own. CPU time is what
// the kernel booked on each process (user and system), so that other load on the machine disturbs it less than it would a rate.
// Not measured: replicas, networks between machines, storage that survives a power loss.

import { fork, spawn, type ChildProcess } from 'node:child_process';
import { rm } from 'node:fs/promises';
import { createServer, type AddressInfo } from 'node:net';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { parseArgs } from 'node:util';
import { findNatsServer, natsServerMissing } from '../../src/cli/nats-server.js';
import { environment } from '../../src/process/environment.js';
import { packageRoot } from '../../src/process/version.js';
import { GrmClient, type ScoreRequest } from '../../src/rpc/client.js';
import { owned } from '../cluster.js';
import { dropAtSignals, makeOwnFolder } from '../owned.js';
import { cpuSeconds } from '../proc.js';
import { optionsOf, refuse } from '../usage.js';

const values = optionsOf(
  () =>
    parseArgs({
      options: {
        seconds: { type: 'string', default: '20' },
        warm: { type: 'string', default: '10' },
        'in-flight': { type: 'string', default: '64' },
        json: { type: 'boolean', default: false },
      },
    }).values,
);
const above0 = (name: 'seconds' | 'warm' | 'in-flight'): number => {
  const number = Number(values[name]);
  return number > 0 ? number : refuse(`--${name} ${values[name]}: expected a number above 0`);
};
const seconds = above0('seconds');
const warmSeconds = above0('warm');
const inFlight = above0('in-flight');

const readyMs = 60_000;
let serial = 0;

interface Workload {
  readonly k: number;
  readonly vote: 'sum' | 'meta_topk';
}
const workloads: readonly Workload[] = [
  { k: 8, vote: 'sum' },
  { k: 32, vote: 'sum' },
  { k: 8, vote: 'meta_topk' },
  { k: 32, vote: 'meta_topk' },
];

interface Row extends Workload {
  readonly requests: number;
  readonly samples: number;
  readonly samplesPerSecond: number;
  /** Microseconds of CPU per sample, by process. */
  readonly cpuMicros: Readonly<Record<string, number>>;
  /** Per sample, all connections together, both ways. */
  readonly natsMessages: number;
  readonly natsBytes: number;
}

dropAtSignals();
const folder = makeOwnFolder();
const children: ChildProcess[] = [];
try {
  const nats = await startNats();
  const fake = await started('services/fake-engine/main.js', ['--port', '0', '--instant']);
  const { url } = fake.ready as { url: string };
  const settings = [
    `nats.servers=${JSON.stringify([nats.url])}`,
    'log.level=warn',
    'grpc.listen=127.0.0.1:0',
    'http.listen=127.0.0.1:0',
    `worker.engines=${JSON.stringify([{ kind: 'openai', base_url: url, slots: 256 }])}`,
    `meta.engines=${JSON.stringify([{ kind: 'vllm_classify', base_url: url, slots: 256 }])}`,
  ].flatMap((each) => ['--set', each]);
  const coordinator = await started('services/coordinator/main.js', settings);
  const worker = await started('services/grm-worker/main.js', settings);
  const meta = await started('services/meta-worker/main.js', settings);
  const pids = { coordinator: coordinator.pid, nats: nats.pid, worker: worker.pid, meta: meta.pid };
  using client = GrmClient.connect({ address: (coordinator.ready as { grpc: string }).grpc });
  await sleep(1_000);
  const rows: Row[] = [];
  for (const workload of workloads) {
    await draw(client, workload, warmSeconds);
    rows.push(await measure(client, workload, pids, nats.monitor));
  }
  if (values.json) console.log(JSON.stringify(rows, undefined, 1));
  else show(rows);
} finally {
  // Services first: nats-server was started before them.
  for (const child of children.toReversed()) {
    if (child.exitCode !== null || child.signalCode !== null) continue;
    const gone = new Promise((resolve) => child.once('exit', resolve));
    child.kill('SIGTERM');
    await Promise.race([gone, sleep(readyMs, undefined, { ref: false })]);
    child.kill('SIGKILL');
  }
  await rm(folder, { recursive: true, force: true });
}

async function measure(
  client: GrmClient,
  workload: Workload,
  pids: Readonly<Record<string, number>>,
  monitor: string,
): Promise<Row> {
  const before = { cpu: cpuOf(pids), traffic: await trafficOf(monitor) };
  const { requests, samples, tookS } = await draw(client, workload, seconds);
  const after = { cpu: cpuOf(pids), traffic: await trafficOf(monitor) };
  const cpuMicros = Object.fromEntries(
    Object.entries(after.cpu).map(([name, spent]) => [name, (1e6 * (spent - before.cpu[name]!)) / samples]),
  );
  return {
    ...workload,
    requests,
    samples,
    samplesPerSecond: samples / tookS,
    cpuMicros,
    natsMessages: (after.traffic.messages - before.traffic.messages) / samples,
    natsBytes: (after.traffic.bytes - before.traffic.bytes) / samples,
  };
}

async function draw(client: GrmClient, { k, vote }: Workload, forSeconds: number) {
  const startedAtMs = performance.now();
  const source = function* (): Generator<ScoreRequest> {
    while (performance.now() - startedAtMs < forSeconds * 1_000) {
      const number = serial++;
      yield {
        query: `costs ${number}: ${'word '.repeat(120)}`,
        responses: [`one quality=4 ${number}`, `two quality=7 ${number}`],
        k,
        vote,
        detail: 'rewards',
      };
    }
  };
  let samples = 0;
  let requests = 0;
  for await (const result of client.scoreMany(source(), { concurrency: inFlight })) {
    if (result.kind === 'fault') throw new Error(result.fault.message);
    requests++;
    samples += result.verdict.kValid;
  }
  return { requests, samples, tookS: (performance.now() - startedAtMs) / 1_000 };
}

function show(rows: readonly Row[]): void {
  console.log('| k | vote | samples/s | coordinator µs | nats µs | worker µs | meta µs | NATS messages | NATS bytes |');
  console.log('| --- | --- | --- | --- | --- | --- | --- | --- | --- |');
  for (const { k, vote, samplesPerSecond, cpuMicros, natsMessages, natsBytes } of rows) {
    const cpu = ['coordinator', 'nats', 'worker', 'meta'].map((name) => cpuMicros[name]!.toFixed(0));
    const cells = [k, vote, samplesPerSecond.toFixed(0), ...cpu, natsMessages.toFixed(1), natsBytes.toFixed(0)];
    console.log(`| ${cells.join(' | ')} |`);
  }
}

function cpuOf(pids: Readonly<Record<string, number>>): Readonly<Record<string, number>> {
  return Object.fromEntries(Object.entries(pids).map(([name, pid]) => [name, cpuSeconds(pid)]));
}

async function trafficOf(monitor: string): Promise<{ messages: number; bytes: number }> {
  const reply = await fetch(`${monitor}/varz`);
  const varz = (await reply.json()) as Record<'in_msgs' | 'out_msgs' | 'in_bytes' | 'out_bytes', number>;
  return { messages: varz.in_msgs + varz.out_msgs, bytes: varz.in_bytes + varz.out_bytes };
}

async function started(path: string, args: readonly string[]): Promise<{ pid: number; ready: unknown }> {
  const child = owned(fork(join(packageRoot, 'dist', path), args, { stdio: ['ignore', 'ignore', 'inherit', 'ipc'] }));
  children.push(child);
  const ready = await new Promise<unknown>((resolve, reject) => {
    child.once('message', resolve);
    child.once('exit', (code) => reject(new Error(`${path} ended with ${code} before it was ready`)));
    setTimeout(() => reject(new Error(`${path} was not ready within ${readyMs} ms`)), readyMs).unref();
  });
  return { pid: child.pid!, ready };
}

/** With its monitoring door open, which the cluster's own start leaves shut. */
async function startNats(): Promise<{ url: string; monitor: string; pid: number }> {
  const binary = findNatsServer('nats-server', environment()['PATH'] ?? '');
  if (binary === undefined) throw new Error(natsServerMissing);
  const [port, monitorPort] = await Promise.all([freePort(), freePort()]);
  const args = ['-js', '-sd', folder, '-a', '127.0.0.1', '-p', String(port), '-m', String(monitorPort)];
  const child = owned(spawn(binary, args, { stdio: 'ignore' }));
  children.push(child);
  const monitor = `http://127.0.0.1:${monitorPort}`;
  for (const giveUpAtMs = Date.now() + readyMs; Date.now() < giveUpAtMs; await sleep(50)) {
    const up = await fetch(`${monitor}/healthz`).then(
      ({ ok }) => ok,
      () => false,
    );
    if (up) return { url: `nats://127.0.0.1:${port}`, monitor, pid: child.pid! };
  }
  throw new Error(`nats-server was not ready within ${readyMs} ms`);
}

function freePort(): Promise<number> {
  return new Promise((resolve) => {
    const server = createServer().listen(0, '127.0.0.1', () => {
      const { port } = server.address() as AddressInfo;
      server.close(() => resolve(port));
    });
  });
}
