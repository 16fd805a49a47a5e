// Overload (promise P4) on real processes: more is offered than there is capacity for. Counts are judged, and no times.

import { expect, test } from 'vitest';
import { flood, type FlowTally } from '../../bench/flood.js';
import { residentBytes } from '../../bench/proc.js';
import { clientOf, metric, quiet, startCluster, type ServiceProcess } from '../support/cluster.js';
import { limitMemory } from '../support/memory-limit.js';

/** Sixteen samples at once, each a tenth of a second: 40 requests a second of four samples. */
const slots = 16;
const k = 4;
const request = { k, vote: 'sum', detail: 'rewards' } as const;
const offeredPerSecond = 400;
const requestsMax = 60;
const growthMax = 96 * 2 ** 20;

const coordinatorEnv = {
  GRM_COORDINATOR__REQUESTS_IN_FLIGHT_MAX: String(requestsMax),
  // A quarter more than the slots: what waits in the work queue goes by class, and not by weight.
  GRM_COORDINATOR__DISPATCH_SAMPLES_MAX: String(slots * 1.25),
  GRM_COORDINATOR__WEIGHTS__TENANT: JSON.stringify({ heavy: 3 }),
  // It dies of a heap that grows with what is offered.
  NODE_OPTIONS: '--max-old-space-size=96',
};

async function crowded(delayMs: number) {
  const cluster = await startCluster({
    maxNumSeqs: slots,
    faults: [{ kind: 'slow', probability: 1, delayMs }],
  });
  const coordinator = await cluster.start('coordinator', coordinatorEnv);
  const worker = await cluster.start('grm-worker');
  const client = clientOf(coordinator);
  await cluster.serving(client, 1, 0);
  return { cluster, coordinator, worker, client };
}

const sum = (tallies: readonly FlowTally[], of: 'offered' | 'answered' | 'counted' | 'shed'): number =>
  tallies.reduce((total, each) => total + each[of], 0);

async function accepted(coordinator: ServiceProcess): Promise<number> {
  return metric(coordinator, 'grm_requests_total', { outcome: 'valid' });
}

test('P4: ten times the capacity: what is accepted is answered, the rest is told when to come again, memory stays, flows get their weights', async () => {
  const { cluster, coordinator, worker, client } = await crowded(100);
  await using _cluster = cluster;
  using _client = client;
  // Two tenants of one class, three to one, and a class of a quarter of the weight.
  const flows = [
    { tenant: 'heavy', class: 'rl', perSecond: offeredPerSecond / 4 },
    { tenant: 'light', class: 'rl', perSecond: offeredPerSecond / 2 },
    { tenant: 'light', class: 'batch', perSecond: offeredPerSecond / 4 },
  ] as const;
  const pids = [coordinator.pid, worker.pid];
  const plan = { address: coordinator.grpc, flows, request, secondsMax: 200, pids };
  const warm = await flood({ ...plan, skipped: 0, counted: 20 });
  const before = pids.map(residentBytes);
  // From here on the kernel ends what grows by more, where it lets itself be asked to.
  using limit = limitMemory(coordinator.pid, growthMax);
  const { tallies, residentBytesMax } = await flood({ ...plan, skipped: requestsMax, counted: 120 });

  expect([...warm.tallies, ...tallies].flatMap(({ odd }) => odd)).toEqual([]);
  expect(sum(tallies, 'answered') + sum(tallies, 'shed')).toBe(sum(tallies, 'offered'));
  expect(sum(tallies, 'shed')).toBeGreaterThan(sum(tallies, 'answered'));
  // As the coordinator counts it.
  expect(await accepted(coordinator)).toBe(sum(warm.tallies, 'answered') + sum(tallies, 'answered'));
  expect(await metric(coordinator, 'grm_admission_rejected_total')).toBe(
    sum(warm.tallies, 'shed') + sum(tallies, 'shed'),
  );
  residentBytesMax.forEach((most, at) => expect(most - before[at]!).toBeLessThan(growthMax));
  expect(limit?.kills() ?? 0).toBe(0);

  // Twelve, four and one of seventeen.
  const [heavy, light, batch] = tallies.map(({ counted }) => counted / sum(tallies, 'counted'));
  expect(heavy! / (heavy! + light!)).toBeGreaterThan(0.6);
  expect(heavy! / (heavy! + light!)).toBeLessThan(0.88);
  expect(batch!).toBeGreaterThan(0.01);
  expect(batch!).toBeLessThan(0.15);
  await quiet(client);
}, 480_000);

test('P4: callers who come again after the delay that they are told all get their verdict', async () => {
  const { cluster, coordinator, client } = await crowded(50);
  await using _cluster = cluster;
  using _client = client;
  const asks = Array.from({ length: 3 * requestsMax }, (_, at) =>
    client.score(
      { query: `Question ${at}`, responses: ['quality=3', 'quality=8'], ...request },
      { deadlineMs: 240_000 },
    ),
  );
  const verdicts = await Promise.all(asks);
  expect(verdicts.filter(({ kind, kValid }) => kind === 'valid' && kValid === k)).toHaveLength(asks.length);
  expect(await metric(coordinator, 'grm_admission_rejected_total')).toBeGreaterThan(0);
}, 300_000);

test('rl goes before batch at the next pull: it does not wait behind what waits', async () => {
  const { cluster, client } = await crowded(400);
  await using _cluster = cluster;
  using _client = client;
  let done = 0;
  const one = (klass: 'rl' | 'batch', at: number) =>
    client.score({ query: `${klass} ${at}`, responses: ['quality=3', 'quality=8'], class: klass, ...request });
  // As many as batch alone may hold.
  const backlog = Array.from({ length: requestsMax / 2 }, (_, at) => one('batch', at).then(() => done++));
  await Promise.race(backlog);
  const before = done;
  const verdict = await one('rl', 0);
  const between = done - before;
  expect(verdict.kind).toBe('valid');
  // Those in hand when it came, those beside it, and some for the way.
  expect(between).toBeLessThanOrEqual((3 * slots) / k);
  await Promise.all(backlog);
  expect(done).toBe(requestsMax / 2);
  expect(done - before).toBeGreaterThan(between);
});
