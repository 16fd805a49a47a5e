import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { actorTimingDefaults, openActor, type Actor } from '../../../src/actor/actor.js';
import { UnfitModel } from '../../../src/engine/engine.js';
import { Events } from '../../../src/observe/events.js';
import { testSpec, type TestRunning, type TestSpec } from '../../support/fake-running.js';
import { virtualClock, type VirtualClock } from '../../support/virtual-clock.js';

interface Stage {
  readonly clock: VirtualClock;
  readonly spec: TestSpec;
  readonly actor: Actor<TestRunning>;
  /** "from>to" of every change. */
  readonly changes: string[];
  readonly troubles: string[];
}

function stage(spec = testSpec()): Stage {
  const clock = virtualClock();
  const events = new Events();
  const changes: string[] = [];
  const troubles: string[] = [];
  events.on('actor.changed', ({ from, to }) => void changes.push(`${from}>${to}`));
  events.on('trouble', ({ where, error }) => void troubles.push(`${where}: ${(error as Error).message}`));
  return { clock, spec, changes, troubles, actor: openActor(spec, { node: 'w-1', clock, events }) };
}

async function alive(spec = testSpec()): Promise<Stage> {
  const made = stage(spec);
  await made.clock.settle();
  expect(made.actor.current()?.number).toBe(0);
  return made;
}

