import { mkdtemp, readFile, readdir, rm, stat } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { ServerLog } from '../../../src/engine/server-log.js';
import { limits } from '../../../src/limits.js';

describe('server log', () => {
  let dir = '';
  beforeEach(async () => {
    dir = await mkdtemp(join(tmpdir(), 'grm-log-'));
  });
  afterEach(() => rm(dir, { recursive: true, force: true }));

  const fail = (error: unknown): void => {
    throw error;
  };

  it('O1: keeps two files within their size and loses nothing of the newest', async () => {
    const path = join(dir, 'deep', 'engine0.log');
    const log = await ServerLog.open(path, fail, 1_000);
    for (let line = 0; line < 100; line++) void log.append(Buffer.from(`line ${line} ${'x'.repeat(40)}\n`));
    await log.append(Buffer.alloc(2_500, 'y'));
    await log.append(Buffer.from('\nthe end\n'));
    await log.close();
    expect((await readdir(join(dir, 'deep'))).sort()).toEqual(['engine0.log', 'engine0.log.1']);
    expect((await stat(path)).size).toBeLessThanOrEqual(1_000);
    expect((await stat(`${path}.1`)).size).toBeLessThanOrEqual(1_000);
    expect(await readFile(path, 'utf8')).toMatch(/y\nthe end\n$/);
  });

  it('goes on after a restart, and counts what was there', async () => {
    const path = join(dir, 'engine0.log');
    for (const words of ['first ', 'second ', 'third']) {
      const log = await ServerLog.open(path, fail, 15);
      await log.append(Buffer.from(words));
      await log.close();
    }
    expect(await readFile(`${path}.1`, 'utf8')).toBe('first second ');
    expect(await readFile(path, 'utf8')).toBe('third');
  });

  it('the tail is bounded and ends with the last words', async () => {
    const log = await ServerLog.open(join(dir, 'engine0.log'), fail);
    for (let line = 0; line < 500; line++) await log.append(Buffer.from(`loading weights ${line}%\r`));
    await log.append(Buffer.from('CUDA out of memory\n'));
    expect(log.tail().length).toBeLessThanOrEqual(limits.engineLogTailCharsMax);
    expect(log.lastLine()).toBe('CUDA out of memory');
    await log.close();
  });

  it('O2: a folder that vanishes is told once; the tail goes on', async () => {
    const troubles: unknown[] = [];
    const gone = join(dir, 'gone');
    const log = await ServerLog.open(join(gone, 'engine0.log'), (error) => void troubles.push(error), 10);
    await log.append(Buffer.from('12345678'));
    await rm(gone, { recursive: true });
    await log.append(Buffer.from('rotate'));
    await log.append(Buffer.from(' and go on'));
    expect(troubles.length).toBe(1);
    expect(log.tail()).toBe('12345678rotate and go on');
    await log.close();
  });
});
