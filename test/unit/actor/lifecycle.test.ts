import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import {
  pending,
  resourceOf,
  transition,
  type Lifecycle,
  type LifecycleEvent,
  type LifecycleKind,
} from '../../../src/actor/lifecycle.js';

type Event = LifecycleEvent<string>;

/** The table of L6, written a second time: what each state leads to. */
const table: Readonly<Record<string, (event: Event) => LifecycleKind | undefined>> = {
  'pending:start': () => 'starting',
  'pending:drain': () => 'pending',
  'pending:resume': () => 'pending',
  'held:drain': () => 'pending',
  'held:resume': () => 'pending',
  'starting:started': () => 'alive',
  'starting:drain': () => 'pending',
  'alive:drain': () => 'draining',
  'draining:failed': () => 'pending',
  'draining:resume': () => 'alive',
  'restarting:start': () => 'starting',
  'restarting:drain': () => 'pending',
};

function expected(state: Lifecycle<string>, event: Event): LifecycleKind | undefined {
  if (event.kind === 'ended') return state.kind === 'dead' ? undefined : 'dead';
  if (event.kind === 'failed' && (state.kind === 'starting' || state.kind === 'alive'))
    return event.retryAtMs === undefined ? 'dead' : 'restarting';
  const kind = state.kind === 'pending' && state.held ? 'held' : state.kind;
  return table[`${kind}:${event.kind}`]?.(event);
}

const anyEvent: fc.Arbitrary<Event> = fc.oneof(
  fc.constant<Event>({ kind: 'start' }),
  fc.string().map((resource): Event => ({ kind: 'started', resource })),
  fc.record({ kind: fc.constant('failed' as const), reason: fc.string(), retryAtMs: fc.nat() }),
  fc.record({ kind: fc.constant('failed' as const), reason: fc.string() }),
  fc.constant<Event>({ kind: 'drain' }),
  fc.constant<Event>({ kind: 'resume' }),
  fc.record({ kind: fc.constant('ended' as const), reason: fc.string() }),
);

/** Every event in a row; those that the state does not know are tried and leave it as it is. */
function live(
  events: readonly Event[],
  each: (from: Lifecycle<string>, event: Event, to: Lifecycle<string>) => void,
): void {
  let state: Lifecycle<string> = pending(0);
  events.forEach((event, at) => {
    if (expected(state, event) === undefined) return;
    const next = transition(state, event, at + 1);
    each(state, event, next);
    state = next;
  });
}

describe('lifecycle', () => {
  it('L6: knows the events of its table and throws on all others', () => {
    fc.assert(
      fc.property(fc.array(anyEvent, { maxLength: 60 }), (events) => {
        let state: Lifecycle<string> = pending(0);
        events.forEach((event, at) => {
          const kind = expected(state, event);
          if (kind === undefined) {
            const before = structuredClone(state);
            expect(() => transition(state, event, at)).toThrow(`${state.kind} knows no ${event.kind}`);
            expect(state).toEqual(before);
          } else {
            state = transition(state, event, at);
            expect(state.kind).toBe(kind);
          }
        });
      }),
    );
  });

  it('L1: a resource is there exactly in alive and draining, and is the one that came up', () => {
    fc.assert(
      fc.property(fc.array(anyEvent, { maxLength: 60 }), (events) => {
        let latest: string | undefined;
        live(events, (_from, event, to) => {
          if (event.kind === 'started') latest = event.resource;
          const holds = to.kind === 'alive' || to.kind === 'draining';
          expect(resourceOf(to)).toBe(holds ? latest : undefined);
          expect('resource' in to).toBe(holds);
        });
      }),
    );
  });

  it('L2: nothing leaves dead', () => {
    fc.assert(
      fc.property(anyEvent, (event) => {
        const dead = transition<string>(pending(0), { kind: 'ended', reason: 'closed' }, 1);
        expect(() => transition(dead, event, 2)).toThrow('L6');
      }),
    );
  });

  it('L3: alive is entered from starting, or from draining by a resume', () => {
    fc.assert(
      fc.property(fc.array(anyEvent, { maxLength: 60 }), (events) => {
        live(events, (from, event, to) => {
          if (to.kind !== 'alive' || from.kind === 'alive') return;
          expect([from.kind, event.kind].join()).toMatch(/^(starting,started|draining,resume)$/);
        });
      }),
    );
  });

  it('L4: starts counts the starts', () => {
    fc.assert(
      fc.property(fc.array(anyEvent, { maxLength: 60 }), (events) => {
        let starts = 0;
        live(events, (_from, event, to) => {
          if (event.kind === 'start') starts += 1;
          expect(to.starts).toBe(starts);
        });
      }),
    );
  });

  it('L5: sinceMs is the time of the last change of kind', () => {
    fc.assert(
      fc.property(fc.array(anyEvent, { maxLength: 60 }), (events) => {
        let at = 0;
        live(events, (from, _event, to) => {
          at += 1;
          if (to.kind === from.kind) expect(to.sinceMs).toBe(from.sinceMs);
          else expect(to.sinceMs).toBeGreaterThan(from.sinceMs);
        });
        expect(at).toBeLessThanOrEqual(events.length);
      }),
    );
  });

  it('a failure says why, and when it starts again', () => {
    const starting = transition<string>(pending(0), { kind: 'start' }, 10);
    const failed = transition(starting, { kind: 'failed', reason: 'out of memory', retryAtMs: 1_020 }, 20);
    expect(failed).toEqual({ kind: 'restarting', sinceMs: 20, starts: 1, reason: 'out of memory', retryAtMs: 1_020 });
  });
});