describe('actor', () => {
  it('starts, serves, closes', async () => {
    const { actor, clock, changes, spec } = stage();
    expect(actor.state().kind).toBe('pending');
    expect(actor.current()).toBe(undefined);
    await clock.settle();
    expect(actor.id).toBe('w-1.engine0');
    expect(actor.current()).toBe(spec.made[0]);
    await actor.close();
    expect(actor.current()).toBe(undefined);
    expect(changes).toEqual(['pending>starting', 'starting>alive', 'alive>draining', 'draining>dead']);
    expect(spec.made.map((made) => made.closes)).toEqual([1]);
    expect(clock.waiting()).toBe(0);
  });

  it('A2: a death takes it out of service at once; it comes back after the back-off', async () => {
    const { actor, clock, changes, spec } = await alive();
    spec.made[0]!.die('exit code 1');
    await clock.settle();
    expect(actor.current()).toBe(undefined);
    expect(actor.state()).toMatchObject({ kind: 'restarting', reason: 'exit code 1' });
    expect(spec.made[0]!.closes).toBe(1);
    await clock.advance(499);
    expect(actor.state().kind).toBe('restarting');
    await clock.advance(501);
    expect(actor.current()?.number).toBe(1);
    expect(changes.slice(2)).toEqual(['alive>restarting', 'restarting>starting', 'starting>alive']);
    await actor.close();
  });

  it('S1: gives up after restartsMax failures in a row and says why', async () => {
    const spec = testSpec({ restartsMax: 2 });
    spec.next = ['fail', 'fail', 'fail', 'up'];
    const { actor, clock } = stage(spec);
    await clock.advance(600_000);
    expect(spec.starts).toBe(3);
    expect(actor.state()).toMatchObject({ kind: 'dead', reason: 'given up after 2 restarts: no such model' });
    await actor.close();
    expect(actor.state().kind).toBe('dead');
  });

  it('A5: does not try again what can never come up', async () => {
    const refused = new UnfitModel('cannot rank');
    const { actor, clock, changes } = stage({ ...testSpec(), restartsMax: -1, start: () => Promise.reject(refused) });
    await clock.advance(600_000);
    expect(actor.state()).toMatchObject({ kind: 'dead', reason: 'cannot rank', starts: 1 });
    expect(changes).toEqual(['pending>starting', 'starting>dead']);
    await actor.close();
  });

  it('S3: crashes with stable times between them never end it', async () => {
    const { actor, clock, spec } = await alive(testSpec({ restartsMax: 1 }));
    for (let crash = 0; crash < 5; crash++) {
      await clock.advance(actorTimingDefaults.stableMs);
      spec.made[crash]!.die('crash');
      await clock.advance(1_000);
      expect(actor.current()?.number).toBe(crash + 1);
    }
    await actor.close();
  });

  it.each([
    ['that fail', { kind: 'failing', reason: 'engine dead' }, 'engine dead', 3 * 10_000],
    ['that throw', 'throws', 'connection refused', 3 * 10_000],
    ['without an answer', 'silent', 'no answer in 30000 ms', 3 * (10_000 + 30_000)],
  ] as const)('three health checks %s restart it, two do not', async (_how, health, words, untilMs) => {
    const { actor, clock, spec } = await alive();
    spec.health = health;
    await clock.advance(untilMs - 1);
    expect(actor.current()?.number).toBe(0);
    await clock.advance(1);
    expect(actor.state()).toMatchObject({ kind: 'restarting', reason: `3 health checks failed: ${words}` });
    expect(spec.made[0]!.closes).toBe(1);
    await actor.close();
  });

  it('a health check that passes forgives the failures before it', async () => {
    const { actor, clock, spec } = await alive();
    for (let round = 0; round < 4; round++) {
      spec.health = { kind: 'failing', reason: 'busy' };
      await clock.advance(20_000);
      spec.health = { kind: 'ok' };
      await clock.advance(10_000);
    }
    expect(actor.current()?.number).toBe(0);
    await actor.close();
  });

  it('A4: a start that takes too long is stopped and counts as failed', async () => {
    const spec = testSpec();
    spec.next = ['stuck'];
    const { actor, clock } = stage(spec);
    await clock.advance(actorTimingDefaults.startTimeoutMs);
    expect(actor.state()).toMatchObject({ kind: 'restarting', reason: 'did not come up within 1800000 ms' });
    await clock.advance(1_000);
    expect(actor.current()?.number).toBe(0);
    await actor.close();
  });

  it('A4: a start deaf to its signal is left behind with a report, and closed when it comes up after all', async () => {
    const spec = testSpec();
    spec.next = ['deaf'];
    const { actor, clock, troubles } = stage(spec);
    await clock.settle();
    const closed = actor.close();
    await clock.advance(actorTimingDefaults.closeTimeoutMs);
    await closed;
    expect(troubles).toEqual(['actor w-1.engine0: start: did not stop when told; left behind']);
    spec.release();
    await clock.settle();
    expect(spec.made.map((made) => made.closes)).toEqual([1]);
  });

  it.each([
    ['stuck', 'not closed after 30000 ms; left behind'],
    ['throws', 'close failed'],
  ] as const)('A4: a close that is %s is reported and does not stop the restart', async (closing, words) => {
    const { actor, clock, spec, troubles } = await alive();
    spec.closing = closing;
    spec.made[0]!.die('crash');
    await clock.advance(40_000);
    expect(troubles).toEqual([`actor w-1.engine0: close: ${words}`]);
    expect(actor.current()?.number).toBe(1);
    spec.closing = 'well';
    await actor.close();
  });

  it('P6: draining keeps the resource for the work that runs and offers it to no new work; a resume takes it back', async () => {
    const { actor, clock, spec } = await alive();
    actor.drain();
    actor.drain();
    expect(actor.current()).toBe(undefined);
    expect(actor.held()).toBe(spec.made[0]);
    await clock.advance(60_000);
    actor.resume();
    expect(actor.current()).toBe(spec.made[0]);
    await actor.close();
  });

  it('a resource that dies while draining waits for the resume', async () => {
    const { actor, clock, spec } = await alive();
    actor.drain();
    spec.made[0]!.die('exit code 1');
    await clock.advance(600_000);
    expect(actor.state()).toMatchObject({ kind: 'pending', held: true, reason: 'exit code 1' });
    actor.resume();
    await clock.settle();
    expect(actor.current()?.number).toBe(1);
    await actor.close();
  });

  it('A3: a drain withdraws a start; what came up nevertheless is closed and the resume starts anew', async () => {
    const spec = testSpec();
    spec.next = ['late'];
    const { actor, clock } = stage(spec);
    await clock.settle();
    actor.drain();
    actor.resume();
    await clock.settle();
    expect(spec.made.map((made) => made.closes)).toEqual([1, 0]);
    expect(actor.current()?.number).toBe(1);
    await actor.close();
  });

  it('a drain cancels a restart', async () => {
    const { actor, clock, spec } = await alive();
    spec.made[0]!.die('crash');
    await clock.settle();
    actor.drain();
    await clock.advance(120_000);
    expect(actor.state().kind).toBe('pending');
    expect(spec.starts).toBe(1);
    await actor.close();
    expect(actor.state()).toMatchObject({ kind: 'dead', reason: 'closed' });
  });

  it('A1-A4: under any storm of orders and failures at most one exists, each is closed once, and close ends it', async () => {
    const step = fc.oneof(
      fc.constantFrom('drain', 'resume', 'die', 'ill', 'well', 'fail next', 'stick next', 'late next'),
      fc.integer({ min: 0, max: 90_000 }),
      // So many turns of the microtask queue: orders come between any two steps of the supervisor.
      fc.record({ turns: fc.integer({ min: 0, max: 12 }) }),
    );
    await fc.assert(
      fc.asyncProperty(fc.array(step, { maxLength: 40 }), async (steps) => {
        const { actor, clock, spec, troubles } = stage(testSpec({ restartsMax: -1 }));
        for (const now of steps) {
          if (typeof now === 'number') await clock.advance(now);
          else if (typeof now === 'object') for (let turn = 0; turn < now.turns; turn++) await Promise.resolve();
          else if (now === 'drain') actor.drain();
          else if (now === 'resume') actor.resume();
          else if (now === 'die') spec.made.at(-1)?.die('crash');
          else if (now === 'ill') spec.health = { kind: 'failing', reason: 'ill' };
          else if (now === 'well') spec.health = { kind: 'ok' };
          else spec.next.push(now === 'fail next' ? 'fail' : now === 'stick next' ? 'stuck' : 'late');
          expect(spec.existingMost).toBeLessThanOrEqual(1);
          expect(actor.current() === undefined || actor.current()?.closes === 0).toBe(true);
        }
        const closed = actor.close();
        expect(actor.current()).toBe(undefined);
        await clock.settle();
        expect(actor.state().kind).toBe('dead');
        await closed;
        expect(spec.existing).toBe(0);
        expect(spec.made.every((made) => made.closes === 1)).toBe(true);
        expect(clock.waiting()).toBe(0);
        expect(troubles).toEqual([]);
      }),
      { numRuns: 400 },
    );
  });
});
