// Nodes, registry and control messages over a real nats-server, with leases of a few seconds.

import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { ask, askEach, broadcastCancel, listenCancel } from '../../../src/actor/handle.js';
import { openRegistry, type Registry } from '../../../src/actor/registry.js';
import { Events } from '../../../src/observe/events.js';
import { systemClock } from '../../../src/process/clock.js';
import { openQueue } from '../../../src/queue/jetstream.js';
import type { QueueSystem } from '../../../src/queue/queue.js';
import { ActorState } from '../../../src/wire/gen/grm/v1/cluster.js';
import { testSpec } from '../../support/fake-running.js';
import { startNats, type NatsServer } from '../../support/nats.js';
import { until } from '../../support/processes.js';
import { queueOptions } from '../../support/queue-options.js';
import { testNode, type TestNode } from '../../support/test-node.js';

/** Far apart: a busy machine may be late with a heartbeat, and nobody is dead for that. */
const heartbeatMs = 200;
const leaseMs = 4_000;

let nats: NatsServer;
/** Of a worker's process and of a coordinator's. */
let workers: QueueSystem;
let coordinator: QueueSystem;

beforeAll(async () => {
  nats = await startNats();
  const options = queueOptions(nats, { retention: { leaseMs } });
  coordinator = await openQueue({ ...options, name: 'coordinator' });
  workers = await openQueue({ ...options, name: 'grm-worker', own: false });
});
afterAll(async () => {
  await Promise.all([workers.close(), coordinator.close()]);
  await nats[Symbol.asyncDispose]();
});

const open = (more: Parameters<typeof testNode>[2] = {}): Promise<TestNode> =>
  testNode(workers.control, systemClock, { heartbeatMs, ...more });
const watch = (): Promise<Registry> =>
  openRegistry({
    control: coordinator.control,
    clock: systemClock,
    events: new Events(),
    refreshMs: heartbeatMs,
    leaseMs,
  });
const seen = (registry: Registry, id: string) => registry.nodes().find(({ node }) => node.id === id);

describe('cluster over NATS', () => {
  it('D1, R3: nodes, their actors and their work are seen by others', async () => {
    const registry = await watch();
    const a = await open();
    const b = await open({ role: 'meta-worker', pool: 'meta' });
    a.busy = ['r1', 'r2'];
    a.oldestOpenAtMs = 1_700_000_000_000;
    const spec = testSpec({ restartsMax: 0 });
    b.node.spawn(spec);
    await until(() => registry.serving('meta-worker', 'meta') === 1, 'the meta worker serves');
    await until(() => seen(registry, a.node.id)?.busyRequests.length === 2, 'the work is seen');
    expect(seen(registry, b.node.id)?.node.actors).toMatchObject([
      { id: `${b.node.id}.engine0`, kind: 'engine', state: ActorState.ALIVE, model: 'test-model', running: 2 },
    ]);
    expect(registry.alive(a.node.id)).toBe(true);
    expect(seen(registry, a.node.id)!.node.heartbeatAgeMs).toBeLessThan(leaseMs);
    await until(() => registry.work().complete, 'all is known');
    expect(registry.work()).toEqual({ busy: new Set(['r1', 'r2']), complete: true, oldestOpenAtMs: 1_700_000_000_000 });

    spec.made[0]!.die('exit code 1');
    await until(() => registry.serving('meta-worker', 'meta') === 0, 'the death is seen');
    expect(seen(registry, b.node.id)?.node.actors).toMatchObject([
      { state: ActorState.DEAD, stateReason: 'given up after 0 restarts: exit code 1' },
    ]);
    await Promise.all([a.node.close(), b.node.close()]);
    await until(() => registry.nodes().length === 0, 'both leases are dropped');
    await until(() => registry.alive(a.node.id) === false, 'it is known to be gone');
    await registry.close();
  });

  it('status, drain, resume, slots and cancel reach a node on another connection', async () => {
    const registry = await watch();
    const test = await open();
    const { node } = test;
    const actor = node.spawn(testSpec());
    test.busy = ['r1'];
    await until(() => registry.serving('grm-worker', 'grm') === 1, 'it serves');
    const { control } = coordinator;
    expect(await ask(control, node.id, { kind: 'status' })).toMatchObject({
      kind: 'status',
      node: { id: node.id, slots: 64, actors: [{ state: ActorState.ALIVE }] },
    });
    expect(await ask(control, node.id, { kind: 'set_slots', slots: 24 })).toEqual({ kind: 'slots', slots: 24 });
    expect((await ask(control, node.id, { kind: 'set_slots', slots: 101 })).kind).toBe('refused');
    expect(await ask(control, node.id, { kind: 'cancel', requestId: 'r1' })).toEqual({
      kind: 'cancelled',
      cancelled: true,
    });

    expect(await ask(control, node.id, { kind: 'drain' })).toEqual({ kind: 'done' });
    await until(() => registry.serving('grm-worker', 'grm') === 0, 'it serves no more');
    expect(seen(registry, node.id)?.node.draining).toBe(true);
    expect(registry.alive(node.id)).toBe(true);
    test.finishDrain();
    await until(() => test.drains.includes('finished:0'), 'the drain ends');
    expect(await ask(control, node.id, { kind: 'resume' })).toEqual({ kind: 'done' });
    await until(() => registry.serving('grm-worker', 'grm') === 1, 'it serves again');
    expect(actor.current()?.number).toBe(0);
    expect(test.told).toEqual(['cancel r1', 'drain', 'resume']);

    await node.close();
    const [gone, never] = await askEach(control, [node.id, 'grm-worker-0000000000'], { kind: 'status' });
    expect([gone!.reply.kind, never!.reply.kind]).toEqual(['unreachable', 'unreachable']);
    await registry.close();
  });

  it('a broadcast cancel reaches every process that listens', async () => {
    const heard: string[] = [];
    const ends = [
      await listenCancel(workers.control, (requestId, run) => void heard.push(`worker ${requestId} ${run}`)),
      await listenCancel(coordinator.control, (requestId) => void heard.push(`coordinator ${requestId}`)),
    ];
    broadcastCancel(coordinator.control, 'r7', 'c-1-1');
    await until(() => heard.length === 2, 'both heard it');
    expect(heard.sort()).toEqual(['coordinator r7', 'worker r7 c-1-1']);
    for (const end of ends) end();
  });

  it('R1-R2, D2: through a killed and restarted nats-server nobody is taken for dead, and all come back', async () => {
    const registry = await watch();
    const test = await open();
    const { node } = test;
    await until(() => registry.alive(node.id) === true && registry.known(), 'it is seen, and all is known');
    expect(registry.alive('coordinator-0000000000')).toBe(false);

    const said = new Set<boolean | 'unknown'>();
    const listening = setInterval(() => said.add(registry.alive(node.id)), 5);
    await nats.kill();
    await until(() => registry.alive(node.id) === 'unknown', 'nothing is known');
    expect(registry.alive('coordinator-0000000000')).toBe('unknown');
    await until(() => node.heartbeatsMissed() > 0 || !workers.connected(), 'the node notices');
    // Longer than a lease: the server comes back without any.
    await new Promise((resolve) => setTimeout(resolve, 1.5 * leaseMs));
    await nats.restart();
    await until(() => registry.alive(node.id) === true, 'it is seen again');
    await until(() => registry.alive('coordinator-0000000000') === false, 'all is known again');
    clearInterval(listening);
    expect(said).toEqual(new Set([true, 'unknown']));
    expect(await ask(coordinator.control, node.id, { kind: 'status' })).toMatchObject({ kind: 'status' });
    await Promise.all([node.close(), registry.close()]);
  });
});
