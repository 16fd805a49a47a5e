import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { fault, FaultError } from '../../../src/fault.js';
import { limits } from '../../../src/limits.js';
import { clockRefusal, ServerTime, skewText, type ClockState, type Reading } from '../../../src/queue/server-time.js';
import { keepTime } from '../../../src/queue/time-keeper.js';
import { virtualClock } from '../../support/virtual-clock.js';

const serverAheadMs = 7_200_000;

/** A machine whose clock is `skewMs` ahead of the world's, and a server that is two hours ahead of it. */
function machine(skewMs = 0) {
  const world = virtualClock();
  const system = { skewMs };
  const server = { aheadMs: serverAheadMs };
  const time = new ServerTime({ base: world, systemNow: () => world.now() + system.skewMs });
  const serverNow = (): number => world.now() + server.aheadMs;
  /** A reading that is off by `offMs`, within its error. */
  const reading = (errorMs: number, offMs = 0): Reading => ({
    serverMs: serverNow() + offMs,
    steadyMs: world.steadyNow(),
    errorMs,
  });
  return { world, system, server, time, serverNow, reading };
}

describe('server time', () => {
  test('C3: before the first reading it is the clock of the machine, and says so', () => {
    const { world, time } = machine(-5_000);
    expect(time.now()).toBe(world.now() - 5_000);
    expect(time.state()).toMatchObject({ kind: 'unread' });
    time.failed({ kind: 'denied', why: 'no right' });
    expect(time.state()).toEqual({ kind: 'denied', why: 'no right' });
  });

  test('C1: after a reading it is the server’s, whatever the clock of the machine says or is set to', async () => {
    const { world, system, time, serverNow, reading } = machine(3_600_000);
    time.take(reading(1));
    for (const skewMs of [3_600_000, 0, -600_000, 86_400_000]) {
      system.skewMs = skewMs;
      await world.advance(1_000);
      expect(time.now()).toBe(serverNow());
      expect(time.state()).toMatchObject({ kind: 'read', skewMs: skewMs - serverAheadMs });
    }
  });

  test('C2: the more exact of readings that agree counts, until it is old', async () => {
    const { world, time, serverNow, reading } = machine();
    time.take(reading(100, 80));
    expect(time.now() - serverNow()).toBe(80);
    time.take(reading(5, -4));
    expect(time.now() - serverNow()).toBe(-4);
    time.take(reading(100, 80));
    expect(time.now() - serverNow()).toBe(-4);
    // Half a second in a thousand, for ten minutes: 300 ms.
    await world.advance(600_000);
    time.take(reading(100, 80));
    expect(time.now() - serverNow()).toBe(80);
  });

  test('C2: a reading that contradicts what is known holds at once: the server’s clock was set, or this machine slept', () => {
    const { server, time, serverNow, reading } = machine();
    time.take(reading(2));
    for (const byMs of [600_000, -1_200_000]) {
      server.aheadMs += byMs;
      time.take(reading(50));
      expect(time.now()).toBe(serverNow());
    }
  });

  test('property: it is never further from the server’s clock than the error that it tells, if none was set', () => {
    const readings = fc.array(
      fc.record({
        afterMs: fc.integer({ min: 0, max: 300_000 }),
        errorMs: fc.integer({ min: 1, max: 3_000 }),
        share: fc.double({ min: -1, max: 1, noNaN: true }),
      }),
      { minLength: 1, maxLength: 20 },
    );
    fc.assert(
      fc.property(readings, fc.integer({ min: -400, max: 400 }), (each, driftPpm) => {
        let steadyMs = 1_000_000;
        const serverNow = (): number => 2 ** 40 + steadyMs * (1 + driftPpm / 1_000_000);
        const base = { steadyNow: () => steadyMs, after: () => () => undefined };
        const time = new ServerTime({ base, systemNow: () => 0 });
        for (const { afterMs, errorMs, share } of each) {
          steadyMs += afterMs;
          time.take({ serverMs: serverNow() + errorMs * share, steadyMs, errorMs });
          const state = time.state();
          if (state.kind !== 'read') throw new Error('it was read');
          // Whole milliseconds.
          expect(Math.abs(time.now() - serverNow())).toBeLessThanOrEqual(state.errorMs + 1);
        }
      }),
    );
  });

  test('work is refused before the first reading and beyond the bound, in words; not for want of the right to read', () => {
    const bound = 86_400_000;
    expect(clockRefusal({ kind: 'unread', why: 'no answer' }, bound)).toBe('the time of NATS is not known: no answer');
    expect(clockRefusal({ kind: 'denied', why: 'no right' }, bound)).toBeUndefined();
    for (const skewMs of [0, bound, -bound]) {
      expect(clockRefusal({ kind: 'read', skewMs, errorMs: 1 }, bound)).toBeUndefined();
    }
    expect(clockRefusal({ kind: 'read', skewMs: bound + 1, errorMs: 1 }, bound)).toMatch(/24\.0 h ahead of NATS's/);
    expect(clockRefusal({ kind: 'read', skewMs: -(2 ** 41), errorMs: 1 }, bound)).toMatch(/days behind NATS's/);
    expect([3, -1_500, 180_000, -7_200_000].map(skewText)).toEqual([
      '3 ms ahead of',
      '1.5 s behind',
      '3.0 min ahead of',
      '2.0 h behind',
    ]);
  });
});

describe('time keeper', () => {
  function kept(read: (at: ReturnType<typeof machine>) => Promise<Reading>, skewMs = 0) {
    const at = machine(skewMs);
    const heard: ClockState[] = [];
    let reads = 0;
    const keeper = keepTime({
      time: at.time,
      read: () => {
        reads++;
        return read(at);
      },
      clock: at.world,
      hear: (state) => void heard.push(state),
    });
    return { ...at, keeper, heard, reads: () => reads };
  }
  const exact = (at: ReturnType<typeof machine>) => Promise.resolve(at.reading(1));

  test('TK1: reads a few times in a row until a reading is exact, and the best counts', async () => {
    const errors = [40, 9, 60, 20, 30];
    const inexact = kept((at) => Promise.resolve(at.reading(errors.shift() ?? 99)));
    await inexact.world.until(inexact.keeper.begun, 10);
    expect(inexact.reads()).toBe(5);
    expect(inexact.time.state()).toMatchObject({ errorMs: 9 });
    const quick = kept(exact);
    await quick.world.until(quick.keeper.begun, 10);
    expect(quick.reads()).toBe(1);
    for (const { keeper } of [inexact, quick]) keeper.close();
  });

  test('TK2: reads again every clockReadEveryMs, after a reconnect, and when the machine’s clock jumps; and no more when it is closed', async () => {
    const { world, system, server, keeper, reads, time, serverNow, heard } = kept(exact);
    await world.until(keeper.begun, 10);
    await world.advance(limits.clockReadEveryMs - 2_000);
    expect(reads()).toBe(1);
    await world.advance(2_000);
    expect(reads()).toBe(2);
    keeper.again();
    await world.settle();
    expect(reads()).toBe(3);
    // Somebody sets the machine's clock, or it slept, and by its steady clock no time has passed.
    system.skewMs += 90_000;
    server.aheadMs += 90_000;
    await world.advance(1_000);
    expect(reads()).toBe(4);
    expect(time.now()).toBe(serverNow());
    // What changes between readings is heard of all the same.
    expect(heard.length).toBeGreaterThan(limits.clockReadEveryMs / 1_000 - 2);
    keeper.close();
    await world.advance(10 * limits.clockReadEveryMs);
    expect(reads()).toBe(4);
    expect(world.waiting()).toBe(0);
  });

  test('TK2: tries again each second while NATS does not answer, and seldom when it does not allow it', async () => {
    let answers = false;
    const away = kept((at) =>
      answers ? exact(at) : Promise.reject(new FaultError(fault('queue_unavailable', 'NATS is away'))),
    );
    await away.world.until(away.keeper.begun, 10);
    expect(away.heard.at(-1)).toEqual({ kind: 'unread', why: 'NATS is away' });
    await away.world.advance(5_000);
    expect(away.reads()).toBe(6);
    answers = true;
    await away.world.advance(1_000);
    expect(away.heard.at(-1)).toMatchObject({ kind: 'read' });
    // What is known stays while NATS is away again.
    answers = false;
    await away.world.advance(10 * limits.clockReadEveryMs);
    expect(away.time.now()).toBe(away.serverNow());
    expect(away.heard.at(-1)).toMatchObject({ kind: 'read' });
    away.keeper.close();

    const denied = kept(() => Promise.reject(new FaultError(fault('permission_denied', 'no right'))));
    await denied.world.until(denied.keeper.begun, 10);
    await denied.world.advance(limits.clockReadEveryMs);
    expect(denied.reads()).toBe(1);
    expect(denied.heard.at(-1)).toEqual({ kind: 'denied', why: 'no right' });
    denied.keeper.close();
  });
});
