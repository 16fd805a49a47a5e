import { describe, expect, it } from 'vitest';
import { limits } from '../../../src/limits.js';
import { EngineWatch } from '../../../src/rpc/engine-watch.js';
import type { Serving } from '../../../src/rpc/open-limit.js';
import { virtualClock } from '../../support/virtual-clock.js';

/** What is heard, a word each, with the seconds that are left. */
function watched(script: (look: number) => Serving | undefined | Error, patienceMs?: number) {
  const clock = virtualClock();
  const heard: string[] = [];
  let looks = 0;
  const ask = (): Promise<Serving | undefined> => {
    const answer = script(looks++);
    return answer instanceof Error ? Promise.reject(answer) : Promise.resolve(answer);
  };
  const watch = new EngineWatch(
    ask,
    {
      found: (serving) => heard.push(`found ${serving?.slots ?? '?'}`),
      away: (it, leftMs) => heard.push(`${it.kind} ${leftMs / 1_000}`),
      back: () => heard.push('back'),
      over: (it) => heard.push(`over: ${it.message}`),
    },
    clock,
    patienceMs,
  );
  return { clock, heard, watch, looks: () => looks };
}

describe('the watch over engines', () => {
  it('tells at once that none serves, and ends after a minute', async () => {
    const { clock, heard, watch } = watched(() => ({ slots: 0, coming: false }));
    await clock.settle();
    expect(heard).toEqual(['no_engine 60', 'found 0']);
    await clock.advance(limits.noEngineMs - 1);
    expect(heard.some((word) => word.startsWith('over'))).toBe(false);
    await clock.advance(1);
    expect(heard).toContain('over: no engine serves');
    watch.close();
    expect(clock.waiting()).toBe(0);
  });

  it('waits longer for one that is being started, and goes on with it', async () => {
    const { clock, heard, watch } = watched((look) =>
      look < 100 ? { slots: 0, coming: true } : { slots: 2, coming: false },
    );
    await clock.advance(100 * limits.servingAskEveryMs - 1);
    expect(heard.some((word) => word.startsWith('over'))).toBe(false);
    expect(watch.away).toBe(true);
    await clock.advance(1);
    expect(heard.slice(-2)).toEqual(['back', 'found 2']);
    expect(watch.away).toBe(false);
    watch.close();
  });

  it('waits as long as it is told to', async () => {
    const { clock, heard, watch } = watched((look) => ({ slots: 0, coming: look % 2 === 0 }), 3_600_000);
    await clock.advance(3_600_000 - 1);
    expect(heard.some((word) => word.startsWith('over'))).toBe(false);
    await clock.advance(limits.servingAskEveryMs);
    expect(heard.some((word) => word.startsWith('over'))).toBe(true);
    watch.close();
  });

  it('asks no more where it may not know, and again where the service is away', async () => {
    const refused = watched(() => undefined);
    await refused.clock.advance(60_000);
    expect([refused.heard, refused.looks()]).toEqual([['found ?'], 1]);
    const away = watched((look) => (look < 3 ? new Error('away') : { slots: 1, coming: false }));
    await away.clock.advance(3 * limits.servingAskEveryMs);
    expect(away.heard).toEqual(['found 1']);
    away.watch.close();
  });
});
