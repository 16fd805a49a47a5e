import { describe, expect, test } from 'vitest';
import { nextKnown, openPoolJudges, type Known, type PoolJudges } from '../../../src/actor/pool-judges.js';
import { openRegistry } from '../../../src/actor/registry.js';
import { limits } from '../../../src/limits.js';
import { Events } from '../../../src/observe/events.js';
import { localControlPlane } from '../../support/control-plane.js';
import { testSpec, type TestSpec } from '../../support/fake-running.js';
import { testNode } from '../../support/test-node.js';
import { virtualClock } from '../../support/virtual-clock.js';

const pool = { role: 'grm-worker', pool: 'grm' };
const away = limits.judgeAwayMs;

describe('what is known after a look', () => {
  const model = (id: string) => ({ id, model: id });
  const known = (...ids: string[]): Known => new Map(ids.map((id) => [id, { model: model(id), atMs: 0 }]));
  const after = (before: Known, seen: readonly string[], nowMs: number, loading = false): string[] => [
    ...nextKnown(before, { models: seen.map(model), loading }, nowMs).keys(),
  ];

  test.each<[string, Known, readonly string[], number, boolean, readonly string[]]>([
    ['P4: nothing, before anything told', known(), [], 0, false, []],
    ['the first that tells', known(), ['a'], 0, false, ['a']],
    ['P1: what there was, when nobody is left', known('a', 'b'), [], 10 * away, false, ['a', 'b']],
    ['P2: the new one alone, where none of those before is left', known('a'), ['b'], 1, false, ['b']],
    ['both, while one takes the place of the other', known('a'), ['a', 'b'], 1, false, ['a', 'b']],
    ['P3: both, while one of two is away', known('a', 'b'), ['a'], away - 1, false, ['a', 'b']],
    ['P3: one, when the other one stays away', known('a', 'b'), ['a'], away, false, ['a']],
    ['P3: both, while something loads', known('a', 'b'), ['a'], 10 * away, true, ['a', 'b']],
  ])('%s', (_words, before, seen, nowMs, loading, ids) => {
    expect(after(before, seen, nowMs, loading)).toEqual(ids);
  });
});

function stage() {
  const clock = virtualClock();
  const control = localControlPlane(clock);
  const events = new Events();
  const troubles: string[] = [];
  events.on('trouble', ({ where }) => void troubles.push(where));
  const openJudges = async (): Promise<{ judges: PoolJudges; close(): Promise<void> }> => {
    const registry = await openRegistry({ control, clock, events });
    const judges = await openPoolJudges({ registry, control, clock, events, pools: [pool] });
    return {
      judges,
      close: async () => {
        await judges.close();
        await registry.close();
      },
    };
  };
  return { clock, control, troubles, openJudges };
}

/** A spec whose engine says that it is that judge. */
function judging(id: string, name = 'engine0'): TestSpec {
  const spec = testSpec({ name });
  return { ...spec, start: async (signal) => ({ ...(await spec.start(signal)), judgeId: id }) };
}

test('P1: workers tell; their judge outlives them, also for a coordinator that starts when nobody is there', async () => {
  const { clock, control, troubles, openJudges } = stage();
  const first = await openJudges();
  expect(first.judges.models(pool)).toEqual([]);
  const { node } = await testNode(control, clock);
  node.spawn(judging('judge-a'));
  await clock.advance(2 * limits.heartbeatMs);
  expect(first.judges.models(pool)).toEqual([{ id: 'judge-a', model: 'test-model' }]);
  expect(first.judges.models({ ...pool, pool: 'other' })).toEqual([]);

  await node.close();
  await clock.advance(2 * away);
  expect(first.judges.models(pool)).toEqual([{ id: 'judge-a', model: 'test-model' }]);
  await first.close();
  const second = await openJudges();
  expect(second.judges.models(pool)).toEqual([{ id: 'judge-a', model: 'test-model' }]);

  // P2: another one takes its place.
  const { node: other } = await testNode(control, clock);
  other.spawn(judging('judge-b'));
  await clock.advance(2 * limits.heartbeatMs);
  expect(second.judges.models(pool)).toEqual([{ id: 'judge-b', model: 'test-model' }]);
  await other.close();
  await second.close();
  expect(troubles).toEqual([]);
});

test('P3: a worker of several that is started anew changes nothing', async () => {
  const { clock, control, openJudges } = stage();
  const opened = await openJudges();
  const { judges } = opened;
  const { node: stays } = await testNode(control, clock);
  stays.spawn(judging('judge-a'));
  const { node: goes } = await testNode(control, clock);
  goes.spawn(judging('judge-b'));
  await clock.advance(2 * limits.heartbeatMs);
  const both = ['judge-a', 'judge-b'];
  const ids = (): string[] => judges.models(pool).map(({ id }) => id);
  expect(ids()).toEqual(both);
  await goes.close();
  await clock.advance(away / 2);
  expect(ids()).toEqual(both);
  // Its successor loads for long.
  const { node: back } = await testNode(control, clock);
  const loading = testSpec();
  loading.next = ['stuck'];
  back.spawn(loading);
  await clock.advance(3 * away);
  expect(ids()).toEqual(both);
  const closed = back.close();
  await clock.advance(2 * away);
  await closed;
  expect(ids()).toEqual(['judge-a']);
  await stays.close();
  await opened.close();
});

test('while NATS is away the judge is what it was, and a coordinator that cannot read it goes on without', async () => {
  const { clock, control, troubles, openJudges } = stage();
  const opened = await openJudges();
  const { judges } = opened;
  const { node } = await testNode(control, clock);
  node.spawn(judging('judge-a'));
  await clock.advance(2 * limits.heartbeatMs);
  control.away(true);
  await clock.advance(2 * away);
  expect(judges.models(pool)).toEqual([{ id: 'judge-a', model: 'test-model' }]);
  const blind = await openJudges();
  expect(blind.judges.models(pool)).toEqual([]);
  expect(troubles).toContain('pool judges: judge-grm-worker-grm not read');
  control.away(false);
  await clock.advance(2 * limits.heartbeatMs);
  expect(blind.judges.models(pool)).toEqual([{ id: 'judge-a', model: 'test-model' }]);
  await node.close();
  await blind.close();
  await opened.close();
});
