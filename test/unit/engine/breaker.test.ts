import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import {
  closedBreaker,
  nextBreaker,
  type Breaker,
  type BreakerEvent,
  type Outage,
} from '../../../src/engine/breaker.js';
import { limits } from '../../../src/limits.js';

const refused: Outage = { cause: 'refused', reason: 'HTTP 401' };
const failing: Outage = { cause: 'failing', reason: 'HTTP 502' };

/** What comes of events that happen one after the other, each at once. */
function after(events: readonly BreakerEvent[], state: Breaker = closedBreaker, nowMs = 0): Breaker {
  return events.reduce((now, event) => nextBreaker(now, event, nowMs, 0), state);
}

const anyOutage = fc.record({
  cause: fc.constantFrom('away', 'busy', 'refused', 'failing', 'broke', 'unclear'),
  reason: fc.constantFrom('a', 'b'),
}) as fc.Arbitrary<Outage>;
const anyEvent: fc.Arbitrary<BreakerEvent> = fc.oneof(
  fc.constantFrom<BreakerEvent>({ kind: 'succeeded' }, { kind: 'due' }, { kind: 'passed' }),
  anyOutage.map((outage): BreakerEvent => ({ kind: 'busy', outage })),
  anyOutage.map((outage): BreakerEvent => ({ kind: 'broken', outage })),
  anyOutage.map((outage): BreakerEvent => ({ kind: 'failed', outage })),
);

describe('the breaker', () => {
  it('B1 B2: opens when work and a probe fail, and closes with a probe that passed, never otherwise', () => {
    fc.assert(
      fc.property(fc.array(anyEvent, { maxLength: 40 }), (events) => {
        let state: Breaker = closedBreaker;
        for (const event of events) {
          const next = nextBreaker(state, event, 0, 0.5);
          if (state.kind !== 'closed' && next.kind === 'closed') {
            expect([state.kind, event.kind]).toEqual(['probing', 'passed']);
          }
          if (state.kind === 'closed' && next.kind !== 'closed') expect(['broken', 'busy']).toContain(event.kind);
          if (next.kind !== 'closed') expect(next.outage.reason).not.toBe('');
          state = next;
        }
      }),
    );
  });

  it('B2: what was under way when it opened ends as it may, and changes nothing', () => {
    const open = after([{ kind: 'broken', outage: refused }]);
    expect(after([{ kind: 'succeeded' }, { kind: 'broken', outage: failing }, { kind: 'passed' }], open)).toBe(open);
  });

  it('B3: the wait doubles up to its bound, jitter only shortens it, and by half at the most', () => {
    for (const chance of [0, 0.3, 0.999]) {
      let state = nextBreaker(closedBreaker, { kind: 'broken', outage: failing }, 1_000, chance);
      for (let opening = 1; opening < 60; opening++) {
        if (state.kind !== 'open') throw new Error(state.kind);
        const full = Math.min(limits.breakerWaitMsMax, limits.breakerWaitMsMin * 2 ** (opening - 1));
        expect(state.probeAtMs - 1_000).toBeLessThanOrEqual(full);
        expect(state.probeAtMs - 1_000).toBeGreaterThanOrEqual(Math.floor(full / 2));
        expect(state.openings).toBe(opening);
        state = nextBreaker(state, { kind: 'due' }, 1_000, chance);
        state = nextBreaker(state, { kind: 'failed', outage: refused }, 1_000, chance);
      }
      expect(state.kind === 'open' && state.outage).toEqual(refused);
    }
  });

  it('B3: what the engine asked for is waited for', () => {
    const state = after([{ kind: 'broken', outage: { ...failing, retryAfterMs: 7_000 } }]);
    expect(state.kind === 'open' && state.probeAtMs).toBe(7_000);
  });

  it('B4: a probe that passes does not make the next wait short again, work that succeeds does', () => {
    const flapped = after([
      { kind: 'broken', outage: failing },
      { kind: 'due' },
      { kind: 'passed' },
      { kind: 'broken', outage: failing },
    ]);
    expect(flapped).toMatchObject({ kind: 'open', openings: 2 });
    const well = after([
      { kind: 'broken', outage: failing },
      { kind: 'due' },
      { kind: 'passed' },
      { kind: 'succeeded' },
    ]);
    expect(after([{ kind: 'broken', outage: failing }], well)).toMatchObject({ kind: 'open', openings: 1 });
  });

  it('an engine that turns away so many in a row is left alone for a while; one that takes some between is not', () => {
    const busy: BreakerEvent = { kind: 'busy', outage: { cause: 'busy', reason: 'HTTP 429', retryAfterMs: 2_000 } };
    const almost = Array<BreakerEvent>(limits.breakerBusyMax - 1).fill(busy);
    expect(after(almost).kind).toBe('closed');
    expect(after([...almost, { kind: 'succeeded' }, ...almost]).kind).toBe('closed');
    const open = after([...almost, busy]);
    expect(open.kind === 'open' && open.probeAtMs).toBe(2_000);
  });
});
