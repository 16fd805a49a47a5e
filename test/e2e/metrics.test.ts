// What an operator looks at: metrics, health, readiness and state of every process, under load and while NATS is away.

import { expect, test } from 'vitest';
import type { MetricRow } from '../../src/observe/metric-row.js';
import { metricTable, type MetricName } from '../../src/observe/metric-table.js';
import type { ScoreRequest } from '../../src/rpc/client.js';
import { clientOf, metric, once, page, quiet, settled, startCluster, type ServiceProcess } from '../support/cluster.js';
import { until } from '../support/processes.js';

/** Stands in every text of every request: it may be nowhere else. */
const secretText = 'ZANZIBAR-4711';
/** Stands in every critique of the fake engine. */
const critiqueText = 'This critique was written';
const requests = 40;
const k = 4;

function request(number: number): ScoreRequest {
  return {
    query: [
      { role: 'system', content: `${secretText} of the system` },
      { role: 'user', content: `${secretText}: question ${number}` },
    ],
    responses: [`${secretText} quality=8`, `${secretText} quality=3`],
    reference: `${secretText} as reference`,
    principles: [`${secretText} as principle`],
    idempotencyKey: `${secretText}-${number}`,
    tenant: 'observed',
    class: number % 2 === 0 ? 'interactive' : 'batch',
    k,
  };
}

async function readiness(service: ServiceProcess): Promise<{ status: number; reasons: string[] }> {
  const { status, body } = await page(service, '/readyz');
  return { status, reasons: (JSON.parse(body) as { reasons: string[] }).reasons };
}

