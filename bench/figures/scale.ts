// Scale: what one sample costs, and what one request holds, when many are in flight.

import { setTimeout as sleep } from 'node:timers/promises';
import { startCluster, type BenchCluster } from '../cluster.js';
import type { Measurement } from '../figure.js';
import { flow } from '../flow.js';
import { payloadBytes } from '../payload.js';
import { cpuPerThousand, residentBytes } from '../proc.js';

const k = 8;
const fewRequests = 100;
const manyRequests = 10_000;
const heldRequests = 2_048;
/** Of a held request, beyond three times its payload. */
const heldBytesMax = 64 * 1_024;
/** Until all are held; longer than a busy machine takes. */
const heldMs = 60_000;
const settleMs = 2_000;
const lookEveryMs = 200;
const names = {
  cpu: `CPU per 1,000 samples, ${manyRequests} requests in flight`,
  memory: 'coordinator memory per request in flight',
} as const;
/** Bounds that are not what is measured. */
const set = ['coordinator.samples_in_flight_max=100000', 'coordinator.requests_in_flight_max=20000'];

export const scale: Measurement = {
  name: 'scale',
  title: 'Many requests in flight',
  words:
    `CPU of all processes per sample with ${manyRequests} requests in flight, engines that take no time. Ceiling: the same with ${fewRequests}. And how much the ` +
    `coordinator grows (resident memory, garbage included) per request while ${heldRequests} requests wait for a worker that never comes.`,
  notMeasured: ['memory over hours'],
  usualSeconds: 48,
  budgetSeconds: 70,
  figures: [
    { name: names.memory, unit: 'bytes', bar: { of: 'value', is: 'at most', limit: 3 * payloadBytes + heldBytesMax } },
    { name: names.cpu, unit: 'ms', bar: { of: 'ratio', is: 'at most', limit: 1.2 } },
  ],
  measure: async ({ seconds, profileDir, found }) => {
    found(names.memory, await held());
    await using busy = await startCluster({ workers: 1, set, profileDir: profileDir && `${profileDir}/scale` });
    await flow(busy.client, 256, seconds / 2, { k, vote: 'sum' });
    const few = await cost(busy, fewRequests, seconds);
    found(names.cpu, await cost(busy, manyRequests, seconds), few);
  },
};

/** Bytes by which the coordinator grows per request that it holds. */
async function held(): Promise<number> {
  await using cluster = await startCluster({ workers: 0, set: [...set, 'coordinator.drain_grace_ms=0'] });
  const over = new AbortController();
  const { coordinator } = cluster.pids;
  await grown(cluster, 64, over.signal);
  const before = residentBytes(coordinator);
  await grown(cluster, heldRequests, over.signal);
  const perRequest = (residentBytes(coordinator) - before) / heldRequests;
  over.abort();
  return perRequest;
}

async function cost(cluster: BenchCluster, requests: number, seconds: number): Promise<number> {
  const { coordinator, workers, nats } = cluster.pids;
  const { all } = await cpuPerThousand({ all: [process.pid, coordinator, ...workers, nats] }, () =>
    flow(cluster.client, requests, seconds, { k, vote: 'sum' }),
  );
  return all ?? NaN;
}

/** So many more requests wait at the coordinator, until `over`. */
async function grown({ client }: BenchCluster, requests: number, over: AbortSignal): Promise<void> {
  const wanted = (await client.status()).requestsInFlight + requests;
  flow(client, requests, Infinity, { k, vote: 'sum' }, { cancel: over }).catch(() => undefined);
  const giveUpAt = performance.now() + heldMs;
  while ((await client.status()).requestsInFlight < wanted) {
    if (performance.now() > giveUpAt) throw new Error(`not ${wanted} requests held within ${heldMs / 1_000} s`);
    await sleep(lookEveryMs);
  }
  await sleep(settleMs);
}
