// Throughput of the whole path, beside a bare task loop that carries the same payload.

import type { VoteMethod } from '../../src/rpc/client.js';
import { startBare, type BareLoop } from '../bare.js';
import { startCluster } from '../cluster.js';
import type { FigurePlan, Measurement, Setting } from '../figure.js';
import { flow } from '../flow.js';
import { cpuPerThousand } from '../proc.js';

const k = 8;
const inFlight = 256;
const bareInFlight = 1_024;

interface Path {
  readonly name: string;
  readonly vote: VoteMethod;
  readonly metaWorkers: number;
  /** Of the bare loop's rate. */
  readonly ratioMin: number;
  readonly processes: readonly string[];
}

const naive: Path = {
  name: 'naive',
  vote: 'sum',
  metaWorkers: 0,
  ratioMin: 0.7,
  processes: ['client', 'coordinator', 'worker', 'nats-server'],
};
const meta: Path = {
  name: 'meta',
  vote: 'meta_topk',
  metaWorkers: 1,
  ratioMin: 0.4,
  processes: ['client', 'coordinator', 'worker', 'meta worker', 'nats-server'],
};
const all = 'all processes';
const rateName = ({ name }: Path): string => `${name} voting: samples through the whole path`;
const cpuName = ({ name }: Path, who: string): string => `${name} voting: CPU per 1,000 samples, ${who}`;

function figuresOf(path: Path): FigurePlan[] {
  return [
    { name: rateName(path), unit: '1/s', bar: { of: 'ratio', is: 'at least', limit: path.ratioMin } },
    ...[all, ...path.processes].map((who) => ({ name: cpuName(path, who), unit: 'ms' })),
  ];
}

export const throughput: Measurement = {
  name: 'throughput',
  title: 'Throughput of the whole path',
  words:
    `Samples from gRPC streams through coordinator, JetStream and worker and back, k = ${k}, ${inFlight} requests in flight, engines that take no ` +
    'time, every request and sample stored on file. Ceiling: a bare work-queue loop with the same payload, one task per sample, on the same ' +
    'server before and after. The CPU figures are what processes spend on 1,000 samples; a busy machine moves them less than it moves rates.',
  notMeasured: [
    'throughput with more than one coordinator or nats-server, over a network, on slower disks, with replicated streams',
  ],
  usualSeconds: 50,
  budgetSeconds: 75,
  figures: [...figuresOf(naive), ...figuresOf(meta)],
  measure: async (setting) => {
    await measured(naive, setting);
    await measured(meta, setting);
  },
};

async function measured(path: Path, { seconds, profileDir, found }: Setting): Promise<void> {
  const { name, vote, metaWorkers } = path;
  await using cluster = await startCluster({
    workers: 1,
    metaWorkers,
    profileDir: profileDir && `${profileDir}/${name}`,
  });
  await using bare = await startBare(cluster.natsUrl);
  const { coordinator, workers, metas, nats } = cluster.pids;
  const pids = {
    client: [process.pid],
    coordinator: [coordinator],
    worker: workers,
    ...(metaWorkers > 0 && { 'meta worker': metas }),
    'nats-server': [nats],
  };
  // Until the compilers have seen the hot path.
  await flow(cluster.client, inFlight, seconds / 2, { k, vote });
  await bare.rate(bareInFlight, seconds / 8);
  const before = await bareRate(bare, nats, seconds / 2);
  let perSecond = 0;
  const cpu = await cpuPerThousand(pids, async () => {
    const run = await flow(cluster.client, inFlight, seconds, { k, vote });
    perSecond = run.perSecond;
    return run;
  });
  const after = await bareRate(bare, nats, seconds / 2);
  const ceiling = (before.perSecond + after.perSecond) / 2;
  const bareCpu = (before.cpuMs + after.cpuMs) / 2;
  const allCpu = Object.values(cpu).reduce((sum, each) => sum + each, 0);
  found(rateName(path), perSecond, ceiling);
  found(cpuName(path, all), allCpu, bareCpu);
  for (const [who, ms] of Object.entries(cpu)) found(cpuName(path, who), ms);
}

async function bareRate(
  bare: BareLoop,
  nats: number,
  seconds: number,
): Promise<{ readonly perSecond: number; readonly cpuMs: number }> {
  let perSecond = 0;
  const { all } = await cpuPerThousand({ all: [process.pid, bare.pids.worker, nats] }, async () => {
    const run = await bare.rate(bareInFlight, seconds);
    perSecond = run.perSecond;
    return run;
  });
  return { perSecond, cpuMs: all ?? NaN };
}
