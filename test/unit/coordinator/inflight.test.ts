import { expect, test } from 'vitest';
import { fault } from '../../../src/fault.js';
import type { Run } from '../../../src/coordinator/run.js';
import type { Caller, ScoreOutcome } from '../../../src/coordinator/coordinator.js';
import { Inflight } from '../../../src/coordinator/inflight.js';
import { limits } from '../../../src/limits.js';
import { scored } from '../../support/judgement.js';
import { virtualClock } from '../../support/virtual-clock.js';
import { aVerdict } from '../../support/work-values.js';

const answer: ScoreOutcome = { kind: 'verdict', verdict: aVerdict('r') };

/** One run that the test ends, on an Inflight of its own. It ends by itself when it is stopped. */
function one(lingerMs = 2_000) {
  const clock = virtualClock();
  const inflight = new Inflight(clock, lingerMs);
  let run: Run | undefined;
  let end: (outcome: ScoreOutcome) => void = () => undefined;
  inflight.start('r', 'digest', (given) => {
    run = given;
    return new Promise((resolve) => {
      end = resolve;
      given.signal.addEventListener('abort', () =>
        resolve({ kind: 'fault', fault: fault('cancelled', String(given.signal.reason)) }),
      );
    });
  });
  if (!run) throw new Error('the run starts at once');
  const caller = (more: Partial<Caller> = {}): Caller => ({
    deadlineAtMs: Infinity,
    signal: new AbortController().signal,
    ...more,
  });
  return { clock, inflight, run, end: (outcome: ScoreOutcome) => end(outcome), caller };
}

test('I1: one run per request id, however many callers, and one answer for all', async () => {
  const { inflight, end, caller } = one();
  expect(() => inflight.start('r', 'digest', () => Promise.resolve(answer))).toThrow('I1');
  expect(inflight.digest('r')).toBe('digest');
  const callers = [1, 2, 3].map(() => inflight.join('r', caller()));
  end(answer);
  expect(await Promise.all(callers)).toEqual([answer, answer, answer]);
  expect(inflight.size).toBe(0);
  expect(await inflight.join('r', caller())).toMatchObject({ kind: 'fault', fault: { kind: 'not_found' } });
});

test('I2: the last caller leaves, the run lingers, a retry saves it; without one it is cancelled', async () => {
  const { clock, inflight, run, caller } = one(2_000);
  const [a, b] = [new AbortController(), new AbortController()];
  const first = inflight.join('r', caller({ signal: a.signal }));
  const second = inflight.join('r', caller({ signal: b.signal }));
  a.abort();
  expect(await first).toMatchObject({ kind: 'fault', fault: { kind: 'cancelled' } });
  await clock.advance(60_000);
  expect(run.signal.aborted).toBe(false);
  b.abort();
  await second;
  await clock.advance(1_999);
  expect(run.signal.aborted).toBe(false);
  const c = new AbortController();
  const third = inflight.join('r', caller({ signal: c.signal }));
  await clock.advance(60_000);
  expect(run.signal.aborted).toBe(false);
  c.abort();
  await third;
  await clock.advance(2_000);
  expect(run.signal).toMatchObject({ aborted: true, reason: 'cancelled' });
  expect(inflight.size).toBe(0);
  expect(clock.waiting()).toBe(0);
});

test('I2: a run without callers from the start is never cancelled for want of them', async () => {
  const { clock, run } = one(10);
  await clock.advance(3_600_000);
  expect(run.signal.aborted).toBe(false);
});

test('I4: a cancelled run that is not over is waited for, and not joined; one that runs is', async () => {
  const clock = virtualClock();
  const inflight = new Inflight(clock, 1_000);
  let end: () => void = () => undefined;
  const gone: ScoreOutcome = { kind: 'fault', fault: fault('cancelled', 'of the first caller') };
  inflight.start('r', 'digest', () => new Promise((resolve) => (end = () => resolve(gone))));
  const patient: Caller = { deadlineAtMs: Infinity, signal: new AbortController().signal };
  expect(inflight.passing('r', patient)).toBeUndefined();
  inflight.cancel('r');
  const waits = inflight.passing('r', patient);
  const hasty = inflight.passing('r', { ...patient, deadlineAtMs: clock.now() + 500 });
  await clock.advance(500);
  expect(await hasty).toMatchObject({ kind: 'fault', fault: { kind: 'deadline_exceeded' } });
  end();
  expect(await waits).toBeUndefined();
  expect(inflight.has('r')).toBe(false);
  expect(inflight.passing('r', patient)).toBeUndefined();
  expect(clock.waiting()).toBe(0);
});

