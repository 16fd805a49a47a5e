// make bench as it is called: what it leaves when all is measured, when its time is over before, and when it is interrupted.

import { execFile, spawn } from 'node:child_process';
import { mkdir, mkdtemp, readdir, readFile, rm, symlink } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, expect, test } from 'vitest';
import type { Figure } from '../../bench/figure.js';
import { measurements } from '../../bench/measurements.js';
import { packageRoot } from '../../src/process/version.js';
import { isGone, until } from '../support/processes.js';
import { mountSmallDisk, refusalToMount } from '../support/small-disk.js';

let folder = '';
beforeAll(async () => void (folder = await mkdtemp(join(tmpdir(), 'grm-bench-test-'))));
afterAll(() => rm(folder, { recursive: true, force: true }));

interface End {
  readonly code: number;
  readonly out: string;
  readonly err: string;
}

function script(name: string, args: readonly string[]): Promise<End> {
  return new Promise((resolve) => {
    execFile(process.execPath, [join(packageRoot, 'dist', 'bench', name), ...args], (error, out, err) => {
      resolve({ code: error === null ? 0 : Number(error.code), out, err });
    });
  });
}

const bench = (args: readonly string[], out = folder): Promise<End> => script('main.js', [...args, '--out', out]);
/** Is over as soon as it has begun to measure. */
const brief = ['--only', 'adaptive', '--minutes', '0.0002'];

const latest = async (): Promise<Figure[]> =>
  JSON.parse(await readFile(join(folder, 'latest.json'), 'utf8')) as Figure[];
const namesOf = (wanted: string): string[] =>
  measurements.find(({ name }) => name === wanted)!.figures.map(({ name }) => name);

test('a measurement that comes to its end: numbers, and where it stands in plain lines on standard error', async () => {
  const { code, out, err } = await bench(['--only', 'adaptive']);
  expect(code, err).toBe(0);
  const figures = await latest();
  expect(figures.map(({ name }) => name)).toEqual(namesOf('adaptive'));
  for (const { name, value, bar, met } of figures) {
    expect(value, name).toEqual(expect.any(Number));
    expect(met, `${name} ${bar}`).toEqual(expect.any(Boolean));
  }
  expect(out).toContain(`written: ${join(folder, 'latest.md')}`);
  expect(err).toMatch(/^bench 1 of 1: adaptive, 0:00 of at most 10:00; all in about 0:05$/m);
  expect(err).not.toContain('\u001b');
});

test('time is over: what has no number is listed as unfinished with the reason, and the run ends with 1', async () => {
  // Less than a process takes to start.
  const { code, out } = await bench(['--only', 'latency', '--only', 'nano', '--minutes', '0.002']);
  expect(code).toBe(1);
  const figures = await latest();
  expect(figures.map(({ name }) => name)).toEqual([...namesOf('latency'), ...namesOf('nano')]);
  for (const figure of figures) {
    expect(figure).toMatchObject({ value: null, ratio: null, met: null });
    expect(figure.unfinished).toMatch(/^its time was over after/);
  }
  expect(out).toContain('unfinished, its time was over');
  expect(await readFile(join(folder, 'latest.md'), 'utf8')).toContain('Unfinished, because its time was over');
});

test.each([
  [['--only', 'speed'], '--only speed: expected one of takeover, adaptive, latency'],
  [['--minutes', '0'], '--minutes 0: expected above 0, at most 600'],
])('%j is refused', async (args, words) => {
  const { code, err } = await bench(args);
  expect(code).toBe(2);
  expect(err).toContain(words);
});

test.each([
  ['/proc/nope/deeper', "mkdir '/proc/nope'"],
  ['/dev/null', 'it is no folder'],
  ['/dev/null/below', 'ENOTDIR'],
  ['', 'expected a folder'],
])('--out %j is refused in one line before anything is measured', async (place, words) => {
  const { code, out, err } = await bench(brief, place);
  expect(code).toBe(2);
  expect(err.trimEnd().split('\n')).toHaveLength(1);
  expect(err).toContain(`--out ${place}: nothing can be written there`);
  expect(err).toContain(words);
  expect(out).toBe('');
});

test('--out is made with the folders above it; one whose latest.md is no file, and a --profile that cannot be written, are refused', async () => {
  const place = join(folder, 'made', 'here');
  expect((await bench(brief, place)).code).toBe(1);
  expect((await readdir(place)).sort()).toEqual(['latest.json', 'latest.md']);
  await mkdir(join(folder, 'odd', 'latest.md'), { recursive: true });
  const odd = await bench(brief, join(folder, 'odd'));
  expect(odd).toMatchObject({ code: 2, err: expect.stringContaining('latest.md in it is no file') as string });
  const profile = await bench([...brief, '--profile', '/proc/nope']);
  expect(profile).toMatchObject({ code: 2, err: expect.stringContaining('--profile /proc/nope:') as string });
});

