import { spawn } from 'node:child_process';
import { existsSync } from 'node:fs';
import { appendFile, mkdtemp, readdir, readFile, rm, symlink, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { basename, join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { Chain, openOutput } from '../../../src/cli/output.js';
import { commandOf } from '../../../src/cli/process-table.js';
import { until } from '../../support/processes.js';

let folder: string;
let path: string;
beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), 'grm-output-'));
  path = join(folder, 'scored.jsonl');
});
afterEach(() => rm(folder, { recursive: true }));

const digest = (number: number): string => String(number).padStart(16, '0');
const line = (number: number, more = '"id":null'): string => `{"row":${number},"input":"${digest(number)}",${more}}\n`;

function chainOf(count: number): string {
  const chain = new Chain();
  for (let number = 0; number < count; number++) chain.add(digest(number));
  return chain.value();
}

describe('output', () => {
  it('F1: goes on after the whole rows, and cuts off what a kill left of one', async () => {
    for (let cut = 0; cut < line(2).length; cut++) {
      await writeFile(path, line(0) + line(1) + line(2).slice(0, cut));
      const output = await openOutput(path);
      expect([output.rows, output.chain], `cut at ${cut}`).toEqual([2, chainOf(2)]);
      output.write(line(2));
      await output.flushed();
      await output.close();
      expect(await readFile(path, 'utf8')).toBe(line(0) + line(1) + line(2));
    }
  });

  it('F1: takes line separators of Unicode for text, as JSON does', async () => {
    const text = line(0, '"text":"a\u2028b\u2029c\\rd"') + line(1);
    await writeFile(path, text);
    const output = await openOutput(path);
    await output.close();
    expect(output.rows).toBe(2);
    expect(await readFile(path, 'utf8')).toBe(text);
  });

  it('tells of every row that an earlier run wrote', async () => {
    await writeFile(path, line(0) + line(1, `"text":"${'x'.repeat(100_000)}"`) + line(2).slice(0, 9));
    const heads: string[] = [];
    const output = await openOutput(path, 'grm score', (head) => heads.push(head));
    await output.close();
    expect(heads.map((head) => [head.slice(0, 9), head.length])).toEqual([
      ['{"row":0,', line(0).length - 1],
      ['{"row":1,', 64 * 1024],
    ]);
  });

  it('begins anew where there is nothing', async () => {
    const output = await openOutput(path);
    expect([output.rows, output.chain]).toEqual([0, undefined]);
    await output.close();
    expect(await readFile(path, 'utf8')).toBe('');
  });

  it.each([
    ['text', 'hello\n'],
    ['text without a newline', 'hello'],
    ['JSON of another make', '{"a":1}\n'],
    ['a gap', line(0) + line(2)],
    ['rows from the middle', line(1)],
    ['a row twice', line(0) + line(0)],
    ['a broken row in the middle', `${line(0)}{"row":1,"inp\n${line(1)}`],
    ['rows, and then something else', `${line(0)}hello`],
  ])('F2: refuses a file that holds %s, and leaves it as it is', async (_, text) => {
    await writeFile(path, text);
    await expect(openOutput(path)).rejects.toMatchObject({
      code: 2,
      message: expect.stringContaining('is not the output') as string,
    });
    expect(await readFile(path, 'utf8')).toBe(text);
  });

  it.each([
    ['a folder', '.'],
    ['below a folder that is not there', 'nowhere/out.jsonl'],
  ])('F2: refuses %s', async (_, name) => {
    await expect(openOutput(join(folder, name))).rejects.toMatchObject({ code: 2 });
  });

  it('F3: writes in order, also when nobody waits', async () => {
    const output = await openOutput(path);
    const lines = Array.from({ length: 500 }, (_, number) => line(number));
    for (const [at, each] of lines.entries()) {
      output.write(each);
      if (at % 50 === 0) await output.flushed();
    }
    await output.close();
    expect(await readFile(path, 'utf8')).toBe(lines.join(''));
  });

  it('F3: tells a full disk, now and later', async () => {
    const output = await openOutput('/dev/full');
    output.write(line(0));
    await expect(output.flushed()).rejects.toMatchObject({
      code: 1,
      message: expect.stringMatching(/cannot write.*ENOSPC/) as string,
    });
    output.write(line(1));
    await expect(output.flushed()).rejects.toThrow(/ENOSPC/);
    await output.close();
  });

  it('F4: is written by one process at a time, whatever it calls the file, and is free again afterwards', async () => {
    await symlink(path, join(folder, 'alias.jsonl'));
    const first = await openOutput(path);
    expect(existsSync(`${path}.lock`)).toBe(true);
    await first.close();
    expect(existsSync(`${path}.lock`)).toBe(false);

    const owner = spawn(process.execPath, ['-e', 'setInterval(() => {}, 1000)', 'dist/src/cli/main.js score']);
    try {
      await until(() => commandOf(owner.pid!)?.includes('main.js') === true, 'the process starts');
      await writeFile(`${path}.lock`, String(owner.pid));
      for (const name of [path, join(folder, 'alias.jsonl')]) {
        await expect(openOutput(name)).rejects.toMatchObject({
          code: 2,
          message: expect.stringContaining(`another \`grm score\` (pid ${owner.pid}) writes ${name}`) as string,
        });
      }
      expect(await readFile(`${path}.lock`, 'utf8')).toBe(String(owner.pid));
    } finally {
      owner.kill('SIGKILL');
    }
    await until(() => commandOf(owner.pid!) === undefined, 'the process is gone');
    const second = await openOutput(path);
    expect(await readFile(`${path}.lock`, 'utf8')).toBe(String(process.pid));
    await second.close();
    expect(await readdir(folder)).toEqual(['alias.jsonl', basename(path)].sort());
  });

  it('F2, F4: a file that is refused is not locked', async () => {
    await writeFile(path, 'hello\n');
    await expect(openOutput(path)).rejects.toMatchObject({ code: 2 });
    expect(existsSync(`${path}.lock`)).toBe(false);
  });

  it('is what another run appended to: the rows count on', async () => {
    await writeFile(path, line(0));
    const first = await openOutput(path);
    await first.close();
    await appendFile(path, line(1));
    const second = await openOutput(path);
    await second.close();
    expect(second.rows).toBe(2);
  });
});
