import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { backoffMs, judge, restartDefaults, unharmed, type RestartPolicy } from '../../../src/actor/supervision.js';

const policy = (restartsMax: number): RestartPolicy => ({ restartsMax, ...restartDefaults });

/** How often an actor is restarted that is alive for `aliveMs` each time, at most `most`. */
function restarts(restartsMax: number, aliveMs: number, most: number): number {
  let history = unharmed;
  for (let restarted = 0; restarted < most; restarted++) {
    const judgement = judge(policy(restartsMax), history, aliveMs, 'node.engine0');
    if (judgement.kind === 'give_up') return restarted;
    history = judgement.history;
  }
  return most;
}

describe('supervision', () => {
  it('S1: restarts restartsMax times and gives up', () => {
    fc.assert(
      fc.property(fc.integer({ min: 0, max: 40 }), fc.integer({ min: 0, max: 99_999 }), (restartsMax, aliveMs) => {
        expect(restarts(restartsMax, aliveMs, 1_000)).toBe(restartsMax);
      }),
    );
  });

  it('S1: -1 never gives up, and the wait stays finite', () => {
    expect(restarts(-1, 0, 5_000)).toBe(5_000);
    expect(backoffMs(policy(-1), 5_000, 'node.engine0')).toBeGreaterThanOrEqual(restartDefaults.backoffCapMs / 2);
    expect(backoffMs(policy(-1), 5_000, 'node.engine0')).toBeLessThanOrEqual(restartDefaults.backoffCapMs);
  });

  it('S2: the wait doubles up to the cap, less up to half of it', () => {
    fc.assert(
      fc.property(
        fc.integer({ min: 1, max: 60 }),
        fc.integer({ min: 1, max: 10_000 }),
        fc.integer({ min: 10_000, max: 600_000 }),
        fc.string(),
        (failures, backoffBaseMs, backoffCapMs, seed) => {
          const full = Math.min(backoffCapMs, backoffBaseMs * 2 ** (failures - 1));
          const waited = backoffMs({ ...policy(5), backoffBaseMs, backoffCapMs }, failures, seed);
          expect(waited).toBeLessThanOrEqual(full);
          expect(waited).toBeGreaterThanOrEqual(Math.floor(full / 2));
        },
      ),
    );
  });

  it('S3: after a stable time it has all its restarts and the shortest wait again', () => {
    expect(restarts(2, restartDefaults.stableMs, 1_000)).toBe(1_000);
    const tired = { failures: 7 };
    const judgement = judge(policy(8), tired, restartDefaults.stableMs, 'node.engine0');
    expect(judgement).toEqual({
      kind: 'restart',
      delayMs: backoffMs(policy(8), 1, 'node.engine0'),
      history: { failures: 1 },
    });
    expect(judge(policy(8), tired, restartDefaults.stableMs - 1, 'node.engine0').history.failures).toBe(8);
  });

  it('S4: the same wait for the same actor, spread waits for different ones', () => {
    const waits = Array.from({ length: 200 }, (_, at) => backoffMs(policy(5), 3, `grm-worker-0a1b2c3d4e.engine${at}`));
    expect(waits).toEqual(
      Array.from({ length: 200 }, (_, at) => backoffMs(policy(5), 3, `grm-worker-0a1b2c3d4e.engine${at}`)),
    );
    // 2000..4000 ms in four equal parts: no part is empty or has more than half of them.
    const parts = [0, 1, 2, 3].map(
      (part) => waits.filter((wait) => wait >= 2_000 + part * 500 && wait < 2_500 + part * 500).length,
    );
    expect(Math.min(...parts)).toBeGreaterThan(20);
    expect(Math.max(...parts)).toBeLessThan(100);
  });
});
