// Overload: ten times what the cluster can do is offered.

import { startCluster, type BenchCluster } from '../cluster.js';
import { startFake } from '../fake-engine.js';
import { figure, quantile, type Figure, type Measurement, type Setting } from '../figure.js';
import { flood, type Flood } from '../flood.js';
import { flow } from '../flow.js';
import { residentBytes } from '../proc.js';

/** Samples at once, each of so long: 40 requests a second of four samples. */
const slots = 16;
const sampleMs = 100;
const k = 4;
const request = { k, vote: 'sum', detail: 'rewards' } as const;
/** A coordinator holds so many requests. */
const requestsMax = 60;
/** In the proportion of what they may hold when all flood: class by tenant. */
const weights = [12, 4, 1] as const;
const names = ['rl of a tenant of weight 3', 'rl of a tenant of weight 1', 'batch of a tenant of weight 1'] as const;
const timesOffered = 10;
const MiB = 2 ** 20;

export const overload: Measurement = {
  name: 'overload',
  title: 'Overload',
  words:
    `One fake engine of ${slots} sequences that takes ${sampleMs} ms a sample, k = ${k}, at most ${requestsMax} requests held. Three flows offer ${timesOffered} times ` +
    'what a steady flow that the cluster just keeps up with gets through, whatever becomes of the calls before, and try nothing again. Beside the ' +
    'rate stands that steady rate, beside a share its weight, beside a latency what the requests that may be held take at the rate, beside memory ' +
    'what the process had before.',
  notMeasured: ['overload of several coordinators at once, and by callers that are slow to read'],
  measure: async (setting) => {
    await using engine = await startFake([
      '--max-num-seqs',
      String(slots),
      '--instant',
      '--fault',
      `slow:1,delayMs=${sampleMs}`,
    ]);
    await using cluster = await startCluster({
      workers: 1,
      engines: () => [{ kind: 'openai', base_url: engine.url, slots }],
      set: [
        `coordinator.requests_in_flight_max=${requestsMax}`,
        `coordinator.dispatch_samples_max=${slots * 1.25}`,
        'coordinator.weights.tenant={"heavy":3}',
      ],
    });
    return await measured(cluster, setting);
  },
};

async function measured(cluster: BenchCluster, { seconds, tell }: Setting): Promise<Figure[]> {
  // Twice what the slots hold, so that something always waits.
  const inFlight = (2 * slots) / k;
  await flow(cluster.client, inFlight, seconds / 2, request);
  const steady = (await flow(cluster.client, inFlight, seconds, request)).perSecond / k;
  tell(`${steady.toFixed(1)} requests a second, ${(timesOffered * steady).toFixed(0)} are offered`);
  const pids = [cluster.pids.coordinator, ...cluster.pids.workers];
  const before = pids.map(residentBytes);
  const offered = (timesOffered * steady) / 4;
  const ran = await flood({
    address: cluster.address,
    flows: [
      { tenant: 'heavy', class: 'rl', perSecond: offered },
      { tenant: 'light', class: 'rl', perSecond: 2 * offered },
      { tenant: 'light', class: 'batch', perSecond: offered },
    ],
    request,
    skipped: requestsMax,
    counted: Math.ceil(steady * seconds * 2),
    secondsMax: seconds * 10,
    pids,
  });
  return [...outcomes(ran, steady), ...shares(ran), ...memory(ran, before)];
}

function outcomes({ tallies, perSecond }: Flood, steady: number): Figure[] {
  const sum = (of: 'offered' | 'answered' | 'shed'): number => tallies.reduce((total, each) => total + each[of], 0);
  const odd = sum('offered') - sum('answered') - sum('shed');
  const latenciesMs = tallies.flatMap((each) => each.latenciesMs).sort((a, b) => a - b);
  const heldMs = (requestsMax / perSecond) * 1_000;
  return [
    figure('requests answered under overload', perSecond, '1/s', {
      ceiling: steady,
      bar: { of: 'ratio', is: 'at least', limit: 0.9 },
    }),
    figure('calls offered', sum('offered'), ''),
    figure('calls shed with RESOURCE_EXHAUSTED and a retry delay', sum('shed'), ''),
    figure('calls with any other end than a whole verdict', odd, '', { bar: { of: 'value', is: 'at most', limit: 0 } }),
    figure('p50 of answered calls', quantile(latenciesMs, 0.5), 'ms', { ceiling: heldMs }),
    figure('p99 of answered calls', quantile(latenciesMs, 0.99), 'ms', {
      ceiling: heldMs,
      bar: { of: 'ratio', is: 'at most', limit: 2 },
    }),
  ];
}

function shares({ tallies }: Flood): Figure[] {
  const all = tallies.reduce((total, { counted }) => total + counted, 0);
  const weightOfAll = weights.reduce<number>((total, each) => total + each, 0);
  return tallies.map(({ counted }, at) =>
    figure(`share of ${names[at]}`, counted / all, '', {
      ceiling: weights[at]! / weightOfAll,
      bar: { of: 'ratio', is: 'at least', limit: 0.75 },
    }),
  );
}

function memory({ residentBytesMax }: Flood, before: readonly number[]): Figure[] {
  return residentBytesMax.map((most, at) =>
    figure(`memory of the ${at === 0 ? 'coordinator' : 'worker'} at its most`, most / MiB, 'MiB', {
      ceiling: before[at]! / MiB,
      bar: { of: 'ratio', is: 'at most', limit: 1.5 },
    }),
  );
}
