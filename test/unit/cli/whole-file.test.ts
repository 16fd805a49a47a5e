import { existsSync } from 'node:fs';
import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { beside, checkDistinct, countsText, reportHead, writeReport } from '../../../src/cli/spct-files.js';
import { checkOurs, WholeFile } from '../../../src/cli/whole-file.js';

let folder: string;

beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), 'grm-whole-'));
});

afterAll(async () => {
  await rm(folder, { recursive: true, force: true });
});

const head = '{"source":"ours",';

describe('a whole file', () => {
  it('W2: takes its place when it is finished, and not before', async () => {
    const path = join(folder, 'a.jsonl');
    const file = await WholeFile.open(path, head);
    await file.write(`${head}"n":1}\n`);
    expect(existsSync(path)).toBe(false);
    await file.finish();
    expect(await readFile(path, 'utf8')).toBe(`${head}"n":1}\n`);
    expect(existsSync(`${path}.part`)).toBe(false);

    const second = await WholeFile.open(path, head);
    await second.write('half');
    await second.drop();
    expect(await readFile(path, 'utf8')).toBe(`${head}"n":1}\n`);
    expect(existsSync(`${path}.part`)).toBe(false);
  });

  it('W1: refuses what is no earlier result, and what cannot be written', async () => {
    const path = join(folder, 'foreign.jsonl');
    await writeFile(path, '{"messages":[]}\n');
    await expect(WholeFile.open(path, head)).rejects.toThrow('exists and is no earlier result');
    await expect(checkOurs(folder, head)).rejects.toThrow('it is no file');
    await expect(WholeFile.open(join(folder, 'nowhere', 'x'), head)).rejects.toThrow('ENOENT');
    await writeFile(path, '');
    await checkOurs(path, head);
    await checkOurs(join(folder, 'new'), head);
  });
});

describe('files of grm spct', () => {
  it('a report is JSON for people, known again by its head', async () => {
    const path = join(folder, 'report.json');
    await writeReport(path, 'some', { items: { rows: 3 }, list: [] });
    const text = await readFile(path, 'utf8');
    expect(JSON.parse(text)).toEqual({ report: 'some', items: { rows: 3 }, list: [] });
    expect(text.split('\n').length).toBeGreaterThan(3);
    await checkOurs(path, reportHead('some'));
    await expect(checkOurs(path, reportHead('other'))).rejects.toThrow('no earlier result');
    await writeReport(path, 'some', {});
  });

  it('stand beside each other, and are not the same', () => {
    expect(beside('a/rft.jsonl', 'trajectories')).toBe('a/rft.trajectories.jsonl');
    expect(beside('rft', 'fresh')).toBe('rft.fresh.jsonl');
    expect(() => checkDistinct({ a: 'x', b: undefined, c: './x' })).toThrow('a and c name one file: ./x');
    checkDistinct({ a: '-', b: '-' });
    expect(countsText({})).toBe('none');
    expect(countsText({ tie: 2, no_box: 1 })).toBe('2 tie, 1 no_box');
  });
});
