// Latency of one request, beside the two round trips that it cannot do without.

import { startBare } from '../bare.js';
import { startCluster } from '../cluster.js';
import { startEcho } from '../echo.js';
import { latenciesMs, quantile, type Measurement } from '../figure.js';
import { requestOf, taskBytes } from '../payload.js';

const times = 300;
const warmUps = 100;
const names = {
  p50: 'one k=1 request, p50',
  p99: 'one k=1 request, p99',
  echo: 'gRPC unary echo, p50',
  queue: 'bare JetStream round trip, p50',
} as const;

export const latency: Measurement = {
  name: 'latency',
  title: 'Latency of one request',
  words:
    `One k = 1 request at a time with an engine that takes no time, ${times} times. Ceiling: the same quantile of a gRPC unary echo of the same size ` +
    'plus that of one task through a bare JetStream work queue, in the same run.',
  notMeasured: ['latency under load', 'latency over a network'],
  usualSeconds: 10,
  budgetSeconds: 25,
  figures: [
    { name: names.p50, unit: 'ms', bar: { of: 'ratio', is: 'at most', limit: 3 } },
    { name: names.p99, unit: 'ms', bar: { of: 'ratio', is: 'at most', limit: 5 } },
    { name: names.echo, unit: 'ms' },
    { name: names.queue, unit: 'ms' },
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
    const measured = async (call: () => Promise<unknown>): Promise<readonly number[]> => {
      await latenciesMs(warmUps, call);
      return latenciesMs(times, call);
    };
    const request = await measured(calls.request);
    const echoes = await measured(calls.echo);
    const tasks = await measured(calls.queue);
    const ceiling = (share: number): number => quantile(echoes, share) + quantile(tasks, share);
    found(names.p50, quantile(request, 0.5), ceiling(0.5));
    found(names.p99, quantile(request, 0.99), ceiling(0.99));
    found(names.echo, quantile(echoes, 0.5));
    found(names.queue, quantile(tasks, 0.5));
  },
};
