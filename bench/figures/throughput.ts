// Throughput of the whole path, beside a bare task loop that carries the same payload.

import type { VoteMethod } from '../../src/rpc/client.js';
import { startBare, type BareLoop } from '../bare.js';
import { startCluster } from '../cluster.js';
import { figure, type Figure, type Measurement, type Setting } from '../figure.js';
import { flow } from '../flow.js';
import { cpuPerThousand } from '../proc.js';

const k = 8;
const inFlight = 256;
const bareInFlight = 1_024;

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
  measure: async (setting) => [
    ...(await path('naive', 'sum', 0, 0.7, setting)),
    ...(await path('meta', 'meta_topk', 1, 0.4, setting)),
  ],
};

async function path(
  name: string,
  vote: VoteMethod,
  metaWorkers: number,
  limit: number,
  { seconds, profileDir }: Setting,
): Promise<Figure[]> {
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
  return [
    figure(`${name} voting: samples through the whole path`, perSecond, '1/s', {
      ceiling,
      bar: { of: 'ratio', is: 'at least', limit },
    }),
    figure(`${name} voting: CPU per 1,000 samples, all processes`, allCpu, 'ms', { ceiling: bareCpu }),
    ...Object.entries(cpu).map(([who, ms]) => figure(`${name} voting: CPU per 1,000 samples, ${who}`, ms, 'ms')),
  ];
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
