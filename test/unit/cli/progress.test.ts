import { PassThrough } from 'node:stream';
import { describe, expect, it } from 'vitest';
import { openProgress, type ProgressOptions } from '../../../src/cli/progress.js';
import { SimulatedClock } from '../../support/simulated-clock.js';

function opened(more: Partial<ProgressOptions> & { readonly terminal?: boolean } = {}) {
  const clock = new SimulatedClock();
  const stream = Object.assign(new PassThrough(), {
    isTTY: more.terminal === true,
    columns: 120,
    // What cli-progress asks of a terminal.
    cursorTo: () => true,
    clearLine: () => true,
    moveCursor: () => true,
  });
  let written = '';
  stream.on('data', (chunk: Buffer) => (written += chunk.toString()));
  const progress = openProgress({ mode: 'auto', what: 'scored', startAt: 0, total: 100, clock, stream, ...more });
  return { clock, progress, written: () => written };
}

describe('progress in a pipe', () => {
  it('is a plain line now and then, with rate and ETA', () => {
    const { clock, progress, written } = opened();
    clock.run(2_000);
    progress.update({ done: 10, invalid: 1, failed: 0 });
    expect(written()).toBe('');
    clock.run(5_000);
    expect(written()).toBe('scored 10/100  2.0/s  ETA 0:45  1 invalid\n');
    progress.end(true);
    expect(clock.pending).toBe(0);
  });

  it('shows that it is alive while nothing gets done', () => {
    const { clock, written } = opened();
    clock.run(10_500);
    expect(written()).toBe('scored 0/100  0.0/s  ETA -\nscored 0/100  0.0/s  ETA -\n');
  });

  it('speaks seldom after the first minute', () => {
    const { clock, written } = opened();
    clock.run(60_000);
    expect(written().split('\n').length - 1).toBe(12);
    clock.run(3_660_000);
    expect(written().split('\n').length - 1).toBe(12 + 120);
  });

  it('has no ETA without a total, and tells failures', () => {
    const { clock, progress, written } = opened({ total: undefined });
    progress.update({ done: 3, invalid: 0, failed: 2 });
    clock.run(5_000);
    expect(written()).toBe('scored 3/?  0.6/s  ETA -  2 failed\n');
  });

  it('ends with the last state once, or with nothing where an error follows', () => {
    const whole = opened();
    whole.progress.update({ done: 100, invalid: 0, failed: 0 });
    whole.progress.end(true);
    whole.progress.end(true);
    expect(whole.written()).toBe('scored 100/100  0.0/s  ETA -\n');
    const broken = opened();
    broken.progress.end(false);
    expect(broken.written()).toBe('');
  });

  it('does not count an earlier run into the rate', () => {
    const { clock, progress, written } = opened({ startAt: 90 });
    progress.update({ done: 95, invalid: 0, failed: 0 });
    clock.run(5_000);
    expect(written()).toBe('scored 95/100  1.0/s  ETA 0:05\n');
  });
});

describe('progress as JSON', () => {
  it('is one object a line', () => {
    const { clock, progress, written } = opened({ mode: 'json', terminal: true });
    progress.update({ done: 10, invalid: 1, failed: 2 });
    clock.run(5_000);
    expect(
      written()
        .split('\n')
        .slice(0, -1)
        .map((line): unknown => JSON.parse(line)),
    ).toEqual([
      {
        event: 'progress',
        what: 'scored',
        done: 10,
        total: 100,
        invalid: 1,
        failed: 2,
        unfinished: 0,
        rate_per_second: 2,
        eta_seconds: 45,
      },
    ]);
  });

  it('says null for what is not known', () => {
    const { clock, written } = opened({ mode: 'json', total: undefined });
    clock.run(5_000);
    expect(JSON.parse(written())).toMatchObject({ total: null, eta_seconds: null, rate_per_second: 0 });
  });
});

describe('progress on a terminal', () => {
  it('is a bar that stands there at once, with rate and ETA', () => {
    const { clock, progress, written } = opened({ terminal: true });
    expect(written()).toContain('0/100  0.0/s  ETA -');
    progress.update({ done: 50, invalid: 2, failed: 0 });
    clock.run(5_000);
    progress.end(true);
    expect(written()).toContain('50/100  10.0/s  ETA 0:05  2 invalid');
    expect(clock.pending).toBe(0);
  });

  it('does not look finished while the total is not known', () => {
    const { clock, progress, written } = opened({ terminal: true, total: undefined });
    progress.update({ done: 50, invalid: 0, failed: 0 });
    clock.run(1_000);
    progress.end(true);
    expect(written()).toContain('50/?');
    expect(written()).not.toContain('█');
  });
});

it('can be nothing at all', () => {
  const { clock, progress, written } = opened({ mode: 'none' });
  progress.update({ done: 1, invalid: 0, failed: 0 });
  clock.run(60_000);
  progress.end(true);
  expect(written()).toBe('');
});
