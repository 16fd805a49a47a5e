import { mkdtemp, readFile, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { Service, type ServicePlan } from '../../../src/cli/service.js';
import { fragileService } from '../../support/fragile-service.js';
import { isGone, until } from '../../support/processes.js';

let logDir: string;
let script: string;
const services: Service[] = [];
beforeEach(async () => {
  logDir = await mkdtemp(join(tmpdir(), 'grm-service-'));
  script = await fragileService(logDir);
});
afterEach(async () => {
  await Promise.all(services.splice(0).map((each) => each.stop(0)));
  await rm(logDir, { recursive: true });
});

function service(how: string, more: Partial<ServicePlan> = {}) {
  const told: string[] = [];
  const made = new Service(
    {
      name: how,
      script,
      args: () => [how],
      env: { PATH: process.env.PATH },
      restarts: { pausesMs: [10], max: 2 },
      ...more,
    },
    {
      logDir,
      onStarted: () => told.push('started'),
      onReady: (_, ready) => told.push(`ready ${ready.http}`),
      onNews: () => told.push('news'),
      onLog: () => undefined,
      onEnded: (_, reason, againInMs) => told.push(`${reason} ${againInMs ?? 'lost'}`),
    },
  );
  services.push(made);
  return { made, told };
}

describe('a service', () => {
  it('S2: is started again when it ends, and is lost when it ends all the time', async () => {
    const { made, told } = service('crash');
    expect(await made.start()).toMatchObject({ http: '127.0.0.1:0' });
    await until(() => told.at(-1)?.endsWith('lost') === true, 'it is lost');
    const life = ['started', 'ready 127.0.0.1:0'];
    const end = 'exit code 7: it burns';
    expect(told).toEqual([...life, `${end} 10`, ...life, `${end} 10`, ...life, `${end} lost`]);
    expect(made.exitCode).toBe(7);
  });

  it('S2: is started again where it was', async () => {
    const seen: (string | undefined)[] = [];
    const { made, told } = service('well', {
      args: (before) => {
        seen.push(before?.http);
        return ['well', '4711'];
      },
    });
    await made.start();
    process.kill(made.pid!, 'SIGKILL');
    await until(() => told.filter((each) => each.startsWith('ready')).length === 2, 'it is there again');
    expect(seen).toEqual([undefined, '127.0.0.1:4711']);
    expect(told).toContain('signal SIGKILL 10');
  });

  it('that cannot start says why, with the code of its end, and is not tried again', async () => {
    const { made, told } = service('crash-first');
    await expect(made.start()).rejects.toMatchObject({
      message: `crash-first did not start (exit code 3):\n  cannot start: no luck\n  log: ${logDir}/crash-first.log`,
      code: 3,
    });
    expect(told).toEqual(['started']);
    expect(await readFile(join(logDir, 'crash-first.log'), 'utf8')).toContain('no luck');
  });

  it('S3: is gone when it was stopped, at its own pace', async () => {
    const { made, told } = service('late-end');
    await made.start();
    const pid = made.pid!;
    await made.stop(60_000);
    expect(await isGone(pid)).toBe(true);
    expect(made.exitCode).toBe(4);
    expect(told).toHaveLength(2);
  });

  it('S3: is killed when it does not heed', async () => {
    const { made } = service('deaf');
    await made.start();
    const pid = made.pid!;
    await made.stop(100);
    expect(await isGone(pid)).toBe(true);
  });

  it('S3: stopped while it starts, it is gone, and its start has failed', async () => {
    const { made } = service('silent');
    const starting = made.start();
    starting.catch(() => undefined);
    await until(() => made.lastLine === 'this is silent', 'it runs');
    const pid = made.pid!;
    await made.stop(60_000);
    expect(await isGone(pid)).toBe(true);
    await expect(starting).rejects.toThrow('silent did not start (exit code 0)');
  });

  it('S3: stopped before it has a process, it gets none', async () => {
    const { made, told } = service('well');
    const starting = made.start();
    starting.catch(() => undefined);
    await made.stop(60_000);
    await expect(starting).rejects.toThrow('not wanted any more');
    expect(told).toEqual([]);
  });

  it('is not started again after a stop that came in its pause', async () => {
    const { made, told } = service('crash', { restarts: { pausesMs: [300], max: 5 } });
    await made.start();
    await until(() => told.at(-1)?.endsWith(' 300') === true, 'it pauses');
    await made.stop(0);
    await new Promise((resolve) => setTimeout(resolve, 500));
    expect(told.filter((each) => each === 'started')).toHaveLength(1);
  });
});
