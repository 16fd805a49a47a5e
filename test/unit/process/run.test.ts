import { EventEmitter, once } from 'node:events';
import { describe, expect, it } from 'vitest';
import { fault, FaultError } from '../../../src/fault.js';
import { openLog } from '../../../src/observe/log.js';
import { exitCodes, runProcess, type Running, type RunOptions } from '../../../src/process/run.js';

function setUp(open: RunOptions['open']) {
  const lines: string[] = [];
  const exits: number[] = [];
  const process = new EventEmitter();
  const done = runProcess({
    name: 'p',
    open,
    log: openLog({
      level: 'debug',
      format: 'json',
      texts: false,
      name: 'p',
      destination: { write: (line) => void lines.push(line) },
    }),
    exit: (code) => void exits.push(code),
    events: process,
  });
  const said = (text: string): boolean => lines.some((line) => line.includes(text));
  return { process, done, exits, lines, said, started: () => expect.poll(() => said('started')).toBe(true) };
}

const live = (more: Partial<Running> = {}): Running => ({ closeMs: 5_000, close: () => Promise.resolve(), ...more });
const never = new Promise<never>(() => undefined);

describe('runProcess', () => {
  it.each(['SIGTERM', 'SIGINT'])('R1: the first %s closes gracefully and exits with 0', async (signal) => {
    let closed = 0;
    const run = setUp(() => Promise.resolve(live({ close: () => Promise.resolve(void (closed += 1)) })));
    await run.started();
    run.process.emit(signal);
    expect(await run.done).toBe(exitCodes.ok);
    expect([closed, run.exits]).toEqual([1, [0]]);
  });

  it.each([
    ['SIGINT', exitCodes.interrupted],
    ['SIGTERM', exitCodes.terminated],
  ])('R1: the second signal, %s, ends at once with %i', async (signal, code) => {
    const run = setUp(() => Promise.resolve(live({ close: () => never, closeMs: 60_000 })));
    await run.started();
    run.process.emit('SIGTERM');
    run.process.emit(signal);
    expect(await run.done).toBe(code);
    expect(run.exits).toEqual([code]);
  });

  it('R1: told to stop while opening, it aborts the opening and exits with 0', async () => {
    const run = setUp(async (signal) => {
      await once(signal, 'abort');
      throw new Error('gave up');
    });
    run.process.emit('SIGTERM');
    expect(await run.done).toBe(exitCodes.ok);
    expect(run.said('cannot start')).toBe(false);
  });

  it('R1: an opening that ends well after the order to stop is closed again', async () => {
    let closed = false;
    const run = setUp(async (signal) => {
      await once(signal, 'abort');
      return live({ close: () => Promise.resolve(void (closed = true)) });
    });
    run.process.emit('SIGTERM');
    expect(await run.done).toBe(exitCodes.ok);
    expect(closed).toBe(true);
  });

  it('R2: a closing that outlasts its bound ends with its own code', async () => {
    const run = setUp(() => Promise.resolve(live({ close: () => never, closeMs: 20 })));
    await run.started();
    run.process.emit('SIGTERM');
    expect(await run.done).toBe(exitCodes.graceOver);
    expect(run.said('still busy')).toBe(true);
  });

  it.each(['unhandledRejection', 'uncaughtException'])(
    'R3: %s is logged and ends the process with 1',
    async (event) => {
      const run = setUp(() => Promise.resolve(live({ close: () => never })));
      await run.started();
      run.process.emit(event, new Error('stray'));
      expect(await run.done).toBe(exitCodes.failure);
      expect(run.said('"fatal"') && run.said('stray')).toBe(true);
    },
  );

  it('R4: exits once, and leaves no listener behind', async () => {
    const run = setUp(() => Promise.resolve(live()));
    await run.started();
    run.process.emit('SIGTERM');
    run.process.emit('SIGTERM');
    run.process.emit('unhandledRejection', new Error('late'));
    await run.done;
    expect(run.exits).toHaveLength(1);
    expect(run.process.eventNames()).toEqual([]);
  });

  it.each([
    [new Error('bad'), exitCodes.failure],
    [new FaultError(fault('queue_unavailable', 'NATS is away')), exitCodes.unavailable],
    [new FaultError(fault('failed_precondition', 'no')), exitCodes.failure],
  ])('tells why it could not start: %s exits with %i', async (error, code) => {
    const run = setUp(() => Promise.reject(error));
    expect(await run.done).toBe(code);
    expect(run.said('cannot start') && run.said(error.message)).toBe(true);
  });

  it('closes and exits with 0 when it ends by itself, with 1 when that fails, also when closing does', async () => {
    expect(await setUp(() => Promise.resolve(live({ ended: Promise.resolve() }))).done).toBe(exitCodes.ok);
    expect(await setUp(() => Promise.resolve(live({ ended: Promise.reject(new Error('x')) }))).done).toBe(
      exitCodes.failure,
    );
    const closing = live({ ended: Promise.resolve(), close: () => Promise.reject(new Error('y')) });
    expect(await setUp(() => Promise.resolve(closing)).done).toBe(exitCodes.failure);
  });

  it('speaks through the log of what it opened', async () => {
    const own: string[] = [];
    const log = openLog({
      level: 'info',
      format: 'json',
      texts: false,
      name: 'own',
      destination: { write: (line) => void own.push(line) },
    });
    const run = setUp(() => Promise.resolve(live({ ended: Promise.resolve(), log })));
    await run.done;
    expect(own.join('')).toMatch(/"own".*started/);
    expect(run.lines.join('')).not.toContain('started');
  });
});