test('no room for the page: one line, exit code 1, and no half of it', async () => {
  const place = join(folder, 'full');
  await mkdir(place);
  await symlink('/dev/full', join(place, 'latest.md.part'));
  const { code, err } = await bench(brief, place);
  expect(code).toBe(1);
  expect(err).toMatch(/latest\.md was not written: ENOSPC/);
  expect(err).not.toMatch(/^ +at /m);
  expect(await readdir(place)).toEqual(['latest.json']);
});

test.runIf((await refusalToMount()) === undefined)(
  'a full disk is told before anything is measured: exit code 1',
  async () => {
    await using disk = await mountSmallDisk(256 * 1024);
    await disk.fill();
    const { code, out, err } = await bench(brief, disk.folder);
    expect(code).toBe(1);
    expect(err).toMatch(/^--out .*: there is no room: ENOSPC/);
    expect(out).toBe('');
  },
);

test.each([
  ['scale/main.js', ['--read', '/nope.json'], '--read /nope.json: it cannot be read: ENOENT'],
  ['scale/main.js', ['--read', 'README.md'], '--read README.md: expected JSON'],
  ['scale/main.js', ['--read', 'tsconfig.json'], '--read tsconfig.json: expected what a run with --json has written'],
  ['adaptive-k.js', ['--recorded', '/nope.jsonl'], '--recorded /nope.jsonl: it cannot be read: ENOENT'],
  ['adaptive-k.js', ['--recorded', 'README.md'], '--recorded README.md: line 1: expected JSON'],
  ['adaptive-k.js', ['--recorded', 'examples/sample.jsonl'], 'line 1: expected {"id", "labels", "scores", "rewards"}'],
  ['llama-sharing.js', ['/nope.gguf'], 'MODEL /nope.gguf: there is no such file'],
])('%s %j is refused in one line', async (name, args, words) => {
  const { code, out, err } = await script(name, args);
  expect(code).toBe(2);
  expect(err).toContain(words);
  expect(err.trimEnd().split('\n')).toHaveLength(1);
  expect(out).toBe('');
});

test('scale/costs.js: what a sample costs each process, for every workload', async () => {
  const { code, out, err } = await script('scale/costs.js', ['--seconds', '0.2', '--warm', '0.1', '--json']);
  expect(code, err).toBe(0);
  const rows = JSON.parse(out) as { k: number; vote: string; samples: number; cpuMicros: Record<string, number> }[];
  expect(rows.map(({ k, vote }) => `${k} ${vote}`)).toEqual(['8 sum', '32 sum', '8 meta_topk', '32 meta_topk']);
  for (const { k, samples, cpuMicros } of rows) {
    expect(samples).toBeGreaterThanOrEqual(k);
    expect(Object.keys(cpuMicros)).toEqual(['coordinator', 'nats', 'worker', 'meta']);
    for (const [who, micros] of Object.entries(cpuMicros)) expect(micros, who).toBeGreaterThanOrEqual(0);
  }
});

test.each([
  ['its process group, as a terminal does', true],
  ['it alone', false],
])('Ctrl-C to %s while a cluster starts: exit code 130, no process and no folder stays', async (_, group) => {
  const temporary = await mkdtemp(join(folder, 'temporary-'));
  const child = spawn(
    process.execPath,
    [join(packageRoot, 'dist', 'bench', 'main.js'), '--only', 'latency', '--out', join(folder, 'interrupted')],
    { env: { ...process.env, TMPDIR: temporary }, stdio: 'ignore', detached: true },
  );
  const ended = new Promise<number | string>((resolve) => child.once('exit', (code, by) => resolve(by ?? code ?? 0)));
  await until(async () => (await readdir(temporary)).length > 0, 'the folder of a cluster');
  // nats-server is being started.
  process.kill(group ? -child.pid! : child.pid!, 'SIGINT');
  expect(await ended).toBe(130);
  await until(async () => (await withTemporary(temporary)).length === 0, 'all processes are gone');
  expect(await readdir(temporary)).toEqual([]);
});

/** Processes that were started with this folder for temporary files. */
async function withTemporary(path: string): Promise<number[]> {
  const found: number[] = [];
  for (const pid of (await readdir('/proc')).filter((name) => /^\d+$/.test(name)).map(Number)) {
    const environment = await readFile(`/proc/${pid}/environ`, 'utf8').catch(() => '');
    if (environment.split('\0').includes(`TMPDIR=${path}`) && !(await isGone(pid))) found.push(pid);
  }
  return found;
}
