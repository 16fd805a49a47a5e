// Clocks that are wrong, on every side: no row is lost, and every door tells. What a process knows of the time of NATS: test/unit/queue.

import { expect, test } from 'vitest';
import type { GrmClient, ScoreRequest } from '../../src/rpc/client.js';
import { cliFolder } from '../support/cli.js';
import { clientOf, metric, once, page, startCluster, type ServiceProcess } from '../support/cluster.js';
import { until } from '../support/processes.js';
import { skewedClock } from '../support/skewed-clock.js';

const k = 4;
const second = 1_000;
const hour = 3_600 * second;
/** Shorter than any of the skews. */
const timeBudgetMs = 25 * second;

const rows = (name: string, many: number): ScoreRequest[] =>
  Array.from({ length: many }, (_, at) => ({
    query: `Which answer to ${name} ${at} is better?`,
    responses: [`An answer of quality=8 to ${at}.`, `Another, quality=3, to ${at}.`],
    k,
    meta: true,
    vote: 'meta_topk' as const,
    timeBudgetMs,
  }));

async function allValid(client: GrmClient, requests: readonly ScoreRequest[]): Promise<void> {
  const verdicts = await Promise.all(requests.map((request) => client.score(request, { deadlineMs: 120_000 })));
  for (const verdict of verdicts) {
    expect(verdict).toMatchObject({ kind: 'valid', best: 0, kValid: k, degraded: [] });
    // How long a sample waited is the difference of two processes' readings.
    for (const { sample } of verdict.samples) expect(sample.queueMs).toBeLessThan(timeBudgetMs);
  }
}

const expired = async (...workers: readonly ServiceProcess[]): Promise<number> => {
  const counts = workers.map((worker) => metric(worker, 'grm_deliveries_dropped_total', { why: 'expired' }));
  return (await Promise.all(counts)).reduce((sum, count) => sum + count, 0);
};

test('P1: workers 30 s ahead and behind, a meta worker an hour ahead, a coordinator an hour behind, a client an hour ahead: no row is lost, and all doors tell the clocks', async () => {
  await using cluster = await startCluster();
  await using ahead = await skewedClock(30 * second);
  await using behind = await skewedClock(-30 * second);
  await using farAhead = await skewedClock(hour);
  await using farBehind = await skewedClock(-hour);
  const [coordinator, fast, slow, meta] = await Promise.all([
    cluster.start('coordinator', farBehind.env),
    cluster.start('grm-worker', ahead.env),
    cluster.start('grm-worker', behind.env),
    cluster.start('meta-worker', farAhead.env),
  ]);
  using client = clientOf(coordinator);
  await cluster.serving(client, 2, 1);

  await allValid(client, rows('skewed', 40));
  expect(await expired(fast, slow, meta)).toBe(0);

  const { nodes, nowMs } = await client.status();
  expect(Math.abs(nowMs - Date.now())).toBeLessThan(10 * second);
  const skews: [ServiceProcess, number][] = [
    [coordinator, -hour],
    [fast, 30 * second],
    [slow, -30 * second],
    [meta, hour],
  ];
  for (const [service, skewMs] of skews) {
    const node = nodes.find(({ id }) => id === service.node);
    expect(Math.abs((node?.clockSkewMs ?? NaN) - skewMs)).toBeLessThan(5 * second);
    expect(node).toMatchObject({ refuses: '', expired: 0 });
    expect(Math.abs(nowMs - (node?.startedAtMs ?? NaN))).toBeLessThan(240 * second);
    expect(Math.abs((await metric(service, 'grm_clock_skew_seconds')) * second - skewMs)).toBeLessThan(5 * second);
    expect(service.log()).toMatch(/"level":"warn".*clock: this machine's is .* (ahead of|behind) NATS's/);
  }

  // The command line is as wrong as any machine.
  await using cli = await cliFolder({
    ...farAhead.env,
    GRM_ADDRESS: coordinator.grpc,
    GRM_NATS__SERVERS: JSON.stringify([cluster.nats.url]),
  });
  const status = await cli.run(['status']);
  expect(status.out).toMatch(/\+30\.\d s/);
  expect(status.out).toMatch(/-3600\.\d s/);
  const doctor = await cli.run(['doctor', '--json']);
  expect(doctor.out).toContain(`${fast.node} is 30.`);
  expect(doctor.out).toContain(`${coordinator.node} is 60.0 min behind NATS`);
  expect(doctor.out).toContain('this machine is 60.0 min ahead of NATS');
  const lines = rows('command line', 3).map(({ query, responses }, id) => JSON.stringify({ id, query, responses }));
  const scored = await cli.run(['score', '-', '--k', '2', '--deadline', '60'], `${lines.join('\n')}\n`);
  expect(scored).toMatchObject({ code: 0 });
  expect(
    scored.out
      .trim()
      .split('\n')
      .map((line) => JSON.parse(line) as unknown),
  ).toHaveLength(3);
  expect(scored.out).not.toContain('"rewards":null');
}, 240_000);

