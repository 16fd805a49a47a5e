// Overload: ten times what the cluster can do is offered.

import { startCluster, type BenchCluster } from '../cluster.js';
import { startFake } from '../fake-engine.js';
import { quantile, type Measurement, type Setting } from '../figure.js';
import { flood, type Flood, type FlowTally } from '../flood.js';
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
const flowNames = [
  'rl of a tenant of weight 3',
  'rl of a tenant of weight 1',
  'batch of a tenant of weight 1',
] as const;
const names = {
  answered: 'requests answered under overload',
  offered: 'calls offered',
  shed: 'calls shed with RESOURCE_EXHAUSTED and a retry delay',
  odd: 'calls with any other end than a whole verdict',
  p50: 'p50 of answered calls',
  p99: 'p99 of answered calls',
  held: 'p99 of the same calls from admission on',
  share: (flow: string): string => `share of ${flow}`,
  memory: (who: string): string => `memory of the ${who} at its most`,
} as const;
const watched = ['coordinator', 'worker'] as const;
const timesOffered = 10;
const MiB = 2 ** 20;

export const overload: Measurement = {
  name: 'overload',
  title: 'Overload',
  words:
    `One fake engine of ${slots} sequences that takes ${sampleMs} ms a sample, k = ${k}, at most ${requestsMax} requests held. Three flows offer ${timesOffered} times ` +
    'what a steady flow that the cluster just keeps up with gets through, whatever becomes of the calls before, and try nothing again. Beside the ' +
    'rate stands that steady rate, beside a share its weight, beside a latency (of calls that came once every flow held its part) what the requests ' +
    'that may be held take at the rate, beside memory what the process had before.',
  notMeasured: ['overload of several coordinators at once, and by callers that are slow to read'],
  usualSeconds: 38,
  budgetSeconds: 55,
  figures: [
    { name: names.answered, unit: '1/s', bar: { of: 'ratio', is: 'at least', limit: 0.9 } },
    { name: names.offered, unit: '' },
    { name: names.shed, unit: '' },
    { name: names.odd, unit: '', bar: { of: 'value', is: 'at most', limit: 0 } },
    { name: names.p50, unit: 'ms' },
    { name: names.p99, unit: 'ms', bar: { of: 'ratio', is: 'at most', limit: 2 } },
    { name: names.held, unit: 'ms' },
    ...flowNames.map((flow) => ({
      name: names.share(flow),
      unit: '',
      bar: { of: 'ratio', is: 'at least', limit: 0.75 } as const,
    })),
    ...watched.map((who) => ({
      name: names.memory(who),
      unit: 'MiB',
      bar: { of: 'ratio', is: 'at most', limit: 1.5 } as const,
    })),
  ],
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
    await measured(cluster, setting);
  },
};

async function measured(cluster: BenchCluster, { seconds, tell, found }: Setting): Promise<void> {
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
  tellOutcomes(ran, steady, found);
  tellShares(ran, found);
  ran.residentBytesMax.forEach((most, at) => found(names.memory(watched[at]!), most / MiB, before[at]! / MiB));
}

type Found = Setting['found'];

function tellOutcomes({ tallies, perSecond }: Flood, steady: number, found: Found): void {
  const sum = (of: 'offered' | 'answered' | 'shed'): number => tallies.reduce((total, each) => total + each[of], 0);
  const odd = sum('offered') - sum('answered') - sum('shed');
  const sorted = (of: (tally: FlowTally) => readonly number[]): readonly number[] =>
    tallies.flatMap(of).sort((a, b) => a - b);
  const latenciesMs = sorted((each) => each.latenciesMs);
  const heldMs = (requestsMax / perSecond) * 1_000;
  found(names.answered, perSecond, steady);
  found(names.offered, sum('offered'));
  found(names.shed, sum('shed'));
  found(names.odd, odd);
  found(names.p50, quantile(latenciesMs, 0.5), heldMs);
  found(names.p99, quantile(latenciesMs, 0.99), heldMs);
  found(
    names.held,
    quantile(
      sorted((each) => each.heldMs),
      0.99,
    ),
    heldMs,
  );
}

function tellShares({ tallies }: Flood, found: Found): void {
  const all = tallies.reduce((total, { counted }) => total + counted, 0);
  const weightOfAll = weights.reduce<number>((total, each) => total + each, 0);
  tallies.forEach(({ counted }, at) => found(names.share(flowNames[at]!), counted / all, weights[at]! / weightOfAll));
}
