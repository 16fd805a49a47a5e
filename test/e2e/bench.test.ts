// make bench as it is called: what it leaves when all is measured, and when its time is over before.

import { execFile } from 'node:child_process';
import { mkdtemp, readFile, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, expect, test } from 'vitest';
import type { Figure } from '../../bench/figure.js';
import { measurements } from '../../bench/measurements.js';
import { packageRoot } from '../../src/process/version.js';

let folder = '';
beforeAll(async () => void (folder = await mkdtemp(join(tmpdir(), 'grm-bench-test-'))));
afterAll(() => rm(folder, { recursive: true, force: true }));

function bench(args: readonly string[]): Promise<{ code: number; out: string; err: string }> {
  const script = join(packageRoot, 'dist', 'bench', 'main.js');
  return new Promise((resolve) => {
    execFile(process.execPath, [script, ...args, '--out', folder], (error, out, err) => {
      resolve({ code: error === null ? 0 : Number(error.code), out, err });
    });
  });
}

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
  expect(err).toMatch(/^bench 1 of 1: adaptive, 0:00 of at most 10:00; all in about 0:03$/m);
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
  [['--only', 'speed'], '--only speed: expected one of adaptive, latency'],
  [['--minutes', '0'], '--minutes 0: expected above 0, at most 600'],
])('%j is refused', async (args, words) => {
  const { code, err } = await bench(args);
  expect(code).toBe(2);
  expect(err).toContain(words);
});