test('P1: clocks that are set ten minutes forward and back while requests run lose nothing', async () => {
  await using cluster = await startCluster({ instant: false, stepBaseMs: 4 });
  await using clocks = await skewedClock(0);
  const coordinator = await cluster.start('coordinator', clocks.env);
  const worker = await cluster.start('grm-worker', clocks.env);
  const meta = await cluster.start('meta-worker', clocks.env);
  using client = clientOf(coordinator);
  await cluster.serving(client, 1, 1);
  for (const [name, skewMs] of [
    ['forward', 600 * second],
    ['back', -600 * second],
  ] as const) {
    const verdicts = allValid(client, rows(name, 12));
    await until(async () => (await metric(worker, 'grm_slots', { state: 'busy' })) > 0, 'samples are drawn');
    await clocks.set(skewMs, coordinator, worker, meta);
    await verdicts;
    await until(
      async () => Math.abs((await metric(worker, 'grm_clock_skew_seconds')) - skewMs / second) < 5,
      'the skew is told',
    );
  }
  expect(await expired(worker, meta)).toBe(0);
}, 240_000);

test('a machine whose clock is off by more than the bound takes no work and says why, until it is set', async () => {
  await using cluster = await startCluster({}, { GRM_NATS__CLOCK_SKEW_MS_MAX: String(60 * second) });
  await using farAhead = await skewedClock(hour);
  await using farBehind = await skewedClock(-hour);
  const coordinator = await cluster.start('coordinator');
  const wrong = await cluster.start('grm-worker', farAhead.env);
  const right = await cluster.start('grm-worker');
  using client = clientOf(coordinator);
  await cluster.serving(client, 2, 0);
  const naive = (name: string) => rows(name, 10).map((row) => ({ ...row, meta: false, vote: 'sum' as const }));

  const words = /this machine's clock is 60\.0 min ahead of NATS's, and more than 60\.0 s is not worked with/;
  await allValid(client, naive('one is wrong'));
  const nodeOf = async ({ node }: ServiceProcess) => (await client.status()).nodes.find(({ id }) => id === node);
  expect(await nodeOf(wrong)).toMatchObject({ done: 0, refuses: expect.stringMatching(words) as string });
  expect(await metric(right, 'grm_samples_total')).toBe(10 * k);
  expect(await page(wrong, '/readyz')).toMatchObject({ status: 503, body: expect.stringMatching(words) as string });
  expect(wrong.log()).toMatch(words);
  const env = { GRM_NATS__SERVERS: JSON.stringify([cluster.nats.url]) };
  {
    await using cli = await cliFolder({ ...env, GRM_ADDRESS: coordinator.grpc });
    expect((await cli.run(['status'])).out).toMatch(words);
    const doctor = await cli.run(['doctor']);
    expect(doctor.out).toMatch(/FAILED {3}clocks/);
    expect(doctor.code).not.toBe(0);
  }

  // A coordinator refuses, and another takes what it refuses.
  const refusing = await cluster.start('coordinator', farBehind.env);
  using refused = clientOf(refusing, once);
  await expect(refused.score(naive('refused')[0]!)).rejects.toMatchObject({
    fault: { kind: 'clock_off', message: expect.stringMatching(/60\.0 min behind NATS's/) as string },
  });
  expect(await page(refusing, '/readyz')).toMatchObject({ status: 503 });
  expect(await metric(refusing, 'grm_admission_rejected_total', { reason: 'clock' })).toBe(1);

  // Set right, both work.
  await farAhead.set(0, wrong);
  await farBehind.set(0, refusing);
  await until(async () => (await page(wrong, '/readyz')).status === 200, 'the worker takes work');
  await until(async () => (await page(refusing, '/readyz')).status === 200, 'the coordinator takes requests');
  right.kill('SIGTERM');
  await right.ended;
  await allValid(client, naive('set right'));
  await allValid(refused, naive('set right, elsewhere'));
}, 240_000);
