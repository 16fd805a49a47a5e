// grm up and grm demo: whole clusters as a user starts, breaks and stops them.

import { createServer } from 'node:net';
import { existsSync } from 'node:fs';
import { mkdtemp, readdir, readFile, rmdir, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { describe, expect, it } from 'vitest';
import { startFakeEngine } from '../../services/fake-engine/server.js';
import { cliFolder, jsonLines, type CliRun } from '../support/cli.js';
import { tinyModel } from '../support/llama.js';
import { isGone, until } from '../support/processes.js';

const anyPorts = ['--listen', '127.0.0.1:0', '--set', 'http.listen=127.0.0.1:0', '--json'];
const fake = ['up', '--fake-engine', ...anyPorts];
const row = JSON.stringify({ id: 'a', query: 'Which?', responses: ['quality=9', 'quality=2'] });

type Events = readonly Readonly<Record<string, unknown>>[];

function eventsOf(run: CliRun, name: string): Events {
  return jsonLines(run.out()).filter(({ event }) => event === name);
}

/** Process ids of everything that it ever started. */
function pidsOf(run: CliRun): number[] {
  const started = eventsOf(run, 'process_ready').map(({ pid }) => Number(pid));
  const pids = eventsOf(run, 'ready').flatMap((ready) => Object.values(ready.pids as Record<string, number>));
  return [...new Set([...started, ...pids])];
}

function pidOf(run: CliRun, name: string): number {
  return (eventsOf(run, 'ready')[0]!.pids as Record<string, number>)[name]!;
}

async function untilAllGone(pids: readonly number[], withinMs = 60_000): Promise<void> {
  expect(pids.length).toBeGreaterThan(0);
  await until(async () => (await Promise.all(pids.map(isGone))).every(Boolean), 'all processes are gone', withinMs);
}

async function ready(run: CliRun): Promise<void> {
  await run.says('"event":"ready"', 180_000);
}

describe('grm up', () => {
  it('B1 B2: serves, keeps a second one out, starts what is killed again, and one Ctrl-C stops all', async () => {
    await using folder = await cliFolder();
    const up = folder.start(...fake);
    await ready(up);
    expect(eventsOf(up, 'fake_engine')).toHaveLength(1);
    const [{ grpc } = {}] = eventsOf(up, 'ready');

    const second = await folder.run(fake);
    expect(second.code).toBe(1);
    expect(second.err).toContain(`another \`grm up\` (pid ${up.pid}) uses ${folder.file('.grm/fake')}`);

    const killed = ['grm-worker-1', 'coordinator', 'nats-server'];
    for (const name of killed) process.kill(pidOf(up, name), 'SIGKILL');
    // The keeper goes with its server, and another takes both their places.
    const again = ['grm-worker-1', 'coordinator', 'nats'];
    await until(
      () => again.every((name) => namesOf(up, 'process_ready').filter((each) => each === name).length === 2),
      'they are there again',
      180_000,
    );
    expect(namesOf(up, 'process_ended').sort()).toEqual(again.sort());
    expect(
      eventsOf(up, 'process_ready')
        .filter(({ name }) => name === 'coordinator')
        .map(({ facts }) => (facts as { gRPC: string }).gRPC),
    ).toEqual([grpc, grpc]);

    const scored = await folder.run(['score', '--k', '2'], row);
    expect([scored.code, jsonLines(scored.out)[0]]).toEqual([0, expect.objectContaining({ id: 'a', k_valid: 2 })]);

    up.kill('SIGINT');
    expect(await up.ended).toBe(0);
    expect(jsonLines(up.out()).slice(-2)).toEqual([{ event: 'draining', waiting_for: [] }, { event: 'stopped' }]);
    await untilAllGone(pidsOf(up), 1_000);
    expect(existsSync(folder.file('.grm/fake/up.pid'))).toBe(false);
  }, 600_000);

  it('B3: killed with -9 leaves nothing behind, and the next one in the folder works at once', async () => {
    await using folder = await cliFolder();
    const first = folder.start(...fake);
    await ready(first);
    const scored = await folder.run(['score', '--k', '1', '--vote', 'sum'], row);
    first.kill('SIGKILL');
    const second = folder.start(...fake);
    await ready(second);
    expect((await Promise.all(pidsOf(first).map(isGone))).every(Boolean)).toBe(true);
    // Its data is there, too: the verdict is known.
    const again = await folder.run(['score', '--k', '1', '--vote', 'sum'], row);
    expect(again.out).toBe(scored.out.replaceAll('"stored":false', '"stored":true'));
    second.kill('SIGKILL');
    await untilAllGone(pidsOf(second));
  }, 600_000);

  it('P6: the first Ctrl-C finishes what was accepted, the second kills', async () => {
    await using folder = await cliFolder();
    await using engine = await slowEngine();
    const engines = `[{"kind":"openai","base_url":"${engine.url}"}]`;
    const args = ['up', ...anyPorts, '--set', `worker.engines=${engines}`];

    const up = folder.start(...args);
    await ready(up);
    engine.delay(3_000);
    const scoring = folder.run(['score', '--k', '1'], row);
    await engine.busy();
    up.kill('SIGINT');
    const { code, out } = await scoring;
    expect([code, jsonLines(out)[0]]).toEqual([0, expect.objectContaining({ k_valid: 1, vote: 'sum' })]);
    expect(await up.ended).toBe(0);

    const hung = folder.start(...args);
    await ready(hung);
    engine.delay(600_000);
    const waiting = folder.start('score', '--k', '1', '--seed', '2');
    waiting.stdin.end(row);
    await engine.busy();
    hung.kill('SIGINT');
    // What hands signals on (npx, timeout) makes two of one.
    hung.kill('SIGINT');
    await hung.says('"draining"');
    await sleep(500);
    expect(eventsOf(hung, 'killing')).toEqual([]);
    hung.kill('SIGINT');
    expect(await hung.ended).toBe(130);
    await untilAllGone(pidsOf(hung), 1_000);
  }, 600_000);

  it('B4: says why an engine does not come up instead of waiting silently; Ctrl-C then leaves nothing', async () => {
    await using folder = await cliFolder();
    const engines = '[{"kind":"openai","base_url":"http://127.0.0.1:9"},{"kind":"llama","model":"/nowhere.gguf"}]';
    const up = folder.start('up', ...anyPorts, '--set', `worker.engines=${engines}`);
    await until(() => eventsOf(up, 'engine_failed').length >= 2, 'both failures are told', 180_000);
    expect(Object.fromEntries(eventsOf(up, 'engine_failed').map(({ engine, reason }) => [engine, reason]))).toEqual({
      'grm-worker-1/openai-0': expect.stringContaining('ECONNREFUSED') as string,
      'grm-worker-1/llama-1': expect.stringMatching(/nowhere\.gguf|packages are not installed/) as string,
    });
    await up.says('"waiting"');
    expect(eventsOf(up, 'waiting').at(-1)).toMatchObject({ workers: 0, workers_wanted: 1 });
    const status = await folder.run(['status']);
    expect(status.code).toBe(0);
    expect(status.out).toMatch(/openai-0 +engine +(restarting|starting)/);
    up.kill('SIGINT');
    expect(await up.ended).toBe(130);
    expect(up.err()).toContain('interrupted before the cluster was ready');
    await untilAllGone(pidsOf(up), 1_000);
  }, 400_000);

  it('says at once what it cannot start with', async () => {
    await using folder = await cliFolder();
    await writeFile(folder.file('rows.jsonl'), row);
    const taken = createServer();
    await new Promise<void>((resolve) => taken.listen(0, '127.0.0.1', resolve));
    const { port } = taken.address() as { port: number };
    const plain = ['up', '--fake-engine', '--set', 'http.listen=127.0.0.1:0'];
    const cases: readonly (readonly [string[], number, RegExp])[] = [
      [
        [...plain, '--listen', `127.0.0.1:${port}`],
        1,
        /cannot listen at 127\.0\.0\.1:\d+ \(grpc\.listen\): another process listens there/,
      ],
      [
        [...plain, '--listen', '127.0.0.1:0', '--set', 'nats.server_binary=nowhere'],
        1,
        /nats-server .*was not found[^]*apt-get install nats-server/,
      ],
      [
        [...plain, '--listen', '127.0.0.1:0', '--set', 'nats.server_binary=/bin/false'],
        1,
        /nats did not start \(exit code 1\)/,
      ],
      [[...plain, '--workers', 'many'], 2, /up\.workers must be a number, not many \(from --workers\)/],
      [
        ['up', '--set', 'worker.engines=[{"kind":"llama","model":"x"}]', '--meta-workers', '1'],
        2,
        /--meta-workers: there is no meta RM/,
      ],
      [['up', '--model', '/nowhere.gguf'], 2, /\/nowhere\.gguf[^]*give the path of a GGUF file/],
      [['demo', folder.file('rows.jsonl'), '--workers', '0'], 2, /--workers 0: nobody would score the rows/],
      [
        [...plain, '--listen', '127.0.0.1:0', '--set', 'templates.grm=/nowhere'],
        1,
        /coordinator did not start[^]*\/nowhere/,
      ],
    ];
    const ends = await Promise.all(cases.map(([args], at) => folder.run([...args, '--data-dir', `data-${at}`])));
    for (const [at, [args, code, words]] of cases.entries()) {
      expect(ends[at]?.err, args.join(' ')).toMatch(words);
      expect(ends[at]?.code, args.join(' ')).toBe(code);
      expect(ends[at]?.err, args.join(' ')).not.toMatch(/^\s+at /m);
    }
    taken.close();
  }, 400_000);
});

describe('a model named by a flag', () => {
  it('is the judge; one that cannot rank is no meta RM, and the start ends with the reason', async () => {
    await using folder = await cliFolder();
    const tiny = tinyModel();
    const args = ['up', '--model', tiny.path, '--meta-model', tiny.path, ...anyPorts];
    const mute = await folder.run([...args, '--set', 'meta.engines.0.yes_word=No']);
    expect(mute.code).toBe(1);
    expect(mute.err).toContain('meta-worker-1/llama-yes-no-0: tiny cannot rank: its vocabulary has no token');

    const up = folder.start('up', '--model', tiny.path, ...anyPorts);
    await ready(up);
    expect(eventsOf(up, 'judge')).toEqual([{ event: 'judge', model: tiny.path, meta_model: null, nano: false }]);
    const scored = await folder.run(['score', '--k', '2', '--max-tokens', '8'], row);
    expect(jsonLines(scored.out)[0]).toMatchObject({ id: 'a', vote: 'sum', k: 2 });
    up.kill('SIGINT');
    expect(await up.ended).toBe(0);
    tiny.remove();
  }, 180_000);
});

describe('grm demo', () => {
  it('starts a cluster, shows verdicts, says that they are invented, and cleans up', async () => {
    await using folder = await cliFolder();
    await writeFile(folder.file('rows.jsonl'), `${row}\n{"id":"b"}\n`);
    const { code, out, err } = await folder.run(['demo', 'rows.jsonl', '--fake-engine']);
    expect(err).toMatch(/^FAKE ENGINE: --fake-engine/);
    expect(out).toMatch(/^#1 a {2}r[0-9a-f]{32}\n {2}query {2}Which\?\n {2}1\. \[\d\]/);
    expect(out).toMatch(/#2 b {2}content\.query/);
    expect(err).toMatch(/2 requests, 8 samples in .* s .*; 0 invalid, 1 failed/);
    expect(code).toBe(1);
    expect(existsSync(folder.file('.grm'))).toBe(false);
  }, 400_000);

  it.each([
    ['its reader has seen enough', (run: CliRun) => run.closeOut(), 0],
    ['Ctrl-C', (run: CliRun) => run.kill('SIGINT'), 130],
  ])(
    'leaves no process and no folder behind when it is ended by %s',
    async (_, end, code) => {
      const temporary = await mkdtemp(join(tmpdir(), 'grm-demo-test-'));
      await using folder = await cliFolder({ TMPDIR: temporary });
      // More rows than are scored before its end.
      await writeFile(
        folder.file('rows.jsonl'),
        Array.from({ length: 5_000 }, (_, id) => `${row.replace('"a"', `"${id}"`)}\n`).join(''),
      );
      const run = folder.start('demo', 'rows.jsonl', '--fake-engine');
      await run.says('#1 0  r', 180_000);
      expect(await readdir(temporary)).toHaveLength(1);
      end(run);
      expect(await run.ended, run.err()).toBe(code);
      expect(run.err()).not.toMatch(/Error|EPIPE|^\s+at /m);
      expect(await usersOf(temporary)).toEqual([]);
      expect(await readdir(temporary)).toEqual([]);
      await rmdir(temporary);
    },
    180_000,
  );
});

/** Processes whose command line or environment names the folder. */
async function usersOf(folder: string): Promise<string[]> {
  const users: string[] = [];
  for (const pid of await readdir('/proc')) {
    if (!/^\d+$/.test(pid) || (await isGone(Number(pid)))) continue;
    const [command, env] = await Promise.all(
      ['cmdline', 'environ'].map((each) => readFile(`/proc/${pid}/${each}`, 'utf8').catch(() => '')),
    );
    if (command?.includes(folder) || env?.includes(folder)) users.push(`${pid} ${command?.replaceAll('\0', ' ')}`);
  }
  return users;
}

function namesOf(run: CliRun, event: string): string[] {
  return eventsOf(run, event).map(({ name }) => String(name));
}

interface SlowEngine extends AsyncDisposable {
  readonly url: string;
  /** Of every sample from now on. */
  delay(delayMs: number): void;
  /** Resolves when a sample is being drawn. */
  busy(): Promise<void>;
}

async function slowEngine(): Promise<SlowEngine> {
  const engine = await startFakeEngine({ port: 0, instant: true });
  return {
    url: engine.url,
    delay: (delayMs) => engine.setFaults([{ kind: 'slow', probability: 1, delayMs, on: 'generate' }]),
    busy: () => until(() => engine.stats().running > 0, 'a sample is drawn'),
    [Symbol.asyncDispose]: () => engine.close(),
  };
}
