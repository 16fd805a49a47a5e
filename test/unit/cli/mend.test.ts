import { lstat, mkdtemp, readdir, readFile, rm, symlink, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { tryAgain } from '../../../src/cli/again.js';
import { CliError } from '../../../src/cli/context.js';
import { Mending, type Place } from '../../../src/cli/mend.js';
import { rowHead, rowLine } from '../../../src/cli/row-line.js';

let folder: string;
let path: string;
beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), 'grm-mend-'));
  path = join(folder, 'scored.jsonl');
});
afterEach(() => rm(folder, { recursive: true }));

const place = (number: number) => ({ number, digest: String(number).padStart(16, '0') });
const isAgain = ({ head }: Place): boolean => rowHead.exec(head)?.[3] !== undefined;

/** A row of any length; `again` ones are to be tried again. */
function line(number: number, again: boolean, text = 'x'.repeat((number * 7_919) % 3_000)): string {
  return rowLine(place(number), { id: number, text }, again);
}

async function* rowsOf(count: number) {
  for (let number = 0; number < count; number++) yield await Promise.resolve(place(number));
}

interface Round {
  readonly numbers: number[];
  readonly total: number;
}

/** Rounds over a file, in which `done` says which rows are done in which round. */
async function rounds(count: number, done: (number: number, round: number) => boolean): Promise<Round[]> {
  const seen: Round[] = [];
  let left = (await readFile(path, 'utf8')).split('\n').filter((text) => rowHead.exec(text)?.[3]).length;
  await tryAgain({
    mend: () => Mending.open(path),
    rows: () => rowsOf(count),
    waiting: () => left,
    wanted: isAgain,
    async pass(rows, mending, total) {
      const round: Round = { numbers: [], total };
      seen.push(round);
      for await (const { row, place: its } of rows) {
        round.numbers.push(row.number);
        const again = !done(row.number, seen.length - 1);
        if (!again) left--;
        mending.replace(its, line(row.number, again, 'done'));
        await mending.flushed();
      }
    },
    signal: new AbortController().signal,
    otherInput: new CliError('another input'),
  });
  return seen;
}

describe('mending', () => {
  it('E2: replaces lines in their places and leaves all others as they are', async () => {
    const again = (number: number): boolean => number % 7 === 3;
    await writeFile(path, Array.from({ length: 500 }, (_, number) => line(number, again(number))).join(''));
    const seen = await rounds(500, () => true);
    expect(seen).toEqual([{ numbers: Array.from({ length: 71 }, (_, at) => 3 + 7 * at), total: 71 }]);
    const expected = Array.from({ length: 500 }, (_, number) =>
      again(number) ? line(number, false, 'done') : line(number, false),
    );
    expect(await readFile(path, 'utf8')).toBe(expected.join(''));
    expect(await readdir(folder)).toEqual(['scored.jsonl']);
  });

  it('E2: the first and the last line, and a file of one', async () => {
    await writeFile(path, line(0, true) + line(1, false) + line(2, true));
    await rounds(3, () => true);
    expect(await readFile(path, 'utf8')).toBe(line(0, false, 'done') + line(1, false) + line(2, false, 'done'));
    await writeFile(path, line(0, true));
    await rounds(1, () => true);
    expect(await readFile(path, 'utf8')).toBe(line(0, false, 'done'));
  });

  it('rounds end when one leaves as many as the one before', async () => {
    await writeFile(path, Array.from({ length: 6 }, (_, number) => line(number, true)).join(''));
    const seen = await rounds(6, (number, round) => number === round && round < 2);
    expect(seen.map(({ total }) => total)).toEqual([6, 5, 4]);
    const text = await readFile(path, 'utf8');
    expect(text.split('\n').map((each) => rowHead.exec(each)?.[3] !== undefined)).toEqual([
      ...[false, false, true, true, true, true],
      false,
    ]);
  });

  it('E2: a round that breaks keeps what it had', async () => {
    await writeFile(path, Array.from({ length: 5 }, (_, number) => line(number, true)).join(''));
    const broken = new Error('the service is away');
    const failing = rounds(5, (number) => {
      if (number === 2) throw broken;
      return true;
    });
    await expect(failing).rejects.toBe(broken);
    const expected = [0, 1].map((number) => line(number, false, 'done')).join('');
    expect(await readFile(path, 'utf8')).toBe(expected + [2, 3, 4].map((number) => line(number, true)).join(''));
    expect(await readdir(folder)).toEqual(['scored.jsonl']);
  });

  it('E1: until it is whole the file stands as it was, and a link stays one', async () => {
    const before = line(0, true) + line(1, false);
    await writeFile(path, before);
    const alias = join(folder, 'alias.jsonl');
    await symlink(path, alias);
    const mending = await Mending.open(alias);
    const [first] = await collect(mending.places(100));
    mending.replace(first!, line(0, false, 'done'));
    await mending.flushed();
    expect(await readFile(path, 'utf8')).toBe(before);
    await mending.finish();
    expect(await readFile(path, 'utf8')).toBe(line(0, false, 'done') + line(1, false));
    expect((await lstat(alias)).isSymbolicLink()).toBe(true);
  });

  it('refuses a file that was written for another input, and leaves it as it is', async () => {
    const before = line(0, true) + rowLine({ ...place(1), digest: 'f'.repeat(16) }, { id: 1 }, true);
    await writeFile(path, before);
    await expect(rounds(2, () => true)).rejects.toThrow('another input');
    expect(await readFile(path, 'utf8')).toBe(before);
    expect(await readdir(folder)).toEqual(['scored.jsonl']);
    await writeFile(path, line(0, true) + line(1, true));
    await expect(rounds(1, () => false)).rejects.toThrow('another input');
  });
});

async function collect<T>(source: AsyncIterable<T>): Promise<T[]> {
  const all: T[] = [];
  for await (const each of source) all.push(each);
  return all;
}
