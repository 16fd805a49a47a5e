// grm score, inspect, status, dead, drain, slots, cancel and doctor on a running cluster, as a user calls them.

import { existsSync } from 'node:fs';
import { readFile, truncate, writeFile } from 'node:fs/promises';
import { createHash } from 'node:crypto';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import type { FaultSpec } from '../../services/fake-engine/faults.js';
import { clientOf, freePort, startCluster, type ServiceProcess, type TestCluster } from '../support/cluster.js';
import { requestIdOfKey } from '../../src/coordinator/identity.js';
import { defaultTenant } from '../../src/coordinator/intake.js';
import { cliFolder, jsonLines, type CliEnd, type CliFolder } from '../support/cli.js';
import { until } from '../support/processes.js';

let cluster: TestCluster;
let coordinator: ServiceProcess;
let worker: ServiceProcess;
let cli: CliFolder;

beforeAll(async () => {
  cluster = await startCluster();
  coordinator = await cluster.start('coordinator');
  [worker] = await Promise.all([cluster.start('grm-worker'), cluster.start('meta-worker')]);
  using client = clientOf(coordinator);
  await cluster.serving(client, 1, 1);
  cli = await cliFolder({ GRM_ADDRESS: coordinator.grpc, GRM_NATS__SERVERS: JSON.stringify([cluster.nats.url]) });
});

afterAll(async () => {
  await cli[Symbol.asyncDispose]();
  await cluster[Symbol.asyncDispose]();
});

/** A row whose first response is the better one for the fake judge. */
function row(id: number, more: object = {}): string {
  const responses = [`An answer of quality=9 to ${id}.`, `Another of quality=2 to ${id}.`];
  return JSON.stringify({ id, query: `Question ${id}?`, responses, label: 0, ...more });
}

/** Some samples come soon, and then so few that a run cannot be over before a test has seen the first rows. */
function slowAfter(samples: number): FaultSpec[] {
  return [
    { kind: 'slow', next: samples, delayMs: 1, on: 'generate' },
    { kind: 'slow', probability: 1, delayMs: 2_000, on: 'generate' },
  ];
}

async function rowsFile(name: string, count: number, more: object = {}): Promise<string> {
  const path = cli.file(name);
  await writeFile(path, Array.from({ length: count }, (_, id) => `${row(id, more)}\n`).join(''));
  return path;
}

function ids(text: string): unknown[] {
  return jsonLines(text).map(({ id }) => id);
}

