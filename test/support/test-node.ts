// A node under the test's hand: what it says of its load, what its handlers were told, and what it told others.

import { openNode, type Node, type NodeHandlers, type NodeLoad, type NodeOptions } from '../../src/actor/node.js';
import { Events } from '../../src/observe/events.js';
import type { Clock } from '../../src/process/clock.js';
import type { ControlPlane } from '../../src/queue/queue.js';

export interface TestNode {
  readonly node: Node;
  readonly events: Events;
  /** What the handlers were told, in order. */
  readonly told: string[];
  /** "phase:running" of every drain event. */
  readonly drains: string[];
  readonly troubles: string[];
  load: NodeLoad;
  busy: string[];
  oldestOpenAtMs: number | undefined;
  /** Ends the drain that runs. */
  finishDrain(): void;
}

export async function testNode(
  control: ControlPlane,
  clock: Clock,
  more: Partial<NodeOptions> & { readonly handlers?: NodeHandlers } = {},
): Promise<TestNode> {
  const events = new Events();
  const told: string[] = [];
  const drains: string[] = [];
  const troubles: string[] = [];
  const drained: (() => void)[] = [];
  events.on('node.drain', ({ phase, running }) => void drains.push(`${phase}:${running}`));
  events.on('trouble', ({ where, error }) => void troubles.push(`${where}: ${(error as Error).message}`));
  const held: Omit<TestNode, 'node'> = {
    events,
    told,
    drains,
    troubles,
    load: { slots: 64, running: 0, done: 0, ratePerSecond: 0 },
    busy: [],
    oldestOpenAtMs: undefined,
    finishDrain: () => {
      for (const end of drained.splice(0)) end();
    },
  };
  const node = await openNode({
    role: 'grm-worker',
    pool: 'grm',
    host: 'gpu-7',
    pid: 4711,
    version: '0.1.0',
    gpus: 2,
    control,
    events,
    clock,
    load: () => held.load,
    busy: () => ({
      requests: held.busy,
      ...(held.oldestOpenAtMs === undefined ? {} : { oldestOpenAtMs: held.oldestOpenAtMs }),
    }),
    handlers: {
      drain() {
        told.push('drain');
        return new Promise((resolve) => drained.push(resolve));
      },
      async resume() {
        await Promise.resolve();
        told.push('resume');
      },
      async cancel(requestId) {
        await Promise.resolve();
        told.push(`cancel ${requestId}`);
        return held.busy.includes(requestId);
      },
      async setSlots(slots) {
        await Promise.resolve();
        if (slots > 100) return { kind: 'refused', reason: 'the engines have room for 100' };
        held.load = { ...held.load, slots };
        return { kind: 'slots', slots };
      },
    },
    ...more,
  });
  return Object.assign(held, { node });
}
