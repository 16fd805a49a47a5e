// Real processes, real signals, real exit codes.

import { spawn, type ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { pathToFileURL } from 'node:url';
import { afterEach, describe, expect, it } from 'vitest';
import { exitCodes } from '../../../src/process/run.js';
import { built } from '../../support/processes.js';

const children: ChildProcess[] = [];
afterEach(() => {
  for (const child of children.splice(0)) child.kill('SIGKILL');
});

/** Runs a process whose `open` returns what the JavaScript expression says. */
function start(running: string): { child: ChildProcess; output: () => string; exit: Promise<number | null> } {
  const at = (path: string): string => JSON.stringify(pathToFileURL(built(path)).href);
  const script = `
    import { runProcess } from ${at('src/process/run.js')};
    import { openLog } from ${at('src/observe/log.js')};
    const log = openLog({ level: 'info', format: 'json', texts: false, name: 'child' });
    const never = new Promise(() => undefined);
    setInterval(() => undefined, 1000);
    await runProcess({ name: 'child', log, exit: (code) => process.exit(code), open: async () => (${running}) });
  `;
  const child = spawn(process.execPath, ['--input-type=module', '-e', script], { stdio: ['ignore', 'pipe', 'pipe'] });
  children.push(child);
  let output = '';
  for (const stream of [child.stdout, child.stderr]) stream.on('data', (data: Buffer) => (output += data.toString()));
  return { child, output: () => output, exit: once(child, 'close').then(([code]) => code as number | null) };
}

async function said(output: () => string, text: string): Promise<void> {
  await expect.poll(output, { timeout: 60_000 }).toContain(text);
}

describe('a process', () => {
  it('R1: drains at SIGTERM and exits with 0, its last words written', async () => {
    const it = start(
      `{ closeMs: 60000, close: () => new Promise((done) => setTimeout(done, 50)).then(() => log.info('drained')) }`,
    );
    await said(it.output, 'started');
    it.child.kill('SIGTERM');
    expect(await it.exit).toBe(exitCodes.ok);
    expect(it.output()).toMatch(/SIGTERM, stopping[^]*drained[^]*ended/);
  });

  it('R1: ends at once at the second Ctrl-C', async () => {
    const it = start(`{ closeMs: 60000, close: () => never }`);
    await said(it.output, 'started');
    it.child.kill('SIGINT');
    await said(it.output, 'stopping');
    it.child.kill('SIGINT');
    expect(await it.exit).toBe(exitCodes.interrupted);
  });

  it('R2: ends when its grace is over', async () => {
    const it = start(`{ closeMs: 50, close: () => never }`);
    await said(it.output, 'started');
    it.child.kill('SIGTERM');
    expect(await it.exit).toBe(exitCodes.graceOver);
  });

  it.each([
    ['an unhandled rejection', `Promise.reject(new Error('stray'))`],
    ['an uncaught exception', `setTimeout(() => { throw new Error('stray'); }, 0)`],
  ])('R3: ends with 1 at %s, with the stack in its log', async (_what, stray) => {
    const it = start(`(${stray}, { closeMs: 5000, close: () => never })`);
    expect(await it.exit).toBe(exitCodes.failure);
    const fatal = it
      .output()
      .split('\n')
      .find((line) => line.includes('"fatal"'));
    expect(JSON.parse(fatal ?? '{}')).toMatchObject({
      error: { message: 'stray', stack: expect.stringContaining('at ') as string },
    });
  });
});