describe('grm score', () => {
  it('reads standard input and writes rows in order, with progress on standard error', async () => {
    const input = Array.from({ length: 20 }, (_, id) => row(id)).join('\n');
    const { code, out, err } = await cli.run(['score', '--k', '4', '--vote', 'meta_topk', '--k-meta', '1'], input);
    expect(err).toMatch(
      /^(?:scored \d+\/\? .*\n)*scored 20\/\? {2}\d+\.\d\/s {2}ETA -\n20 rows, 0 invalid, 0 failed\n20 judged by the fake engine .*; none of them from the store\n$/,
    );
    const rows = jsonLines(out);
    expect(rows.map(({ row: number, id, label }) => [number, id, label])).toEqual(rows.map((_, at) => [at, at, 0]));
    expect(rows).toHaveLength(20);
    for (const each of rows)
      expect(each).toMatchObject({ k: 4, k_valid: 4, k_kept: 1, vote: 'meta_topk', degraded: [] });
    expect(rows.filter(({ best }) => best === 0).length).toBeGreaterThan(10);
    expect(code).toBe(0);
  });

  it('says why a row cannot be scored, scores the others, and ends with 1', async () => {
    const lines = [
      row(0),
      '{"query": ',
      row(2, { responses: [] }),
      '',
      row(4, { options: { k: 1_000, temprature: 1 }, tenant: 'a b' }),
      '[]',
      row(6),
    ];
    const { code, out, err } = await cli.run(['score', '-', '--k', '1', '--vote', 'sum'], lines.join('\n'));
    const rows = jsonLines(out) as readonly {
      row: number;
      id: unknown;
      rewards: unknown;
      error?: { kind: string; message: string };
    }[];
    expect(rows.map(({ row: number, id, error }) => [number, id, error?.kind])).toEqual([
      [0, 0, undefined],
      [1, null, 'unreadable'],
      [2, 2, 'invalid_request'],
      [3, 4, 'invalid_request'],
      [4, null, 'unreadable'],
      [5, 6, undefined],
    ]);
    expect(rows[2]?.error?.message).toContain('content.responses');
    expect(rows[2]?.rewards).toBe(null);
    for (const field of ['options: came temprature', 'options.k: ', 'tenant: '])
      expect(rows[3]?.error?.message).toContain(field);
    expect(err).toContain('6 rows, 0 invalid, 4 failed');
    expect(code).toBe(1);
  });

  it('tells progress and its end as JSON with --json', async () => {
    const { code, err } = await cli.run(['score', '--json', '--k', '1', '--vote', 'sum'], row(0));
    // More of them when it takes its time.
    expect(jsonLines(err).slice(-2)).toEqual([
      expect.objectContaining({ event: 'progress', done: 1, total: null }),
      {
        event: 'end',
        rows: 1,
        resumed: 0,
        invalid: 0,
        unfinished: 0,
        failed: 0,
        interrupted: false,
        stored: expect.any(Number) as number,
        reasons: { invalid: {}, unfinished: {}, failed: {} },
        judges: [expect.objectContaining({ verdicts: 1 })],
      },
    ]);
    expect(code).toBe(0);
  });

  it('takes temperature, deadline and texts of samples', async () => {
    const flags = [
      '--samples',
      '--k',
      '2',
      '--vote',
      'sum',
      '--temperature',
      '1.5',
      '--deadline',
      '30',
      '--class',
      'interactive',
    ];
    const { code, out } = await cli.run(['score', ...flags], row(0));
    const [only] = jsonLines(out);
    expect(only?.samples).toMatchObject([
      { index: 0, kept: 'kept', critique: expect.stringContaining('fake engine') as string },
      { index: 1, kept: 'kept' },
    ]);
    expect(code).toBe(0);
  });

  it('J2: goes on where kill -9 stopped it, wherever in a row that was, and pays for nothing twice', async () => {
    const count = 120;
    const input = await rowsFile('kill.jsonl', count);
    const out = cli.file('kill-out.jsonl');
    const command = ['score', input, '--out', out, '--k', '2', '--concurrency', '8'];
    cluster.engine.setFaults(slowAfter(60));
    const first = cli.start(...command);
    await until(async () => (await sizeOf(out)) > 3_000, 'some rows are written');
    first.kill('SIGKILL');
    expect(await first.ended).toBe('SIGKILL');
    // What a kill in the middle of a write leaves.
    await truncate(out, (await sizeOf(out)) - 25);
    cluster.engine.setFaults([]);
    const second = await cli.run(command);
    expect(second.err).toMatch(/120 rows \(\d+ from an earlier run\), 0 invalid, 0 failed/);
    expect(second.code).toBe(0);
    const text = await readFile(out, 'utf8');
    expect(ids(text)).toEqual(Array.from({ length: count }, (_, id) => id));

    const drawn = cluster.engine.stats().requests;
    const whole = await cli.run(command);
    expect(whole.err).toContain('120 rows (120 from an earlier run)');
    const anew = await cli.run(['score', input, '--out', cli.file('kill-anew.jsonl'), '--k', '2']);
    expect(anew.code).toBe(0);
    expect(anew.err).toMatch(/120 judged by the fake engine .*; all of them from the store/);
    expect(await readFile(cli.file('kill-anew.jsonl'), 'utf8')).toBe(
      text.replaceAll('"stored":false', '"stored":true'),
    );
    expect(cluster.engine.stats().requests).toBe(drawn);
  }, 400_000);

  it('Ctrl-C is clean: whole rows, exit code 130, and the same command goes on', async () => {
    const input = await rowsFile('ctrl-c.jsonl', 200, { tag: 'ctrl-c' });
    const out = cli.file('ctrl-c-out.jsonl');
    const command = ['score', input, '--out', out, '--k', '1', '--vote', 'sum', '--seed', '5', '--concurrency', '4'];
    cluster.engine.setFaults(slowAfter(30));
    const run = cli.start(...command);
    await until(async () => (await sizeOf(out)) > 2_000, 'some rows are written');
    run.kill('SIGINT');
    expect(await run.ended).toBe(130);
    expect(run.err()).toContain('interrupted; the same command goes on from here');
    expect(run.err()).not.toContain('Error');
    const written = jsonLines(await readFile(out, 'utf8'));
    expect(written.every((each) => !('error' in each))).toBe(true);
    cluster.engine.setFaults([]);
    expect((await cli.run(command)).code).toBe(0);
    expect(ids(await readFile(out, 'utf8'))).toEqual(Array.from({ length: 200 }, (_, id) => id));
  }, 400_000);

  it('F4: keeps a second run out of its file, and takes over from one that was killed', async () => {
    const input = await rowsFile('lock.jsonl', 60, { tag: 'lock' });
    const out = cli.file('lock-out.jsonl');
    const command = ['score', input, '--out', out, '--k', '1', '--vote', 'sum', '--concurrency', '4'];
    cluster.engine.setFaults(slowAfter(20));
    const first = cli.start(...command);
    await until(async () => (await sizeOf(out)) > 0, 'some rows are written');
    const second = await cli.run(command);
    expect(second).toMatchObject({
      code: 2,
      err: expect.stringContaining(`another \`grm score\` (pid ${first.pid}) writes ${out}`) as string,
    });
    first.kill('SIGKILL');
    await first.ended;
    cluster.engine.setFaults([]);
    const third = await cli.run(command);
    expect([third.code, third.err]).toEqual([0, expect.stringContaining('60 rows (') as string]);
    expect(ids(await readFile(out, 'utf8'))).toEqual(Array.from({ length: 60 }, (_, id) => id));
    expect(existsSync(`${out}.lock`)).toBe(false);
  }, 400_000);

  it('says at once that its coordinator is gone, and goes on when it is back', async () => {
    await using other = await startCluster();
    const address = `127.0.0.1:${await freePort()}`;
    const doomed = await other.start('coordinator', { GRM_GRPC__LISTEN: address });
    await other.start('grm-worker');
    using client = clientOf(doomed);
    await other.serving(client, 1, 0);
    other.engine.setFaults(slowAfter(10));
    const input = await rowsFile('gone.jsonl', 20, { tag: 'gone' });
    const out = cli.file('gone-out.jsonl');
    const command = ['score', input, '--out', out, '--k', '1', '--vote', 'sum', '--concurrency', '4'];
    const run = cli.start(...command, '--address', address);
    await until(async () => (await sizeOf(out)) > 0, 'some rows are written');
    doomed.kill('SIGKILL');
    await doomed.ended;
    other.engine.setFaults([]);
    await run.says(
      new RegExp(`the coordinator at ${address} is not reachable \\(.+\\); trying again for \\d+ s at most`),
    );
    await other.start('coordinator', { GRM_GRPC__LISTEN: address });
    expect(await run.ended, run.err()).toBe(0);
    expect(run.err()).toContain(`the coordinator at ${address} answers again\n`);
    expect(run.err()).toContain('20 rows, 0 invalid, 0 failed');
    expect(ids(await readFile(out, 'utf8'))).toEqual(Array.from({ length: 20 }, (_, id) => id));
  }, 400_000);

  it('refuses the output of another input, of other options, or of somebody else, and leaves it as it is', async () => {
    const input = await rowsFile('mine.jsonl', 3);
    const out = cli.file('mine-out.jsonl');
    const flags = ['--out', out, '--k', '1', '--vote', 'sum'];
    expect((await cli.run(['score', input, ...flags])).code).toBe(0);
    const before = await digestOf(out);
    const other = await rowsFile('other.jsonl', 5, { tag: 'other' });
    const shorter = await rowsFile('shorter.jsonl', 2);
    for (const args of [
      ['score', other, ...flags],
      ['score', shorter, ...flags],
      ['score', input, ...flags, '--k', '2'],
    ]) {
      const { code, err } = await cli.run(args);
      expect(err, args.join(' ')).toContain('written for another input, or with other options');
      expect(code).toBe(2);
    }
    const { code, err } = await cli.run(['score', input, '--out', input]);
    expect([code, err]).toEqual([2, expect.stringContaining('is not the output of `grm score`')]);
    expect(await digestOf(out)).toBe(before);
  }, 400_000);

  it.each<[string, string[], number, RegExp]>([
    ['a file that is not there', ['score', 'nowhere.jsonl'], 2, /^grm: cannot read nowhere\.jsonl: ENOENT/],
    ['an output below nowhere', ['score', '-', '--out', 'nowhere/out'], 2, /^grm: cannot write nowhere\/out: ENOENT/],
    ['k out of range', ['score', '-', '--k', '0'], 2, /Expected a whole number 1\.\.128/],
    [
      'options that contradict each other',
      ['score', '-', '--vote', 'sum', '--k-meta', '2'],
      2,
      /--k-meta: came 2 with vote "sum"/,
    ],
    ['a full disk', ['score', '-', '--out', '/dev/full'], 1, /^(?:scored.*\n)?grm: cannot write \/dev\/full: .*ENOSPC/],
    [
      'nobody at the address',
      ['score', '-', '--address', '127.0.0.1:9'],
      3,
      /^grm: no coordinator answers at 127\.0\.0\.1:9: .*ECONNREFUSED/,
    ],
  ])('ends well with %s', async (_, args, expected, words) => {
    const { code, err } = await cli.run(args, row(0));
    expect(err).toMatch(words);
    expect(code).toBe(expected);
  });

  it('stops quietly when its reader has seen enough', async () => {
    const input = await rowsFile('head.jsonl', 50);
    const run = cli.start('score', input, '--k', '1', '--vote', 'sum', '--samples');
    run.closeOut();
    expect(await run.ended).toBe(0);
    expect(run.err()).not.toContain('Error');
  });
});

