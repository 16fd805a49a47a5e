// grm score with a judge that is slower than anybody's time budget, that is away, and that comes back: no row is lost to time alone.

import { readFile, writeFile } from 'node:fs/promises';
import { afterEach, describe, expect, it } from 'vitest';
import { clientOf, startCluster, type ServiceProcess, type TestCluster } from '../support/cluster.js';
import { cliFolder, jsonLines, type CliFolder } from '../support/cli.js';
import { until } from '../support/processes.js';

interface Setting {
  readonly cluster: TestCluster;
  readonly coordinator: ServiceProcess;
  readonly cli: CliFolder;
}

const open: AsyncDisposable[] = [];
afterEach(async () => {
  for (const each of open.splice(0).reverse()) await each[Symbol.asyncDispose]();
});

/** A pool of two slots; a sample takes `sampleMs`, and a request that says nothing of its time has a second. */
async function slowCluster(sampleMs: number, workers = 1): Promise<Setting> {
  const cluster = await startCluster(
    { faults: [{ kind: 'slow', probability: 1, delayMs: sampleMs, on: 'generate' }] },
    { GRM_DEFAULTS__TIME_BUDGET_MS: '1000' },
  );
  open.push(cluster);
  const coordinator = await cluster.start('coordinator');
  for (let at = 0; at < workers; at++) await startWorker(cluster);
  using client = clientOf(coordinator);
  await cluster.serving(client, workers, 0);
  const cli = await cliFolder({ GRM_ADDRESS: coordinator.grpc });
  open.push(cli);
  return { cluster, coordinator, cli };
}

function startWorker(cluster: TestCluster): Promise<ServiceProcess> {
  const engines = [{ kind: 'openai', base_url: cluster.engine.url, slots: 2 }];
  return cluster.start('grm-worker', { GRM_WORKER__ENGINES: JSON.stringify(engines) });
}

async function rowsFile(cli: CliFolder, count: number, more: (id: number) => object = () => ({})): Promise<string> {
  const row = (id: number): string =>
    JSON.stringify({ id, query: `Question ${id}?`, responses: [`quality=9, ${id}`, `quality=2, ${id}`], ...more(id) });
  await writeFile(cli.file('rows.jsonl'), Array.from({ length: count }, (_, id) => `${row(id)}\n`).join(''));
  return cli.file('rows.jsonl');
}

describe('grm score and a judge that is slow', () => {
  it('scores every row whole, however far the queue is behind the time of one request', async () => {
    const { cli } = await slowCluster(30);
    const input = await rowsFile(cli, 60);
    const out = cli.file('out.jsonl');
    // 480 samples of 30 ms in two slots: seven seconds, and a second is what a request has by default.
    const { code, err } = await cli.run(['score', input, '--out', out, '--k', '8', '--vote', 'sum']);
    const rows = jsonLines(await readFile(out, 'utf8'));
    expect(rows.map(({ id }) => id)).toEqual(Array.from({ length: 60 }, (_, id) => id));
    for (const row of rows) expect(row).toMatchObject({ k: 8, k_valid: 8, degraded: [] });
    expect(err).toContain('60 rows, 0 invalid, 0 failed');
    expect(code).toBe(0);
  }, 120_000);
});
