import { spawn, type ChildProcess } from 'node:child_process';
import { existsSync } from 'node:fs';
import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { natsName, openFolder, runningCluster, type ClusterState } from '../../../src/cli/folder.js';
import { commandOf } from '../../../src/cli/process-table.js';
import { isGone, until } from '../../support/processes.js';

const calm = new AbortController().signal;
const quiet = (): void => undefined;
let path: string;
const children: ChildProcess[] = [];

beforeEach(async () => {
  path = await mkdtemp(join(tmpdir(), 'grm-folder-'));
});
afterEach(async () => {
  for (const child of children.splice(0)) child.kill('SIGKILL');
  await rm(path, { recursive: true });
});

/** A process whose command line holds `mark`; it lives until killed, SIGTERM does not. */
function stray(mark: string): number {
  const child = spawn(process.execPath, ['-e', 'process.on("SIGTERM", () => {}); setInterval(() => {}, 1000)', mark]);
  children.push(child);
  return child.pid!;
}

async function writeState(state: ClusterState): Promise<void> {
  await writeFile(join(path, 'cluster.json'), JSON.stringify(state));
}

describe('the data folder', () => {
  it.each([
    ['by its file', '/home/me/grm-cluster/dist/src/cli/main.js up'],
    ['through a link', '/usr/local/bin/grm up'],
  ])('D1: belongs to one `grm up` at a time, started %s', async (_, command) => {
    const owner = stray(command);
    await writeFile(join(path, 'up.pid'), String(owner));
    await until(() => commandOf(owner)?.includes(command) === true, 'the process starts');
    await expect(openFolder(path, 0, quiet, calm)).rejects.toThrow(
      `another \`grm up\` (pid ${owner}) uses ${path}: stop it`,
    );
  });

  it.each([
    ['gone', '999999999'],
    ['a number that another program has got', String(process.ppid)],
    ['nonsense', 'xyz'],
    ['empty', ''],
  ])('D1: is taken over when its owner is %s', async (_, pid) => {
    await writeFile(join(path, 'up.pid'), pid);
    const folder = await openFolder(path, 0, quiet, calm);
    expect(await readFile(join(path, 'up.pid'), 'utf8')).toBe(String(process.pid));
    folder.release();
    expect(existsSync(join(path, 'up.pid'))).toBe(false);
  });

  it('D1: is taken over when its number belongs to a program that only runs in a folder of our name', async () => {
    const other = stray('/home/me/grm-cluster/node_modules/.bin/vitest run services/coordinator/main.js');
    await writeFile(join(path, 'up.pid'), String(other));
    await until(() => commandOf(other)?.includes('vitest') === true, 'the process starts');
    const folder = await openFolder(path, 0, quiet, calm);
    expect(await readFile(join(path, 'up.pid'), 'utf8')).toBe(String(process.pid));
    folder.release();
  });

  it('tells others where its cluster is, while it lives', async () => {
    expect(runningCluster(path)).toBe(undefined);
    const folder = await openFolder(path, 0, quiet, calm);
    folder.publish({ nats: 'nats://127.0.0.1:1', grpc: '127.0.0.1:2', processes: {} });
    expect(runningCluster(path)).toMatchObject({ pid: process.pid, grpc: '127.0.0.1:2' });
    folder.release();
    expect(runningCluster(path)).toBe(undefined);
    await writeState({ pid: 999_999_999, grpc: '127.0.0.1:2', processes: {} });
    expect(runningCluster(path)).toBe(undefined);
  });

  it.each(['', '{', '[]', 'null', '{"pid":"x"}'])('takes a state of %j for none', async (text) => {
    await writeFile(join(path, 'cluster.json'), text);
    expect(runningCluster(path)).toBe(undefined);
    (await openFolder(path, 0, quiet, calm)).release();
  });

  it('D2: waits for what a killed one left behind, says so, and ends what does not end', async () => {
    const pid = stray('services/grm-worker/main.js');
    await until(() => commandOf(pid)?.includes('grm-worker') === true, 'the process starts');
    await writeState({
      pid: 999_999_999,
      processes: { 'grm-worker-1': { pid, command: 'services/grm-worker/main.js' } },
    });
    const told: (readonly string[])[] = [];
    const folder = await openFolder(path, 300, (names) => told.push(names), calm);
    expect(told).toEqual([[`grm-worker-1 (pid ${pid})`]]);
    expect(await isGone(pid)).toBe(true);
    folder.release();
  });

  it('D2: leaves alone whatever has got the number of such a process', async () => {
    const pid = stray('an editor with unsaved work');
    await until(() => commandOf(pid) !== undefined, 'the process starts');
    await writeState({
      pid: 999_999_999,
      processes: { 'grm-worker-1': { pid, command: 'services/grm-worker/main.js' } },
    });
    (await openFolder(path, 0, quiet, calm)).release();
    expect(await isGone(pid)).toBe(false);
  });

  it('D2: asks a nats-server without its keeper to end at once', async () => {
    const child = spawn(process.execPath, ['-e', 'setInterval(() => {}, 1000)', join(path, 'nats')]);
    children.push(child);
    const pid = child.pid!;
    await until(() => commandOf(pid)?.includes(path) === true, 'the process starts');
    await writeState({ pid: 999_999_999, processes: { [natsName]: { pid, command: join(path, 'nats') } } });
    (await openFolder(path, 60_000, quiet, calm)).release();
    expect(await isGone(pid)).toBe(true);
  });

  it('gives the folder back when the waiting is called off', async () => {
    const pid = stray('services/grm-worker/main.js');
    await until(() => commandOf(pid)?.includes('grm-worker') === true, 'the process starts');
    await writeState({
      pid: 999_999_999,
      processes: { 'grm-worker-1': { pid, command: 'services/grm-worker/main.js' } },
    });
    const stop = new AbortController();
    const opening = openFolder(path, 60_000, () => stop.abort(), stop.signal);
    await expect(opening).rejects.toThrow('interrupted');
    expect(existsSync(join(path, 'up.pid'))).toBe(false);
    // For the next one, which has to wait, too.
    expect(existsSync(join(path, 'cluster.json'))).toBe(true);
  });
});
