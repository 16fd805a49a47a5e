// grm score with a judge that is slower than anybody's time, that is away, or that gives no number: no row is lost to time alone, and the
// exit code tells what the file is worth.

import { readFile, writeFile } from 'node:fs/promises';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { cliFolder, jsonLines, type CliEnd, type CliFolder } from '../support/cli.js';
import { clientOf, startCluster, type ServiceProcess, type TestCluster } from '../support/cluster.js';
import { until } from '../support/processes.js';

let cluster: TestCluster;
let coordinator: ServiceProcess;
let cli: CliFolder;

// A request that says nothing of its time has a second at this coordinator. No worker yet.
beforeAll(async () => {
  cluster = await startCluster({}, { GRM_DEFAULTS__TIME_BUDGET_MS: '1000' });
  coordinator = await cluster.start('coordinator');
  cli = await cliFolder({ GRM_ADDRESS: coordinator.grpc });
});

afterAll(async () => {
  await cli[Symbol.asyncDispose]();
  await cluster[Symbol.asyncDispose]();
});

function startWorker(): Promise<ServiceProcess> {
  const engines = [{ kind: 'openai', base_url: cluster.engine.url, slots: 2 }];
  return cluster.start('grm-worker', { GRM_WORKER__ENGINES: JSON.stringify(engines) });
}

function samplesTake(delayMs: number): void {
  cluster.engine.setFaults([{ kind: 'slow', probability: 1, delayMs, on: 'generate' }]);
}

async function rowsFile(name: string, count: number, more: (id: number) => object = () => ({})): Promise<string> {
  const row = (id: number): string => {
    const responses = [`An answer of quality=9 to ${id}`, `Another of quality=2 to ${id}`];
    return JSON.stringify({ id, query: `Question ${id} of ${name}?`, responses, ...more(id) });
  };
  await writeFile(cli.file(name), Array.from({ length: count }, (_, id) => `${row(id)}\n`).join(''));
  return cli.file(name);
}

/** Every row in order, with all of its samples. */
async function expectWhole({ code, err }: CliEnd, out: string, count: number, k: number): Promise<void> {
  const rows = jsonLines(await readFile(out, 'utf8'));
  expect(rows.map(({ id }) => id)).toEqual(Array.from({ length: count }, (_, id) => id));
  for (const row of rows) expect(row).toMatchObject({ k, k_valid: k, degraded: [], invalid_reason: null });
  expect(err).toContain(`${count} rows`);
  expect(err).toContain(', 0 invalid, 0 failed\n');
  expect(code).toBe(0);
}

/** The line of a row that time had ended: as it is written now, and as earlier versions wrote it. */
function timedOut(line: string, marked: boolean): string {
  const row = JSON.parse(line) as Record<string, unknown>;
  const { row: number, input, ...columns } = row;
  const lost = { ...columns, rewards: [null, null], agreement: null, invalid_reason: 'quorum_not_met' };
  return JSON.stringify({ row: number, input, ...(marked && { retry: true }), ...lost });
}

describe('grm score and engines that are away', () => {
  it('says at once that none serves, writes nothing, and goes on when one does', async () => {
    const input = await rowsFile('away.jsonl', 12);
    const out = cli.file('away-out.jsonl');
    const patience = await cli.run(['score', input, '--out', out, '--wait-engines', '1', '--deadline', '0.2']);
    expect(patience.err).toContain('grm: no_engine: no engine serves');
    expect(patience.err).toContain('the same command goes on where this one stopped');
    expect(patience.code).toBe(3);
    expect(await readFile(out, 'utf8')).toBe('');
    const run = cli.start('score', input, '--out', out, '--k', '2', '--vote', 'sum', '--deadline', '0.2');
    await run.says('has nobody to draw samples (no_engine: no engine serves); trying again for 60 s at most');
    expect(await readFile(out, 'utf8')).toBe('');
    await startWorker();
    using client = clientOf(coordinator);
    await cluster.serving(client, 1, 0);
    const code = await run.ended;
    expect(run.err()).toContain('has engines again');
    await expectWhole({ code, err: run.err(), out: '' }, out, 12, 2);
  }, 120_000);
});

describe('grm score and a judge that is slow', () => {
  it('scores every row whole, however far the queue is behind the time of one request', async () => {
    samplesTake(30);
    const input = await rowsFile('slow.jsonl', 60);
    const out = cli.file('slow-out.jsonl');
    // 480 samples of 30 ms in two slots: seven seconds, and a second is what a request has by default.
    await expectWhole(await cli.run(['score', input, '--out', out, '--k', '8', '--vote', 'sum']), out, 60, 8);
  }, 120_000);

  it('tries again what --deadline cuts short; a row has the time that it names itself', async () => {
    samplesTake(250);
    const own = { options: { time_budget_ms: 60_000 } };
    const input = await rowsFile('short.jsonl', 6, (id) => (id % 2 === 0 ? own : { options: { quorum: null } }));
    const out = cli.file('short-out.jsonl');
    const flags = ['--k', '4', '--vote', 'sum', '--quorum', '4', '--deadline', '0.1'];
    await expectWhole(await cli.run(['score', input, '--out', out, ...flags]), out, 6, 4);
  }, 120_000);
});

