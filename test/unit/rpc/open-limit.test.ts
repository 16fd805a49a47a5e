import { describe, expect, it } from 'vitest';
import { OpenLimit, servingOf, type Serving } from '../../../src/rpc/open-limit.js';
import { ActorState, type Node } from '../../../src/wire/gen/grm/v1/cluster.js';
import { someStatus } from '../../support/rpc-peer.js';

/** Answers one request of `k` samples every `everyMs`, from 0 on. */
function after(limit: OpenLimit, answers: number, everyMs: number, k: number): number {
  limit.opened(k, 0);
  for (let at = 1; at <= answers; at++) limit.answered(k, at * everyMs);
  return answers * everyMs;
}

describe('what may be open', () => {
  it.each([
    // slots, k, requests
    [2, 8, 2],
    [2, 1, 5],
    [16, 8, 5],
    [512, 8, 129],
    [4_096, 8, 256],
    [4_096, 128, 65],
  ])('OL1: with %d slots and k = %d of slow samples: %d', (slots, k, requests) => {
    const limit = new OpenLimit(256);
    limit.serving({ slots, coming: false });
    const nowMs = after(limit, 4, 600_000, k);
    expect(limit.now(nowMs)).toBe(requests);
  });

  it('OL1: goes with the slots that come and go', () => {
    const limit = new OpenLimit(256);
    limit.opened(8, 0);
    const seen = [2, 64, 8].map((slots) => {
      limit.serving({ slots, coming: false });
      return limit.now(1_000);
    });
    expect(seen).toEqual([2, 17, 3]);
  });

  it('OL2: of fast samples what is answered within five seconds, and less again when they become slow', () => {
    const limit = new OpenLimit(256);
    limit.serving({ slots: 2, coming: false });
    const nowMs = after(limit, 300, 50, 8);
    expect(limit.now(nowMs)).toBe(100);
    expect(limit.now(nowMs + 600_000)).toBe(2);
  });

  it('OL2: answers that come together after a long time are no high rate', () => {
    const limit = new OpenLimit(256);
    limit.serving({ slots: 8, coming: false });
    limit.opened(8, 0);
    for (let at = 0; at < 8; at++) limit.answered(8, 60_000 + at);
    expect(limit.now(60_010)).toBe(3);
  });

  it('OL3: shedding halves it, once a second, and answers bring it back', () => {
    const limit = new OpenLimit(256);
    limit.serving(undefined);
    expect(limit.now(0)).toBe(256);
    limit.shed(64, 0);
    limit.shed(64, 10);
    expect(limit.now(10)).toBe(32);
    limit.shed(32, 1_000);
    expect(limit.now(1_000)).toBe(16);
    for (let at = 0; at < 16 * 17; at++) limit.answered(8, 1_000 + at);
    expect(limit.now(1_300)).toBeGreaterThan(24);
    expect(limit.now(1_300)).toBeLessThan(32);
    for (let at = 2; at < 100; at++) limit.shed(1, at * 1_000);
    expect(limit.now(100_000)).toBe(1);
  });

  it('OL4: nothing without engines; a few before anything is known', () => {
    const limit = new OpenLimit(256);
    expect(limit.now(0)).toBe(8);
    limit.serving({ slots: 0, coming: true });
    expect(limit.now(0)).toBe(0);
    expect(new OpenLimit(3).now(0)).toBe(3);
  });
});

describe('what serves', () => {
  const worker = someStatus.nodes[0]!;
  const coordinator: Node = { ...worker, id: 'c', role: 'coordinator', actors: [], slots: 20_000 };
  const engine = (state: ActorState): Node['actors'] => [{ ...worker.actors[0]!, state, stateReason: 'HTTP 401' }];

  it.each<[string, readonly Node[], Serving]>([
    ['no node', [coordinator], { slots: 0, coming: false }],
    ['two workers', [coordinator, worker, worker], { slots: 32, coming: false }],
    ['one that drains', [coordinator, worker, { ...worker, draining: true }], { slots: 16, coming: false }],
    ['one of another pool', [coordinator, { ...worker, pool: 'other' }], { slots: 0, coming: false }],
    ['a meta worker', [coordinator, { ...worker, role: 'meta-worker' }], { slots: 0, coming: false }],
    [
      'an engine that starts',
      [coordinator, { ...worker, slots: 0, actors: engine(ActorState.STARTING) }],
      { slots: 0, coming: true },
    ],
    [
      'an engine that is up and refuses its work',
      [coordinator, { ...worker, slots: 0, actors: engine(ActorState.OUT_OF_SERVICE) }],
      { slots: 0, coming: false, why: 'HTTP 401' },
    ],
    ['a worker that has just begun', [coordinator, { ...worker, slots: 0, actors: [] }], { slots: 0, coming: true }],
    [
      'an engine that is gone for good',
      [coordinator, { ...worker, slots: 0, actors: engine(ActorState.DEAD) }],
      { slots: 0, coming: false, why: 'HTTP 401' },
    ],
  ])('%s', (_, nodes, expected) => {
    expect(servingOf({ nodes: [...nodes] })).toEqual(expected);
  });
});