describe('looking and steering', () => {
  it('grm inspect shows a stored verdict, by request id and by key', async () => {
    const scored = await cli.run(['score', '--k', '4'], row(900, { idempotency_key: 'key-900' }));
    const [only] = jsonLines(scored.out);
    const requestId = String(only?.request_id);
    const { code, out } = await cli.run(['inspect', requestId]);
    expect(code).toBe(0);
    expect(out).toMatch(/^sample +\[0\] +\[1\] +meta +kept/m);
    expect(out.match(/^sample \d/gm)).toHaveLength(4);
    expect(out.match(/ kept +/g)?.length).toBeGreaterThanOrEqual(2);
    expect(out).toContain('principles\n');
    expect(out).toContain('query  Question 900?');
    const json = await cli.run(['inspect', 'key-900', '--json']);
    expect(JSON.parse(json.out)).toMatchObject({
      request_id: requestId,
      rewards: only?.rewards,
      content: { responses: [expect.any(String), expect.any(String)] },
    });
    const none = await cli.run(['inspect', 'nothing-of-the-kind']);
    expect([none.code, none.out]).toEqual([1, '']);
    expect(none.err).toContain('no verdict of "nothing-of-the-kind" is kept');
  });

  it('grm status shows nodes, actors and queues, and watches until Ctrl-C', async () => {
    const { code, out } = await cli.run(['status']);
    expect(code).toBe(0);
    expect(out).toMatch(/^cluster {2}3 nodes/);
    expect(out).toContain('FAKE ENGINE in use');
    expect(out).toContain(worker.node);
    expect(out).toMatch(/alive/);
    expect(out).toMatch(/grm\/rl +GRM_WORK/);
    const watch = cli.start('status', '--watch', '--json');
    await until(() => jsonLines(watch.out()).length >= 2, 'two looks');
    watch.kill('SIGINT');
    expect(await watch.ended).toBe(0);
    expect(watch.err()).toBe('');
    const [first] = jsonLines(watch.out());
    const nodes = first?.nodes as readonly { role: string; actors: readonly { state: string }[] }[];
    expect(nodes.map(({ role, actors }) => [role, actors.map(({ state }) => state)])).toEqual([
      ['coordinator', []],
      ['grm-worker', ['alive']],
      ['meta-worker', ['alive']],
    ]);
  });

  it('grm drain, resume and slots steer a worker; unknown ones are told', async () => {
    expect(await cli.run(['drain', worker.node])).toEqual({ code: 0, out: `${worker.node}\n`, err: '' });
    using client = clientOf(coordinator);
    await until(async () => (await client.status()).nodes.some(({ draining }) => draining), 'the drain is seen');
    expect(await cli.run(['resume'])).toMatchObject({ code: 0, out: expect.stringContaining(worker.node) as string });
    expect(await cli.run(['slots', worker.node, '7', '--json'])).toEqual({
      code: 0,
      out: `${JSON.stringify({ node: worker.node, slots: 7 })}\n`,
      err: '',
    });
    expect(await cli.run(['drain', 'nobody'])).toMatchObject({ code: 1, err: 'not reached: nobody\n' });
    expect(await cli.run(['slots', 'nobody', '3'])).toMatchObject({
      code: 1,
      err: expect.stringContaining(`no worker is called nobody; there are ${worker.node}`) as string,
    });
  });

  it('grm cancel ends a running request and says when there is none', async () => {
    cluster.engine.setFaults([{ kind: 'slow', probability: 1, delayMs: 600_000, on: 'generate' }]);
    using client = clientOf(coordinator);
    const run = cli.start('score', '--k', '1', '--vote', 'sum');
    run.stdin.end(row(950, { idempotency_key: 'key-950' }));
    await until(async () => (await client.status()).requestsInFlight > 0, 'the request runs');
    const requestId = requestIdOfKey('key-950', defaultTenant);
    const cancelled = await cli.run(['cancel', requestId]);
    expect(cancelled).toEqual({ code: 0, out: 'cancelled\n', err: '' });
    expect(await run.ended).toBe(1);
    expect(jsonLines(run.out())[0]).toMatchObject({
      id: 950,
      rewards: null,
      error: { kind: 'cancelled', retry: true },
    });
    cluster.engine.setFaults([]);
    expect(await cli.run(['cancel', requestId])).toEqual({ code: 1, out: 'it is not running\n', err: '' });
  });

  it('grm dead list and retry', async () => {
    expect(await cli.run(['dead', 'list', '--json'])).toEqual({ code: 0, out: '[]\n', err: '' });
    const unknown = await cli.run(['dead', 'retry', 'nothing-of-the-kind']);
    expect(unknown.code).toBe(1);
    expect(unknown.err).toContain('nothing-of-the-kind');
  });

  it('grm doctor finds a cluster in order', async () => {
    const { code, out } = await cli.run(['doctor', '--json']);
    const findings = JSON.parse(out) as readonly { check: string; result: string; fix?: string }[];
    expect(findings.filter(({ result }) => result === 'failed')).toEqual([]);
    for (const check of ['NATS', 'JetStream streams', 'clock', 'coordinator', 'versions', 'GRM engines', 'meta RM'])
      expect(
        findings.map((each) => each.check),
        check,
      ).toContain(check);
    expect(code).toBe(0);
  });

  it('grm doctor names a fix for all that is wrong, and ends with 1', async () => {
    const nobody = [
      '--address',
      '127.0.0.1:9',
      '--set',
      'nats.servers=nats://127.0.0.1:9',
      '--set',
      'nats.server_binary=nowhere',
    ];
    const engines = [
      '--set',
      'worker.engines=[{"kind":"openai","base_url":"http://127.0.0.1:9"},{"kind":"llama","model":"/nowhere.gguf"},{"kind":"managed","model":"m","command":["nowhere"]}]',
    ];
    const meta = ['--set', 'meta.engines=[{"kind":"vllm_classify","base_url":"http://127.0.0.1:9"}]'];
    const { code, out } = await cli.run(['doctor', '--json', ...nobody, ...engines, ...meta]);
    const findings = JSON.parse(out) as readonly { check: string; result: string; fix?: string }[];
    expect(findings.filter(({ result }) => result !== 'ok').map(({ check, result }) => [check, result])).toEqual([
      ['nats-server program', 'warning'],
      ['NATS', 'failed'],
      ['coordinator', 'failed'],
      ['worker.engines.0', 'failed'],
      ['worker.engines.1', 'failed'],
      ['worker.engines.2', 'failed'],
      ['meta.engines.0', 'failed'],
    ]);
    for (const { check, result, fix } of findings) if (result !== 'ok') expect(fix, check).toMatch(/\w/);
    expect(code).toBe(1);
  });
});

