// The simulated work queue keeps JetStream's rules: order, the bound on deliveries out, redelivery.

import { describe, expect, it } from 'vitest';
import { Loop } from '../../../bench/scale/loop.js';
import { Tasks, type Holder } from '../../../bench/scale/tasks.js';
import type { Class } from '../../../src/grm/query.js';
import { limits } from '../../../src/limits.js';

interface Body {
  readonly requestId: string;
  readonly class: Class;
}

function open(pendingMax?: number) {
  const loop = new Loop();
  const gone: string[] = [];
  const tasks = new Tasks<Body>(
    loop,
    () => undefined,
    (requestId) => gone.push(requestId),
    pendingMax,
  );
  const put = (requestId: string, cls: Class) => tasks.put({ requestId, class: cls });
  const holder = (): Holder => ({ dead: false, held: new Set() });
  const names = (max: number, by = holder()) => tasks.take(max, by).taken.map((each) => each.requestId);
  return { loop, gone, tasks, put, holder, names };
}

describe('tasks', () => {
  it('go out urgent classes first, each class in order', () => {
    const { put, names } = open();
    put('b1', 'batch');
    put('r1', 'rl');
    put('r2', 'rl');
    put('i1', 'interactive');
    expect(names(3)).toEqual(['i1', 'r1', 'r2']);
    expect(names(3)).toEqual(['b1']);
  });

  it('are not more out than a consumer allows, per class', () => {
    const { put, names, tasks, holder } = open(2);
    for (const name of ['r1', 'r2', 'r3']) put(name, 'rl');
    put('b1', 'batch');
    const { taken } = tasks.take(9, holder());
    expect(taken.map((each) => each.requestId)).toEqual(['r1', 'r2', 'b1']);
    taken[0]!.ack();
    expect(names(9)).toEqual(['r3']);
    expect(tasks.outMax).toBe(2);
  });

  it('of a dead worker come back, and first, when the ack wait since their last renewal is over', async () => {
    const { loop, put, tasks, holder } = open();
    const dying = holder();
    put('r1', 'rl');
    const [first] = tasks.take(1, dying).taken;
    loop.after(10_000, () => first!.working());
    loop.after(15_000, () => {
      dying.dead = true;
      for (const held of dying.held) held.lost();
      first!.ack();
      put('r2', 'rl');
    });
    const seen: [number, readonly [string, number][]][] = [];
    const look = (): void => {
      const { taken } = tasks.take(9, holder());
      if (taken.length > 0) seen.push([loop.timeMs, taken.map(({ requestId, deliveries }) => [requestId, deliveries])]);
    };
    loop.after(10_000 + limits.ackWaitMs - 1, () => put('r3', 'rl'));
    loop.after(10_000 + limits.ackWaitMs + 1, look);
    await loop.run(() => false);
    expect(seen).toEqual([
      [
        40_001,
        [
          ['r1', 2],
          ['r2', 1],
          ['r3', 1],
        ],
      ],
    ]);
  });

  it('serve a parked pull as soon as they are there, and tell when the last one of a request is gone', () => {
    const { put, tasks, holder, gone } = open();
    const served: string[] = [];
    tasks.park(() => {
      const [one] = tasks.take(1, holder()).taken;
      served.push(one!.requestId);
      one!.ack();
      return true;
    });
    put('r1', 'rl');
    put('r2', 'rl');
    expect(served).toEqual(['r1']);
    expect(gone).toEqual(['r1']);
    tasks.withdraw('r2');
    expect(gone).toEqual(['r1', 'r2']);
    expect(tasks.count('r2')).toBe(0);
  });
});