/** Rows as they were when their samples were drawn: those that were asked for again came from the store. */
function drawnAnew(rows: string): string {
  return rows.replaceAll('"stored":true', '"stored":false');
}

describe('grm score and rows that only time ended', () => {
  it('J4: scores them in their places when the same command comes again, and pays for nothing twice', async () => {
    cluster.engine.setFaults([]);
    const input = await rowsFile('mend.jsonl', 40, (id) => ({ text: 'x'.repeat(id * 37) }));
    const out = cli.file('mend-out.jsonl');
    const command = ['score', input, '--out', out, '--k', '1', '--vote', 'sum'];
    expect((await cli.run(command)).code).toBe(0);
    const whole = await readFile(out, 'utf8');
    const lines = whole.trimEnd().split('\n');
    const lost = lines.slice(0, 30).map((line, at) => (at % 3 === 0 ? timedOut(line, at % 2 === 0) : line));
    await writeFile(out, `${lost.join('\n')}\n`);
    const drawn = cluster.engine.stats().requests;
    const { code, err } = await cli.run(command);
    expect(drawnAnew(await readFile(out, 'utf8'))).toBe(whole);
    expect(err).toMatch(/^scored again 10\/10 /m);
    expect(err).toContain('40 rows (30 from an earlier run), 0 invalid, 0 failed\n');
    expect(code).toBe(0);
    expect(cluster.engine.stats().requests).toBe(drawn);

    // From standard input, which is read but once: those rows first, then those that are not there yet.
    await writeFile(out, `${lost.slice(0, 25).join('\n')}\n`);
    const piped = await cli.run(['score', '-', ...command.slice(2)], await readFile(input, 'utf8'));
    expect(drawnAnew(await readFile(out, 'utf8'))).toBe(whole);
    expect(piped.err).toMatch(/^scored again 9\/9 /m);
    expect(piped.err).toContain('40 rows (25 from an earlier run), 0 invalid, 0 failed\n');
    expect(piped.code).toBe(0);
    const shorter = (await readFile(input, 'utf8')).split('\n').slice(0, 20).join('\n');
    const before = `${lost.join('\n')}\n`;
    await writeFile(out, before);
    expect((await cli.run(['score', '-', ...command.slice(2)], shorter)).code).toBe(2);
    expect(await readFile(out, 'utf8')).toBe(before);
  }, 120_000);

  it('J4: Ctrl-C keeps what was scored anew, kill -9 leaves the file as it was', async () => {
    const input = await rowsFile('break.jsonl', 40);
    const out = cli.file('break-out.jsonl');
    const command = ['score', input, '--out', out, '--k', '1', '--vote', 'sum', '--concurrency', '2'];
    expect((await cli.run([...command, '--tenant', 'first'])).code).toBe(0);
    const lines = (await readFile(out, 'utf8')).trimEnd().split('\n');
    const before = `${lines.map((line, at) => (at < 5 ? line : timedOut(line, true))).join('\n')}\n`;
    await writeFile(out, before);
    // Another tenant's requests are others: they are drawn.
    const again = [...command, '--tenant', 'second'];
    samplesTake(100);
    for (const signal of ['SIGKILL', 'SIGINT'] as const) {
      const drawn = cluster.engine.stats().requests;
      const run = cli.start(...again);
      await until(() => cluster.engine.stats().requests > drawn + 8, 'some are drawn');
      run.kill(signal);
      expect(await run.ended).toBe(signal === 'SIGKILL' ? signal : 130);
      if (signal === 'SIGKILL') expect(await readFile(out, 'utf8')).toBe(before);
    }
    const rows = jsonLines(await readFile(out, 'utf8'));
    expect(rows.map(({ row }) => row)).toEqual(Array.from({ length: 40 }, (_, at) => at));
    const left = rows.filter(({ retry }) => retry === true).length;
    expect(left).toBeLessThan(35);
    expect(left).toBeGreaterThan(0);
    cluster.engine.setFaults([]);
    const end = await cli.run(again);
    expect(end.err).toMatch(new RegExp(`^scored again ${left}/${left} `, 'm'));
    await expectWhole(end, out, 40, 1);
  }, 120_000);
});

describe('grm score and a judge that gives no number', () => {
  it('ends with 5 above --max-invalid-share, says so, and tries nothing again', async () => {
    cluster.engine.setFaults([{ kind: 'garbage', probability: 1, on: 'generate' }]);
    const input = await rowsFile('garbage.jsonl', 5);
    const command = ['score', input, '--out', cli.file('garbage-out.jsonl'), '--k', '1', '--vote', 'sum'];
    const { code, err } = await cli.run(command);
    expect(err).toContain('5 rows, 5 invalid (5 no_valid_sample), 0 failed\n');
    expect(err).toContain('5 of 5 rows are invalid, more than --max-invalid-share 0.1 allows\n');
    expect(code).toBe(5);
    const drawn = cluster.engine.stats().requests;
    expect((await cli.run(command)).code).toBe(5);
    expect((await cli.run([...command, '--max-invalid-share', '1'])).code).toBe(0);
    expect(cluster.engine.stats().requests).toBe(drawn);
  }, 120_000);
});