test('a deadline ends the wait of its caller alone', async () => {
  const { clock, inflight, end, caller } = one();
  const hasty = inflight.join('r', caller({ deadlineAtMs: clock.now() + 500 }));
  const patient = inflight.join('r', caller({ deadlineAtMs: clock.now() + 5_000 }));
  await clock.advance(500);
  expect(await hasty).toMatchObject({ kind: 'fault', fault: { kind: 'deadline_exceeded' } });
  end(answer);
  expect(await patient).toBe(answer);
  expect(clock.waiting()).toBe(0);
});

test('a caller that had gone before it came is answered at once', async () => {
  const { inflight, caller } = one();
  expect(await inflight.join('r', caller({ signal: AbortSignal.abort() }))).toMatchObject({
    fault: { kind: 'cancelled' },
  });
});

test('each caller sees each sample once, also those from before it came', async () => {
  const { inflight, run, end, caller } = one();
  const early: number[] = [];
  const late: number[] = [];
  const first = inflight.join('r', caller({ onSample: ({ sample }) => void early.push(sample.index) }));
  run.onSample(scored(0, [1, 2]));
  run.onSample(scored(1, [1, 2]));
  run.onSample(scored(0, [1, 2]));
  const second = inflight.join('r', caller({ onSample: ({ sample }) => void late.push(sample.index) }));
  run.onSample(scored(2, [1, 2]));
  end(answer);
  await Promise.all([first, second]);
  run.onSample(scored(3, [1, 2]));
  expect(early).toEqual([0, 1, 2]);
  expect(late).toEqual([0, 1, 2]);
});

test('P4: callers of one request are bounded', async () => {
  const { inflight, end, caller } = one();
  const waiting = Array.from({ length: limits.waitersMax }, () => inflight.join('r', caller()));
  expect(await inflight.join('r', caller())).toMatchObject({ kind: 'fault', fault: { kind: 'overloaded' } });
  end(answer);
  expect((await Promise.all(waiting)).every((outcome) => outcome === answer)).toBe(true);
});

test('drained: resolves when nothing runs, and abandons what is left after the grace', async () => {
  const { clock, inflight, run, end } = one();
  inflight.start('quick', 'digest', () => Promise.resolve(answer));
  let over = false;
  const drained = inflight.drained(1_000).then(() => (over = true));
  await clock.advance(999);
  expect(over).toBe(false);
  await clock.advance(1);
  await drained;
  expect(run.signal).toMatchObject({ aborted: true, reason: 'abandoned' });
  expect(inflight.size).toBe(0);

  const again = one();
  const soon = again.inflight.drained(60_000);
  again.end(answer);
  await soon;
  expect(again.clock.waiting()).toBe(0);
  end(answer);
});

test('cancel: only what runs here', () => {
  const { inflight, run } = one();
  expect(inflight.cancel('other')).toBe(false);
  expect(inflight.cancel('r')).toBe(true);
  expect(run.signal.reason).toBe('cancelled');
});

test('ticks and reconnects reach those who registered, until they end it', () => {
  const { inflight, run } = one();
  const heard: string[] = [];
  const stop = run.onTick((why) => void heard.push(why));
  inflight.tick('tick');
  inflight.tick('reconnected');
  stop();
  inflight.tick('tick');
  expect(heard).toEqual(['tick', 'reconnected']);
});

test('the oldest run, for the janitor', async () => {
  const { clock, inflight, end } = one();
  const startedAtMs = clock.now();
  await clock.advance(500);
  expect(inflight.oldestAtMs()).toBe(startedAtMs);
  end(answer);
  await clock.settle();
  expect(inflight.oldestAtMs()).toBe(clock.now());
});
