// Latency of one request, beside the two round trips that it cannot do without.

import { startBare } from '../bare.js';
import { startCluster } from '../cluster.js';
import { startEcho } from '../echo.js';
import { figure, latenciesMs, quantile, type Measurement } from '../figure.js';
import { requestOf, taskBytes } from '../payload.js';

const times = 300;
const warmUps = 100;

export const latency: Measurement = {
  name: 'latency',
  title: 'Latency of one request',
  words:
    `One k = 1 request at a time with an engine that takes no time, ${times} times. Ceiling: the same quantile of a gRPC unary echo of the same size ` +
    'plus that of one task through a bare JetStream work queue, in the same run.',
  notMeasured: ['latency under load', 'latency over a network'],
  measure: async ({ profileDir }) => {
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
    return [
      figure('one k=1 request, p50', quantile(request, 0.5), 'ms', {
        ceiling: ceiling(0.5),
        bar: { of: 'ratio', is: 'at most', limit: 3 },
      }),
      figure('one k=1 request, p99', quantile(request, 0.99), 'ms', {
        ceiling: ceiling(0.99),
        bar: { of: 'ratio', is: 'at most', limit: 5 },
      }),
      figure('gRPC unary echo, p50', quantile(echoes, 0.5), 'ms'),
      figure('bare JetStream round trip, p50', quantile(tasks, 0.5), 'ms'),
    ];
  },
};
