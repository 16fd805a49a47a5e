// make bench: the request path through real processes on this machine, each figure beside a ceiling measured in the same run.
//
// Ceiling: the same samples drawn from the same fake engine by one client, without a cluster in between.
// Not measured: real engines, networks between machines, more than one coordinator, disks that are slower than this one.

import { fork } from 'node:child_process';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { parseArgs } from 'node:util';
import { startEmbedded } from '../src/cli/embedded.js';
import { openOpenAiEngine } from '../src/engine/openai.js';
import { resolveConfig } from '../src/process/config.js';
import { environment } from '../src/process/environment.js';
import { packageRoot } from '../src/process/version.js';
import { GrmClient, type ScoreRequest } from '../src/rpc/client.js';

const { values } = parseArgs({
  options: { seconds: { type: 'string', default: '8' }, json: { type: 'boolean', default: false } },
});
const seconds = Number(values.seconds);

interface Figure {
  readonly name: string;
  readonly value: number;
  readonly unit: string;
  readonly ceiling: number | null;
  readonly ratio: number | null;
}

const figures: Figure[] = [];
function figure(name: string, value: number, unit: string, ceiling?: number): void {
  figures.push({ name, value, unit, ceiling: ceiling ?? null, ratio: ceiling === undefined ? null : value / ceiling });
}

let serial = 0;
function request(options: Omit<Partial<ScoreRequest>, 'query'>): ScoreRequest & { readonly query: string } {
  const number = serial++;
  return {
    query: `bench ${number}: ${'word '.repeat(120)}`,
    responses: [`one quality=4 ${number}`, `two quality=7 ${number}`],
    detail: 'rewards',
    ...options,
  };
}

async function throughput(client: GrmClient, options: Omit<Partial<ScoreRequest>, 'query'>): Promise<number> {
  const endAtMs = Date.now() + seconds * 1_000;
  const source = function* (): Generator<ScoreRequest> {
    while (Date.now() < endAtMs) yield request(options);
  };
  const startedAtMs = Date.now();
  let samples = 0;
  for await (const result of client.scoreMany(source(), { concurrency: 128 })) {
    if (result.kind === 'fault') throw new Error(result.fault.message);
    samples += result.verdict.kValid;
  }
  return samples / ((Date.now() - startedAtMs) / 1_000);
}

async function direct(url: string): Promise<number> {
  const engine = await openOpenAiEngine({
    name: 'direct',
    baseUrl: url,
    mode: 'chat',
    slots: 64,
    requestTimeoutMs: 60_000,
  });
  const endAtMs = Date.now() + seconds * 1_000;
  const startedAtMs = Date.now();
  let samples = 0;
  const client = async (): Promise<void> => {
    while (Date.now() < endAtMs) {
      const { query, responses } = request({});
      const content = `${query}\n${responses.map((text, at) => `<<<response ${at + 1} bench>>>\n${text}\n<<<end of response ${at + 1} bench>>>`).join('\n')}`;
      const job = {
        messages: [{ role: 'user' as const, content }],
        temperature: 0.5,
        topP: 1,
        maxTokens: 1_024,
        deadlineAtMs: Date.now() + 60_000,
        priority: 0,
        requestId: 'bench',
      };
      await engine.draw(
        { ...job, samples: Array.from({ length: 8 }, (_, index) => ({ index, seed: index })) },
        () => samples++,
        new AbortController().signal,
      );
    }
  };
  await Promise.all(Array.from({ length: 16 }, client));
  await engine.close();
  return samples / ((Date.now() - startedAtMs) / 1_000);
}

async function latencies(times: number, call: () => Promise<unknown>): Promise<readonly number[]> {
  const taken: number[] = [];
  for (let i = 0; i < times; i++) {
    const startedAt = performance.now();
    await call();
    taken.push(performance.now() - startedAt);
  }
  return taken.sort((a, b) => a - b);
}
const at = (sorted: readonly number[], share: number): number => sorted[Math.floor(sorted.length * share)] ?? NaN;

const folder = await mkdtemp(join(tmpdir(), 'grm-bench-'));
const fake = fork(join(packageRoot, 'dist', 'services', 'fake-engine', 'main.js'), ['--port', '0', '--instant'], {
  silent: true,
});
const url = await new Promise<string>((resolve) =>
  fake.once('message', (message) => resolve((message as { url: string }).url)),
);
const set = [
  `up.data_dir=${folder}`,
  'grpc.listen=127.0.0.1:0',
  'http.listen=127.0.0.1:0',
  'log.level=warn',
  `worker.engines=${JSON.stringify([{ kind: 'openai', base_url: url, slots: 64 }])}`,
  `meta.engines=${JSON.stringify([{ kind: 'vllm_classify', base_url: url, slots: 64 }])}`,
];
const resolved = resolveConfig({ env: environment(), flags: { set } });
if (resolved.kind !== 'ok') throw new Error(resolved.problems.map((each) => `${each.key} ${each.message}`).join('\n'));
const cluster = await startEmbedded({
  config: resolved.config,
  configArgs: set.flatMap((each) => ['--set', each]),
  env: environment(),
  workers: 1,
  metaWorkers: 1,
  fake: false,
  stopping: new AbortController().signal,
  tell: () => undefined,
});
const client = GrmClient.connect({ address: cluster.grpcAddress });
try {
  for (let i = 0; i < 20; i++) await client.score(request({ k: 1 }));
  const ceiling = await direct(url);
  figure('engine driven directly', ceiling, 'samples/s');
  figure('through the cluster, k=8, vote sum', await throughput(client, { k: 8, vote: 'sum' }), 'samples/s', ceiling);
  figure(
    'through the cluster, k=8, vote meta_topk',
    await throughput(client, { k: 8, vote: 'meta_topk' }),
    'samples/s',
    ceiling,
  );
  const echo = await latencies(200, () => client.verdict('r'.padEnd(33, '0')));
  const one = await latencies(200, () => client.score(request({ k: 1, vote: 'sum' })));
  figure('one k=1 request, p50 (ceiling: gRPC call with one ledger read)', at(one, 0.5), 'ms', at(echo, 0.5));
  figure('one k=1 request, p99', at(one, 0.99), 'ms', at(echo, 0.99));
} finally {
  client.close();
  await cluster.close();
  fake.kill('SIGTERM');
  await rm(folder, { recursive: true, force: true });
}

if (values.json) process.stdout.write(`${JSON.stringify(figures, null, 2)}\n`);
else
  for (const { name, value, unit, ratio } of figures)
    process.stdout.write(
      `${value.toFixed(1).padStart(9)} ${unit.padEnd(10)} ${ratio === null ? '       ' : `x${ratio.toFixed(2).padEnd(6)}`} ${name}\n`,
    );
