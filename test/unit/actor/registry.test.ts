import { describe, expect, it } from 'vitest';
import { openRegistry, type Registry } from '../../../src/actor/registry.js';
import { limits } from '../../../src/limits.js';
import { Events } from '../../../src/observe/events.js';
import { localControlPlane, type LocalControlPlane } from '../../support/control-plane.js';
import { testSpec } from '../../support/fake-running.js';
import { testNode } from '../../support/test-node.js';
import { ActorState } from '../../../src/wire/gen/grm/v1/cluster.js';
import { virtualClock, type VirtualClock } from '../../support/virtual-clock.js';

interface Stage {
  readonly clock: VirtualClock;
  readonly control: LocalControlPlane;
  readonly registry: Registry;
  readonly troubles: string[];
}

async function stage(): Promise<Stage> {
  const clock = virtualClock();
  const control = localControlPlane(clock);
  const events = new Events();
  const troubles: string[] = [];
  events.on('trouble', ({ where, error }) => void troubles.push(`${where}: ${(error as Error).message}`));
  return { clock, control, troubles, registry: await openRegistry({ control, clock, events }) };
}

/** Long enough for a node's absence to be known (R2), whatever happened before. */
const knownMs = 2 * limits.leaseMs + limits.heartbeatMs;

describe('registry', () => {
  it('R3: a node is alive from its first lease, and dead a lease or two after its last one', async () => {
    const { registry, clock, control } = await stage();
    const { node } = await testNode(control, clock);
    await clock.advance(limits.heartbeatMs);
    expect(registry.alive(node.id)).toBe(true);
    await clock.advance(knownMs);
    await node.close();
    await clock.advance(limits.heartbeatMs);
    expect(registry.nodes()).toEqual([]);
    expect(registry.alive(node.id)).toBe('unknown');
    await clock.advance(limits.leaseMs);
    expect(registry.alive(node.id)).toBe(false);
    await registry.close();
  });

  it('R2: a fresh registry does not take for dead whom it has not seen yet', async () => {
    const { registry, clock } = await stage();
    expect(registry.alive('grm-worker-0a1b2c3d4e')).toBe('unknown');
    await clock.advance(2 * limits.leaseMs - 1);
    expect(registry.alive('grm-worker-0a1b2c3d4e')).toBe('unknown');
    await clock.advance(limits.heartbeatMs);
    expect(registry.alive('grm-worker-0a1b2c3d4e')).toBe(false);
    await registry.close();
  });

  it('R1, R2: while NATS is away, and until everybody had time to renew, nobody is dead', async () => {
    const { registry, clock, control, troubles } = await stage();
    const { node } = await testNode(control, clock);
    await clock.advance(knownMs);
    expect(registry.alive(node.id)).toBe(true);
    expect(registry.alive('coordinator-dead')).toBe(false);

    control.away(true);
    await clock.advance(limits.heartbeatMs);
    for (const id of [node.id, 'coordinator-dead']) expect(registry.alive(id)).toBe('unknown');
    await clock.advance(10 * limits.leaseMs);
    for (const id of [node.id, 'coordinator-dead']) expect(registry.alive(id)).toBe('unknown');
    expect(registry.work().complete).toBe(false);

    // The server comes back without a lease; this registry reads before the node renews.
    control.away(false);
    control.forgetLeases();
    await registry.refresh();
    expect(registry.nodes()).toEqual([]);
    expect(registry.alive(node.id)).toBe('unknown');
    await clock.advance(limits.heartbeatMs + limits.heartbeatMsMin);
    await registry.refresh();
    expect(registry.alive(node.id)).toBe(true);
    expect(registry.alive('coordinator-dead')).toBe('unknown');
    await clock.advance(knownMs);
    expect(registry.alive('coordinator-dead')).toBe(false);
    expect(troubles).toEqual(['registry: leases not read: NATS does not answer']);
    await Promise.all([node.close(), registry.close()]);
  });

  it('R2: leases lost between two readings make nobody dead', async () => {
    const { registry, clock, control } = await stage();
    const { node } = await testNode(control, clock);
    await clock.advance(knownMs);
    control.forgetLeases();
    await registry.refresh();
    expect(registry.alive(node.id)).toBe('unknown');
    await clock.advance(2 * limits.heartbeatMs);
    expect(registry.alive(node.id)).toBe(true);
    await Promise.all([node.close(), registry.close()]);
  });

  it('R1: a process that stood still knows nothing until it has read again for a while', async () => {
    const { registry, clock } = await stage();
    await clock.advance(knownMs);
    expect(registry.alive('coordinator-dead')).toBe(false);
    await registry.close();
    await clock.advance(limits.leaseMs + 1);
    expect(registry.alive('coordinator-dead')).toBe('unknown');
    await registry.refresh();
    expect(registry.alive('coordinator-dead')).toBe('unknown');
  });

  it('R4: a lease that cannot be read hides nobody, is told once, and its node is not dead', async () => {
    const { registry, clock, control, troubles } = await stage();
    const { node } = await testNode(control, clock);
    for (let beat = 0; beat < 10; beat++) {
      await control.renewLease('stranger', new Uint8Array([255, 255]));
      await clock.advance(limits.heartbeatMs);
    }
    expect(registry.nodes().map((info) => info.node.id)).toEqual([node.id]);
    expect(registry.alive('stranger')).toBe(true);
    expect(registry.work().complete).toBe(false);
    expect(troubles).toEqual(['registry: the lease stranger cannot be read']);
    await Promise.all([node.close(), registry.close()]);
  });

  it('tells the age of heartbeats', async () => {
    const { registry, clock, control } = await stage();
    const { node } = await testNode(control, clock);
    await clock.settle();
    await registry.refresh();
    control.away(true);
    await clock.advance(1_700);
    expect(registry.nodes()[0]?.node.heartbeatAgeMs).toBe(1_700);
    await Promise.all([node.close(), registry.close()]);
  });

  it('counts whom to expect: who serves, and whose engine loads or is started again; not who drains or has given up', async () => {
    const { registry, clock, control } = await stage();
    const expected = (): number => registry.expected('meta-worker', 'meta');
    expect(expected()).toBe(0);
    const meta = await testNode(control, clock, { role: 'meta-worker', pool: 'meta' });
    await clock.advance(2 * limits.heartbeatMs);
    expect([expected(), registry.serving('meta-worker', 'meta')]).toEqual([1, 0]);
    const engine = testSpec({ restartsMax: 1 });
    meta.node.spawn(engine);
    await clock.advance(2 * limits.heartbeatMs);
    expect([expected(), registry.serving('meta-worker', 'meta')]).toEqual([1, 1]);
    engine.next = ['stuck'];
    engine.made[0]!.die('crash');
    await clock.advance(2 * limits.heartbeatMs);
    expect([expected(), registry.serving('meta-worker', 'meta')]).toEqual([1, 0]);
    expect(registry.expected('meta-worker', 'other')).toBe(0);

    const hopeless = await testNode(control, clock, { role: 'meta-worker', pool: 'hopeless' });
    const dying = testSpec({ restartsMax: 0 });
    hopeless.node.spawn(dying);
    await clock.advance(2 * limits.heartbeatMs);
    expect(registry.expected('meta-worker', 'hopeless')).toBe(1);
    dying.made[0]!.die('crash');
    await clock.advance(2 * limits.heartbeatMs);
    expect(registry.expected('meta-worker', 'hopeless')).toBe(0);

    void meta.node.drain();
    await clock.advance(2 * limits.heartbeatMs);
    expect(expected()).toBe(0);
    for (const { node } of [meta, hopeless]) await node.close();
    await registry.close();
  });

  it('counts who serves: of that role and pool, not draining, with an engine alive', async () => {
    const { registry, clock, control } = await stage();
    const serving = await testNode(control, clock, { role: 'meta-worker', pool: 'meta' });
    const engine = testSpec({ restartsMax: -1 });
    serving.node.spawn(engine);
    const draining = await testNode(control, clock, { role: 'meta-worker', pool: 'meta' });
    draining.node.spawn(testSpec());
    const idle = await testNode(control, clock, { role: 'meta-worker', pool: 'meta' });
    const starting = testSpec();
    starting.next = ['stuck'];
    idle.node.spawn(starting);
    const other = await testNode(control, clock, { role: 'meta-worker', pool: 'other' });
    other.node.spawn(testSpec());
    await clock.advance(2 * limits.heartbeatMs);
    expect(registry.serving('meta-worker', 'meta')).toBe(2);
    void draining.node.drain();
    await clock.advance(2 * limits.heartbeatMs);
    expect(registry.serving('meta-worker', 'meta')).toBe(1);
    engine.next = ['stuck'];
    engine.made[0]!.die('crash');
    await clock.advance(2 * limits.heartbeatMs);
    expect(registry.serving('meta-worker', 'meta')).toBe(0);
    expect(registry.serving('meta-worker', 'other')).toBe(1);
    for (const { node } of [serving, draining, idle, other]) await node.close();
    await registry.close();
  });

  it('counts on nobody who says that it takes no work, until it says otherwise, and hears of it at the next reading', async () => {
    const { registry, clock, control } = await stage();
    let refuses = "this machine's clock is off";
    const standing = () => ({ clockSkewMs: 7_200_000, refuses, expired: 2 });
    const { node } = await testNode(control, clock, { role: 'coordinator', standing });
    const worker = await testNode(control, clock, { role: 'meta-worker', pool: 'meta', standing });
    worker.node.spawn(testSpec());
    await clock.advance(2 * limits.heartbeatMs);
    const counted = () => [
      registry.serving('meta-worker', 'meta'),
      registry.expected('meta-worker', 'meta'),
      registry.pool('meta-worker', 'meta').engines,
      registry.taking('coordinator').length,
    ];
    expect(counted()).toEqual([0, 0, 0, 0]);
    expect(registry.alive(node.id)).toBe(true);
    expect(registry.nodes()[0]?.node).toMatchObject({ clockSkewMs: 7_200_000, refuses, expired: 2 });
    let changes = 0;
    registry.onChange(() => changes++);
    refuses = '';
    for (const each of [node, worker.node]) each.tell();
    await clock.advance(limits.heartbeatMsMin);
    await registry.refresh();
    expect(counted()).toEqual([1, 1, 1, 1]);
    expect(changes).toBe(1);
    for (const each of [node, worker.node]) await each.close();
    await registry.close();
  });

  it('R5: adds a pool up once per reading, without those that drain', async () => {
    const { registry, clock, control } = await stage();
    expect(registry.pool('grm-worker', 'grm')).toEqual({ engines: 0, slots: 0, running: 0, serving: 0, expected: 0 });
    const [a, b, c] = [await testNode(control, clock), await testNode(control, clock), await testNode(control, clock)];
    const other = await testNode(control, clock, { pool: 'other' });
    a.node.spawn(testSpec());
    a.node.spawn(testSpec({ name: 'second' }));
    b.load = { ...b.load, slots: 32, running: 8 };
    void c.node.drain();
    await clock.advance(2 * limits.heartbeatMs);
    const count = registry.pool('grm-worker', 'grm');
    expect(count).toEqual({ engines: 3, slots: 96, running: 8, serving: 1, expected: 2 });
    expect(registry.pool('grm-worker', 'grm')).toBe(count);
    expect(registry.taking('grm-worker')).toEqual([a, b, other].map(({ node }) => node.id).sort());
    b.load = { ...b.load, running: 9 };
    await clock.advance(2 * limits.heartbeatMs);
    expect(registry.pool('grm-worker', 'grm').running).toBe(9);
    for (const { node } of [a, b, c, other]) await node.close();
    await registry.close();
  });

  it('gathers the work of all nodes', async () => {
    const { registry, clock, control } = await stage();
    expect(registry.work()).toEqual({ busy: new Set(), complete: false });
    const [a, b, c] = [await testNode(control, clock), await testNode(control, clock), await testNode(control, clock)];
    a.busy = ['r1', 'r2'];
    b.busy = ['r2', 'r3'];
    b.oldestOpenAtMs = 2_000;
    c.oldestOpenAtMs = 1_000;
    await clock.advance(knownMs);
    expect(registry.work()).toEqual({ busy: new Set(['r1', 'r2', 'r3']), complete: true, oldestOpenAtMs: 1_000 });
    c.busy = Array.from({ length: limits.busyRequestsMax + 1 }, (_, at) => `r${at}`);
    await clock.advance(2 * limits.heartbeatMs);
    expect(registry.work().complete).toBe(false);
    for (const { node } of [a, b, c]) await node.close();
    await registry.close();
  });

  it('tells changes, not heartbeats', async () => {
    const { registry, clock, control, troubles } = await stage();
    let changes = 0;
    registry.onChange(() => {
      throw new Error('bug of a listener');
    });
    const end = registry.onChange(() => void (changes += 1));
    const { node } = await testNode(control, clock);
    await clock.advance(limits.heartbeatMs);
    expect(changes).toBe(1);
    await clock.advance(10 * limits.heartbeatMs);
    expect(changes).toBe(1);
    void node.drain();
    await clock.advance(2 * limits.heartbeatMs);
    expect(changes).toBe(2);
    end();
    await node.close();
    await clock.advance(limits.heartbeatMs);
    expect(changes).toBe(2);
    expect(new Set(troubles)).toEqual(new Set(['listener of the registry: bug of a listener']));
    expect(registry.alive('nobody')).toBe(false);
    await registry.close();
  });

  it('an engine that is up and out of service serves nobody, and says why while none does', async () => {
    const { registry, clock, control } = await stage();
    const outage = () => registry.outage('grm-worker', 'grm');
    await clock.advance(limits.heartbeatMs);
    expect(outage()).toBe('no grm-worker of pool grm is in the cluster');
    const spec = testSpec();
    const { node, events } = await testNode(control, clock);
    const actor = node.spawn(spec);
    await clock.advance(2 * limits.heartbeatMs);
    expect([registry.serving('grm-worker', 'grm'), outage(), actor.serving()]).toEqual([1, undefined, spec.made[0]]);

    // The lease tells at once, not at the next heartbeat.
    spec.out = { cause: 'refused', reason: 'HTTP 401: check the key', sinceMs: clock.now() };
    events.emit('engine.service', { engine: 'engine0', state: 'out', cause: 'refused', reason: spec.out.reason });
    await clock.advance(limits.heartbeatMsMin);
    await registry.refresh();
    expect(actor.serving()).toBeUndefined();
    expect(actor.current()).toBe(spec.made[0]);
    const [described] = registry.nodes()[0]!.node.actors;
    expect(described).toMatchObject({ state: ActorState.OUT_OF_SERVICE, stateReason: 'HTTP 401: check the key' });
    expect([registry.serving('grm-worker', 'grm'), registry.expected('grm-worker', 'grm')]).toEqual([0, 1]);
    expect(outage()).toBe(`no engine serves: ${actor.id}: HTTP 401: check the key`);

    spec.out = undefined;
    events.emit('engine.service', { engine: 'engine0', state: 'back' });
    await clock.advance(limits.heartbeatMs);
    await registry.refresh();
    expect([registry.serving('grm-worker', 'grm'), outage()]).toEqual([1, undefined]);
    await node.close();
    await registry.close();
  });
});