describe('grm itself', () => {
  it('explains itself, and a wrong call ends with 2', async () => {
    const help = await cli.run(['--help']);
    expect(help).toMatchObject({ code: 0, err: '' });
    await expect(help.out).toMatchFileSnapshot('../golden/help/grm.txt');
    expect(await cli.run(['--version'])).toMatchObject({
      code: 0,
      out: expect.stringMatching(/^\d+\.\d+\.\d+\n$/) as string,
    });
    const wrong: CliEnd = await cli.run(['scoer']);
    expect(wrong.code).toBe(2);
    expect(wrong.err).toContain('Did you mean score?');
  });

  it('grm config print shows every setting with its source, and no secret', async () => {
    await writeFile(cli.file('grm.yaml'), 'defaults:\n  k: 4\nnats:\n  token: hush-hush\n');
    const { code, out } = await cli.run(['config', 'print', '--set', 'defaults.temperature=1']);
    expect(code).toBe(0);
    expect(out).toMatch(/^defaults\.k +4 +grm\.yaml:2$/m);
    expect(out).toMatch(/^defaults\.temperature +1 +--set defaults\.temperature$/m);
    expect(out).toMatch(/^defaults\.max_tokens +1024 +default$/m);
    expect(out).not.toContain('hush');
  });
});

async function sizeOf(path: string): Promise<number> {
  return (await readFile(path).catch(() => Buffer.alloc(0))).length;
}

async function digestOf(path: string): Promise<string> {
  return createHash('sha256')
    .update(await readFile(path))
    .digest('hex');
}