test('every process tells what it does: all metrics of the table, true counts, readiness that follows NATS, and no text of a request', async () => {
  await using cluster = await startCluster({}, { GRM_LOG__LEVEL: 'debug' });
  cluster.engine.setFaults([
    { kind: 'slow', probability: 0.5, delayMs: 200 },
    // In this order: a probe that a cut brings about may be cut as well, and takes no garbage.
    { kind: 'garbage', next: 2, on: 'generate' },
    { kind: 'cut', next: 3, on: 'generate' },
  ]);
  const coordinator = await cluster.start('coordinator');
  const worker = await cluster.start('grm-worker');
  const metaWorker = await cluster.start('meta-worker');
  const all = [coordinator, worker, metaWorker];
  using client = clientOf(coordinator);
  await cluster.serving(client, 1, 1);

  // Scraped while it works, as Prometheus would.
  let working = true;
  let scrapes = 0;
  const scraping = (async () => {
    while (working) {
      for (const service of all) {
        for (const path of ['/metrics', '/healthz', '/readyz', '/debug/state']) {
          const { status, body } = await page(service, path);
          expect(status, `${service.role} ${path}`).toBe(200);
          expect(body.includes(secretText), `${service.role} ${path}`).toBe(false);
          expect(body.includes(critiqueText), `${service.role} ${path}`).toBe(false);
          if (path === '/debug/state') expect(JSON.parse(body)).toMatchObject({ node: { role: service.role } });
        }
      }
      scrapes++;
    }
  })();
  const list = Array.from({ length: requests }, (_, number) => request(number));
  for await (const result of client.scoreMany(list, { concurrency: 20, deadlineMs: 120_000 })) {
    expect(result.kind === 'fault' ? result.fault : result.verdict).toMatchObject({ kind: 'valid' });
  }
  working = false;
  await scraping;
  expect(scrapes).toBeGreaterThan(0);
  await quiet(client);

  for (const service of all) {
    const { body } = await page(service, '/metrics');
    for (const name of Object.keys(metricTable) as MetricName[]) {
      const row: MetricRow = metricTable[name];
      const isOurs = row.roles.some((role) => role === service.role);
      expect(body.includes(`# TYPE ${name} ${row.type}\n`), `${name} at ${service.role}`).toBe(isOurs);
    }
    expect(/^grm_nodejs_eventloop_lag_seconds /m.test(body), service.role).toBe(true);
    expect(await metric(service, 'grm_build_info')).toBe(1);
    expect(await metric(service, 'grm_nats_connected')).toBe(1);
    expect(await metric(service, 'grm_troubles_total')).toBe(0);
  }
  const samples = requests * k;
  expect(await metric(coordinator, 'grm_requests_accepted_total')).toBe(requests);
  expect(await metric(coordinator, 'grm_requests_total', { outcome: 'valid' })).toBe(requests);
  expect(await metric(coordinator, 'grm_requests_total', { class: 'interactive' })).toBe(requests / 2);
  expect(await metric(coordinator, 'grm_request_duration_seconds_count')).toBe(requests);
  expect(await metric(coordinator, 'grm_votes_total', { method: 'meta_topk' })).toBe(requests);
  expect(await metric(coordinator, 'grm_vote_margin_count')).toBe(requests);
  expect(await metric(coordinator, 'grm_inflight_requests')).toBe(0);
  expect(await metric(coordinator, 'grm_inflight_bytes')).toBe(0);
  expect(await metric(coordinator, 'grm_queue_messages')).toBe(0);
  expect(await metric(worker, 'grm_samples_total')).toBe(samples);
  expect(await metric(worker, 'grm_samples_total', { outcome: 'scored' })).toBe(samples - 2);
  expect(await metric(worker, 'grm_parse_failures_total')).toBe(2);
  expect(await metric(worker, 'grm_deliveries_retried_total', { stage: 'sample' })).toBeGreaterThan(0);
  expect(await metric(worker, 'grm_sample_inference_seconds_count')).toBe(samples);
  expect(await metric(worker, 'grm_slots', { state: 'busy' })).toBe(0);
  expect(await metric(worker, 'grm_slots', { state: 'free' })).toBe(16);
  expect(await metric(worker, 'grm_completion_tokens_total')).toBeGreaterThan(samples);
  expect(await metric(worker, 'grm_actors', { state: 'alive' })).toBe(1);
  expect(await metric(metaWorker, 'grm_meta_ranks_total', { outcome: 'ranked' })).toBe(samples - 2);
  expect(await metric(metaWorker, 'grm_meta_rank_seconds_count')).toBe(samples - 2);

  // NATS goes: alive, not ready, and it says why. NATS comes: ready again.
  await cluster.nats.kill('SIGKILL');
  for (const service of all) {
    await until(async () => (await readiness(service)).status === 503, `${service.role} is not ready`);
    expect((await readiness(service)).reasons).toContain('NATS does not answer');
    expect((await page(service, '/healthz')).status).toBe(200);
    expect((await page(service, '/debug/state')).status).toBe(200);
    expect(await metric(service, 'grm_nats_connected')).toBe(0);
  }
  await cluster.nats.restart();
  for (const service of all) {
    await until(async () => (await readiness(service)).status === 200, `${service.role} is ready again`);
    expect(await metric(service, 'grm_nats_reconnects_total')).toBe(1);
  }

  // Who is told to stop says so while it drains.
  cluster.engine.setFaults([{ kind: 'hang', probability: 1, on: 'generate' }]);
  const held = settled(clientOf(coordinator, once).score(request(requests), { deadlineMs: 60_000 }));
  await until(() => cluster.engine.stats().running > 0, 'the worker is busy');
  for (const service of [coordinator, worker]) {
    service.kill('SIGTERM');
    await until(async () => (await readiness(service)).reasons.includes('draining'), `${service.role} drains`);
    expect(await metric(service, 'grm_draining')).toBe(1);
  }
  for (const service of [coordinator, worker]) service.kill('SIGKILL');
  await held;

  for (const service of all) {
    const log = service.log();
    expect(log.includes(secretText), service.role).toBe(false);
    expect(log.includes(critiqueText), service.role).toBe(false);
    // One JSON object a line, each with its level and its words.
    for (const line of log.trim().split('\n').slice(1, -1)) expect(JSON.parse(line), line).toHaveProperty('message');
  }
}, 180_000);
