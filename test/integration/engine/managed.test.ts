import { spawn } from 'node:child_process';
import { chmod, mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { openActor } from '../../../src/actor/actor.js';
import type { DrawResult, Engine } from '../../../src/engine/engine.js';
import { findGpus } from '../../../src/engine/gpus.js';
import { openManagedEngine, type ManagedEngineOptions } from '../../../src/engine/managed.js';
import { ServerLog } from '../../../src/engine/server-log.js';
import { startServer } from '../../../src/engine/server-process.js';
import { Events } from '../../../src/observe/events.js';
import { systemClock } from '../../../src/process/clock.js';
import { built, isGone, until } from '../../support/processes.js';

let dir = '';
beforeAll(async () => {
  dir = await mkdtemp(join(tmpdir(), 'grm-managed-'));
});
afterAll(() => rm(dir, { recursive: true, force: true }));

const env = { PATH: process.env['PATH'] };
const wanted = new AbortController().signal;
const fake = (): string[] => [process.execPath, built('services/fake-engine/main.js'), '--instant'];

function options(name: string, more: Partial<ManagedEngineOptions> = {}): ManagedEngineOptions {
  return {
    name,
    model: 'fake-judge',
    command: [...fake(), '--port', '{port}', '--model', '{model}'],
    gpus: [],
    mode: 'chat',
    slots: 8,
    requestTimeoutMs: 60_000,
    graceMs: 20_000,
    logDir: dir,
    env,
    events: new Events(),
    ...more,
  };
}

const shell = (script: string, ...args: string[]): string[] => ['/bin/sh', '-c', script, 'sh', ...args];

async function draw(engine: Engine): Promise<readonly DrawResult[]> {
  const results: DrawResult[] = [];
  const job = {
    messages: [{ role: 'user' as const, content: 'Judge. Scores go into \\boxed{}. [Response 1] a [Response 2] b' }],
    samples: [
      { index: 0, seed: 1 },
      { index: 1, seed: 2 },
    ],
    temperature: 0.5,
    topP: 1,
    maxTokens: 200,
    deadlineAtMs: Date.now() + 60_000,
    priority: 0,
    requestId: 'r0',
  };
  await engine.draw(job, (result) => void results.push(result), wanted);
  return results;
}

describe('managed engine', () => {
  it('X1, X3: starts the server on its GPUs, draws from it, keeps its output, and ends it', async () => {
    const script = 'echo "gpus $CUDA_VISIBLE_DEVICES by $CUDA_DEVICE_ORDER, tp $1"; shift; exec "$@"';
    const command = shell(script, '{tp}', ...fake(), '--port', '{port}');
    const engine = await openManagedEngine(
      options('whole', { command, args: ['--model', '{model}'], gpus: [2, 3] }),
      wanted,
    );
    expect(engine.model).toBe('fake-judge');
    expect(engine.fake).toBe(true);
    expect(engine.description).toBe(`managed openai ${engine.baseUrl}`);
    expect(await engine.health(wanted)).toEqual({ kind: 'ok' });
    expect((await draw(engine)).map((result) => result.kind)).toEqual(['text', 'text']);
    expect(engine.running()).toBe(0);
    await engine.close();
    expect(await isGone(engine.pid)).toBe(true);
    const log = await readFile(engine.logPath, 'utf8');
    expect(log).toContain('gpus 2,3 by PCI_BUS_ID, tp 2');
    expect(log).toContain('FAKE ENGINE');
    expect(log).toMatch(/^--- \d{4}-.*--model fake-judge$/m);
  });

  it('a crash is noticed at once and the supervisor starts the next server; its log goes on', async () => {
    const events = new Events();
    const changes: string[] = [];
    events.on('actor.changed', ({ to, reason }) => void changes.push(`${to} ${reason.split(';')[0]}`.trim()));
    const actor = openActor(
      {
        kind: 'engine',
        name: 'crash',
        gpus: [],
        concurrencyMax: 8,
        restartsMax: 3,
        start: (signal) => openManagedEngine(options('crash', { events }), signal),
      },
      { node: 'w-1', clock: systemClock, events, timing: { backoffBaseMs: 50 } },
    );
    const pids: number[] = [];
    for (let life = 0; life < 3; life++) {
      await until(() => actor.current() !== undefined, 'the engine serves');
      const engine = actor.current()!;
      pids.push(engine.pid);
      expect((await draw(engine)).map((result) => result.kind)).toEqual(['text', 'text']);
      if (life === 2) break;
      process.kill(engine.pid, 'SIGKILL');
      await until(() => actor.current() === undefined, 'the death is known');
      // What still asks the dead one is told to try again.
      expect((await draw(engine)).every((result) => result.kind === 'retryable' || result.kind === 'cancelled')).toBe(
        true,
      );
    }
    expect(new Set(pids).size).toBe(3);
    await actor.close();
    const lives = ['starting', 'alive', 'restarting signal SIGKILL'];
    expect(changes).toEqual([...lives, ...lives, 'starting', 'alive', 'draining drained', 'dead closed']);
    expect((await readFile(join(dir, 'crash.log'), 'utf8')).split('FAKE ENGINE').length).toBe(4);
    for (const pid of pids) expect(await isGone(pid)).toBe(true);
  });

  it('V1, X2: a server that ends before it is ready is told with its last words', async () => {
    const command = shell('echo loading {model}; echo "CUDA out of memory" >&2; exit 7');
    await expect(openManagedEngine(options('broken', { command }), wanted)).rejects.toThrow(
      /ended before it was ready: exit code 7; its last words: [^]*loading fake-judge[^]*CUDA out of memory/,
    );
    await expect(
      openManagedEngine(options('absent', { command: ['no-such-server', '{port}'] }), wanted),
    ).rejects.toThrow(/exit code 127; its last words: [^]*no-such-server: not found/);
  });

  it.each([
    // Long enough for a shell to say its number.
    ['late', 3_000, 60_000, 'was not ready within 3000 ms: '],
    ['called off', 60_000, 3_000, 'the start was called off'],
  ])('X2: a start that is %s leaves no process', async (name, readyTimeoutMs, abortMs, words) => {
    const command = shell('echo pid $$ {port}; exec sleep 1000');
    const start = openManagedEngine(options(`slow ${name}`, { command, readyTimeoutMs }), AbortSignal.timeout(abortMs));
    await expect(start).rejects.toThrow(words);
    const pid = Number(/pid (\d+)/.exec(await readFile(join(dir, `slow ${name}.log`), 'utf8'))![1]);
    expect(await isGone(pid)).toBe(true);
  });

  it('refuses a server whose model cannot be asked for', async () => {
    // Healthy, but no OpenAI-compatible server.
    const script = `require('http').createServer((q, s) => { s.statusCode = q.url === '/health' ? 200 : 404; s.end(); }).listen({port}, '127.0.0.1')`;
    const command = [process.execPath, '-e', script];
    await expect(openManagedEngine(options('other', { command }), wanted)).rejects.toThrow('does not list its models');
  });
});

describe('server process', () => {
  async function start(name: string, script: string, graceMs: number) {
    const log = await ServerLog.open(join(dir, `${name}.log`), () => undefined);
    const server = await startServer({ command: shell(script), env, gpus: [], log, graceMs });
    return { server, log };
  }
  const workers = (log: ServerLog): number[] => [...log.tail().matchAll(/worker (\d+)/g)].map(([, pid]) => Number(pid));

  it('V2: SIGTERM first; a server that obeys takes its workers with it', async () => {
    const { server, log } = await start(
      'kind',
      'sleep 1000 & echo worker $!; trap "echo bye; exit 3" TERM; wait',
      60_000,
    );
    await until(() => workers(log).length === 1, 'the worker runs');
    await server.stop();
    expect(await server.died).toMatch(/^exit code 3; [^]*bye$/);
    await until(() => isGone(workers(log)[0]!), 'the worker is gone');
    await server.stop();
    await log.close();
  });

  it('V2: a server deaf to SIGTERM is killed after the grace, workers and all', async () => {
    const script = 'trap "" TERM; sleep 1000 & echo worker $!; while :; do sleep 1000; done';
    const { server, log } = await start('deaf', script, 1_000);
    await until(() => workers(log).length === 1, 'the worker runs');
    await server.stop();
    expect(await server.died).toMatch(/^signal SIGKILL/);
    await until(() => isGone(workers(log)[0]!), 'the worker is gone');
    await log.close();
  });

  it.each([
    ['obeys', 'sleep 1000 & echo worker $!; wait'],
    ['is deaf to SIGTERM', 'trap "" TERM; sleep 1000 & echo worker $!; while :; do sleep 1000; done'],
  ])('V3: a server that %s does not outlive a parent that is killed', async (_how, script) => {
    const parent = spawn(
      process.execPath,
      [
        '--input-type=module',
        '-e',
        `import { ServerLog } from ${JSON.stringify(built('src/engine/server-log.js'))};
         import { startServer } from ${JSON.stringify(built('src/engine/server-process.js'))};
         const [path, script] = process.argv.slice(1);
         const log = await ServerLog.open(path, () => undefined);
         const command = ['/bin/sh', '-c', script];
         const server = await startServer({ command, env: process.env, gpus: [], log, graceMs: 300 });
         console.log('server', server.pid);
         setInterval(() => console.log(log.tail()), 50);`,
        join(dir, 'orphan.log'),
        script,
      ],
      { stdio: ['ignore', 'pipe', 'inherit'] },
    );
    let said = '';
    parent.stdout.on('data', (chunk: Buffer) => (said += chunk.toString()));
    await until(() => /server \d+/.test(said) && /worker \d+/.test(said), 'the server and its worker run');
    const pids = [/server (\d+)/, /worker (\d+)/].map((found) => Number(found.exec(said)![1]));
    expect(await Promise.all(pids.map(isGone))).toEqual([false, false]);
    parent.kill('SIGKILL');
    await until(async () => (await Promise.all(pids.map(isGone))).every(Boolean), 'both are gone');
  });
});

describe('findGpus', () => {
  async function smi(script: string): Promise<string> {
    const path = join(dir, `smi-${Math.abs(Buffer.from(script).readInt32BE(0))}-${script.length}`);
    await writeFile(path, `#!/bin/sh\n${script}\n`);
    await chmod(path, 0o755);
    return path;
  }
  const two = 'echo "$1 $2" >&2; echo "0, 81559, GPU-a, NVIDIA H100"; echo "1, 81559, GPU-b, NVIDIA H100"';

  it('reads what the program lists, less what is hidden', async () => {
    const program = await smi(two);
    expect(await findGpus(undefined, wanted, program)).toMatchObject({
      kind: 'gpus',
      gpus: [{ index: 0 }, { index: 1 }],
    });
    expect(await findGpus('GPU-b', wanted, program)).toMatchObject({ kind: 'gpus', gpus: [{ index: 1 }] });
    expect(await findGpus('', wanted, program)).toEqual({
      kind: 'none',
      reason: 'CUDA_VISIBLE_DEVICES= hides all 2 GPUs',
    });
  });

  it('finds none, with the reason, where the program is absent, fails, hangs or lists nothing', async () => {
    expect(await findGpus(undefined, wanted, '/no/such/nvidia-smi')).toEqual({
      kind: 'none',
      reason: 'there is no /no/such/nvidia-smi',
    });
    const failing = await findGpus(undefined, wanted, await smi('echo "driver mismatch" >&2; exit 9'));
    expect(failing).toMatchObject({ kind: 'none', reason: expect.stringContaining('driver mismatch') as string });
    expect((await findGpus(undefined, wanted, await smi('true'))).kind).toBe('none');
    expect((await findGpus(undefined, AbortSignal.timeout(200), await smi('exec sleep 1000'))).kind).toBe('none');
  });
});
