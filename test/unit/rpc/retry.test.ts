import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { fault, faults, type FaultKind } from '../../../src/fault.js';
import { nextTry, patienceMs, retryDefaults, type RetryPolicy } from '../../../src/rpc/retry.js';

const policy: RetryPolicy = { triesMax: 5, backoffMs: 100, backoffMsMax: 1_000 };
const half = () => 0.5;

describe('nextTry', () => {
  it('RT1: tries again exactly what the service calls UNAVAILABLE or RESOURCE_EXHAUSTED', () => {
    const again = (Object.keys(faults) as FaultKind[]).filter(
      (kind) => nextTry(fault(kind, ''), 1, 60_000, policy, half).kind === 'after',
    );
    expect(again.sort()).toEqual(['clock_off', 'draining', 'overloaded', 'queue_unavailable', 'unreachable']);
  });

  it('RT2: doubles its own delay up to the largest', () => {
    const delays = [1, 2, 3, 4].map((tries) => nextTry(fault('draining', ''), tries, 60_000, policy, half));
    expect(delays).toEqual([75, 150, 300, 600].map((delayMs) => ({ kind: 'after', delayMs })));
    expect(nextTry(fault('overloaded', ''), 5_000, 60_000, policy, half)).toEqual({ kind: 'after', delayMs: 750 });
  });

  it('RT2: keeps the delay that the server asked for', () => {
    fc.assert(
      fc.property(
        fc.nat(50_000),
        fc.integer({ min: 1, max: 40 }),
        fc.double({ min: 0, max: 0.999, noNaN: true }),
        (askedMs, tries, draw) => {
          const next = nextTry(fault('overloaded', '', { retryAfterMs: askedMs }), tries, 1e9, policy, () => draw);
          expect(
            next.kind === 'after' && next.delayMs >= askedMs && next.delayMs <= Math.max(askedMs * 1.25, 1_000),
          ).toBe(true);
        },
      ),
    );
  });

  it('RT3: gives up an unavailable service after the tries, a shedding one only at the deadline', () => {
    expect(nextTry(fault('unreachable', ''), 5, 60_000, policy, half).kind).toBe('never');
    expect(nextTry(fault('overloaded', ''), 5, 60_000, policy, half).kind).toBe('after');
    expect(nextTry(fault('overloaded', '', { retryAfterMs: 900 }), 1, 900, policy, half).kind).toBe('never');
    expect(nextTry(fault('draining', ''), 1, 75, policy, half).kind).toBe('never');
  });

  it('RT3: rides out about a minute of absence by default', () => {
    let waitedMs = 0;
    for (let tries = 1; ; tries++) {
      const next = nextTry(fault('unreachable', ''), tries, 1e9, retryDefaults, half);
      if (next.kind === 'never') break;
      waitedMs += next.delayMs;
    }
    expect(waitedMs).toBeGreaterThan(35_000);
    expect(waitedMs).toBeLessThan(90_000);
  });
});

describe('patienceMs', () => {
  it('RT4: is the sum of the longest delays between the tries that are left', () => {
    expect([1, 2, 3, 4, 5, 6].map((tries) => patienceMs(policy, tries))).toEqual([1_500, 1_400, 1_200, 800, 0, 0]);
    // Beyond the largest delay: 100 + 200 + ... + 3200, and nine times 5000.
    expect(patienceMs(retryDefaults)).toBe(6_300 + 9 * 5_000);
  });

  it('RT4: no way through the tries takes longer', () => {
    fc.assert(
      fc.property(fc.array(fc.double({ min: 0, max: 0.999, noNaN: true }), { minLength: 4, maxLength: 4 }), (draws) => {
        let sumMs = 0;
        for (const [at, draw] of draws.entries()) {
          const next = nextTry(fault('unreachable', ''), at + 1, 1e9, policy, () => draw);
          if (next.kind === 'after') sumMs += next.delayMs;
        }
        expect(sumMs).toBeLessThanOrEqual(patienceMs(policy));
      }),
    );
  });
});
