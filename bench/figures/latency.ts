// Latency of one request, beside the two round trips that it cannot do without.

import { startBare } from '../bare.js';
import { startCluster } from '../cluster.js';
import { startEcho } from '../echo.js';
import { latenciesMs, quantile, type Measurement } from '../figure.js';
import { flow } from '../flow.js';
import { requestOf, taskBytes } from '../payload.js';

const times = 800;
const timesInARow = 300;
const warmUps = 1_000;
const warmUpSeconds = 3;
const names = {
  p50: 'one k=1 request, p50',
  p99: 'one k=1 request, p99',
  echo: 'gRPC unary echo, p50',
  queue: 'bare JetStream round trip, p50',
  row: 'one k=1 request, p50, each kind of call in a row',
} as const;

export const latency: Measurement = {
  name: 'latency',
  title: 'Latency of one request',
  words:
    `One k = 1 request with an engine that takes no time, then a gRPC unary echo of the same size, then one task through a bare JetStream work queue, and so on in ` +
    `turn, ${times} times, in processes that are warm. Ceiling: the quantile of the echoes plus that of the tasks. A call is slower where something else ran ` +
    'before it (caches, sleeping cores): calls that take turns have that in common. In a row, the short calls find everything as they left it: told, not judged.',
  notMeasured: ['latency under load', 'latency over a network'],
  usualSeconds: 14,
  budgetSeconds: 25,
  figures: [
    { name: names.p50, unit: 'ms', bar: { of: 'ratio', is: 'at most', limit: 3 } },
    { name: names.p99, unit: 'ms', bar: { of: 'ratio', is: 'at most', limit: 5 } },
    { name: names.echo, unit: 'ms' },
    { name: names.queue, unit: 'ms' },
    { name: names.row, unit: 'ms' },
  ],
  measure: async ({ profileDir, found }) => {
    await using cluster = await startCluster({ workers: 1, profileDir: profileDir && `${profileDir}/latency` });
    await using bare = await startBare(cluster.natsUrl);
    await using echo = await startEcho();
    const calls = {
      request: () => cluster.client.score(requestOf({ k: 1, vote: 'sum' })),
      echo: () => echo.call(taskBytes),
      queue: () => bare.roundTrip(),
    };
    await flow(cluster.client, 64, warmUpSeconds, { k: 1, vote: 'sum' });
    await latenciesMs(warmUps, calls.echo);
    await latenciesMs(warmUps, calls.queue);

    const taken = { request: [] as number[], echo: [] as number[], queue: [] as number[] };
    for (let time = 0; time < times; time++) {
      for (const kind of ['request', 'echo', 'queue'] as const)
        taken[kind].push(...(await latenciesMs(1, calls[kind])));
    }
    const p = (kind: keyof typeof taken, share: number): number => quantile(taken[kind], share);
    for (const all of Object.values(taken)) all.sort((a, b) => a - b);
    found(names.p50, p('request', 0.5), p('echo', 0.5) + p('queue', 0.5));
    found(names.p99, p('request', 0.99), p('echo', 0.99) + p('queue', 0.99));
    found(names.echo, p('echo', 0.5));
    found(names.queue, p('queue', 0.5));

    const rowOf = async (call: () => Promise<unknown>) => quantile(await latenciesMs(timesInARow, call), 0.5);
    found(names.row, await rowOf(calls.request), (await rowOf(calls.echo)) + (await rowOf(calls.queue)));
  },
};
