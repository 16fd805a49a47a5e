import { describe, expect, it } from 'vitest';
import { ask, askEach, broadcastCancel, listenCancel } from '../../../src/actor/handle.js';
import { isToken } from '../../../src/actor/control.js';
import { decodeLease } from '../../../src/actor/lease.js';
import { limits } from '../../../src/limits.js';
import { ActorState } from '../../../src/wire/gen/grm/v1/cluster.js';
import { localControlPlane, type LocalControlPlane } from '../../support/control-plane.js';
import { testSpec } from '../../support/fake-running.js';
import { testNode, type TestNode } from '../../support/test-node.js';
import { virtualClock, type VirtualClock } from '../../support/virtual-clock.js';

async function stage(): Promise<TestNode & { readonly clock: VirtualClock; readonly control: LocalControlPlane }> {
  const clock = virtualClock();
  const control = localControlPlane(clock);
  return Object.assign(await testNode(control, clock), { clock, control });
}

async function lease(control: LocalControlPlane, name: string) {
  const found = (await control.leases()).find((candidate) => candidate.name === name);
  return found && decodeLease(found.body, found.ageMs);
}

describe('node', () => {
  it('its id is a token of role and life', async () => {
    const { node, clock, control } = await stage();
    const other = await testNode(control, clock);
    expect(isToken(node.id)).toBe(true);
    expect(node.id).toMatch(/^grm-worker-[0-9a-f]{10}$/);
    expect(other.node.id).not.toBe(node.id);
    await Promise.all([node.close(), other.node.close()]);
    await expect(testNode(control, clock, { role: 'a.b' })).rejects.toThrow('no short token');
  });

  it('D1: renews its lease at every heartbeat with what it is and does now', async () => {
    const { node, clock, control, ...held } = await stage();
    await clock.settle();
    expect(control.renewals(node.id)).toBe(1);
    held.load = { slots: 64, running: 9, done: 120, ratePerSecond: 2.5 };
    await clock.advance(10 * limits.heartbeatMs);
    expect(control.renewals(node.id)).toBe(11);
    await node.close();
  });

  it('D1: the lease says what it works on', async () => {
    const test = await stage();
    test.busy = ['r1', 'r2'];
    test.oldestOpenAtMs = 1_699_999_999_000;
    test.load = { slots: 32, running: 9, done: 120, ratePerSecond: 2.5 };
    await test.clock.advance(limits.heartbeatMs);
    expect(await lease(test.control, test.node.id)).toMatchObject({
      busyRequests: ['r1', 'r2'],
      busyCut: false,
      oldestOpenAtMs: 1_699_999_999_000,
      node: { role: 'grm-worker', pool: 'grm', gpus: 2, slots: 32, running: 9, done: 120, ratePerSecond: 2.5 },
    });
    await test.node.close();
  });

  it('D1: a change is told at once, a burst of changes in one renewal', async () => {
    const { node, clock, control } = await stage();
    await clock.advance(limits.heartbeatMsMin + 1);
    const before = control.renewals(node.id);
    for (let at = 0; at < 8; at++) node.spawn(testSpec({ name: `engine${at}` }));
    await clock.advance(2 * limits.heartbeatMsMin);
    // One when the first change woke it, one for all that changed meanwhile.
    expect(control.renewals(node.id) - before).toBeLessThanOrEqual(2);
    const told = await lease(control, node.id);
    expect(told?.node.actors.map((actor) => actor.state)).toEqual(Array(8).fill(ActorState.ALIVE));
    expect(told?.node.fake).toBe(true);
    await node.close();
  });

  it('D2: an outage is told once and survived', async () => {
    const { node, clock, control, troubles } = await stage();
    await clock.settle();
    for (let outage = 1; outage <= 2; outage++) {
      control.away(true);
      await clock.advance(20 * limits.heartbeatMs);
      expect(node.heartbeatsMissed()).toBe(20);
      expect(troubles).toEqual(Array(outage).fill(`node ${node.id}: lease not renewed: NATS does not answer`));
      control.away(false);
      await clock.advance(limits.heartbeatMs);
      expect(node.heartbeatsMissed()).toBe(0);
      expect(await lease(control, node.id)).toMatchObject({ node: { id: node.id } });
    }
    await node.close();
  });

  it('D3: the lease goes after the actors, and does not come back', async () => {
    const { node, clock, control } = await stage();
    const actor = node.spawn(testSpec());
    await clock.settle();
    const closed = node.close();
    expect(actor.current()).toBe(undefined);
    await closed;
    expect(actor.state().kind).toBe('dead');
    expect(await control.leases()).toEqual([]);
    await clock.advance(10 * limits.heartbeatMs);
    expect(await control.leases()).toEqual([]);
    expect(await ask(control, node.id, { kind: 'status' })).toMatchObject({ kind: 'unreachable' });
    expect(clock.waiting()).toBe(0);
    await node.close();
  });

  it('D3: a renewal that is on its way when the node closes does not outlive the drop', async () => {
    const clock = virtualClock();
    const control = localControlPlane(clock);
    let arrive: () => void = () => undefined;
    const slow = new Promise<void>((resolve) => (arrive = resolve));
    const { node } = await testNode(
      { ...control, renewLease: (name, body) => slow.then(() => control.renewLease(name, body)) },
      clock,
    );
    const closed = node.close();
    await clock.settle();
    arrive();
    await closed;
    await clock.settle();
    expect(control.renewals(node.id)).toBe(1);
    expect(await control.leases()).toEqual([]);
  });

  it('D3: closes while NATS is away; the lease runs out by itself', async () => {
    const { node, clock, control, troubles } = await stage();
    await clock.settle();
    control.away(true);
    await node.close();
    expect(troubles).toEqual([`node ${node.id}: lease not dropped; it runs out: NATS does not answer`]);
    control.away(false);
    await clock.advance(limits.leaseMs);
    expect(await control.leases()).toEqual([]);
  });

  it('D4, P6: a drain stops the taking, tells when the work is done, and a resume takes it back', async () => {
    const test = await stage();
    const { node, clock, control, told, drains } = test;
    const actor = node.spawn(testSpec());
    await clock.settle();
    test.load = { ...test.load, running: 3 };
    expect(await ask(control, node.id, { kind: 'drain' })).toEqual({ kind: 'done' });
    expect(await ask(control, node.id, { kind: 'drain' })).toEqual({ kind: 'done' });
    expect(told).toEqual(['drain']);
    expect(actor.current()).toBe(undefined);
    expect(actor.held()).toBe(test.node.actors()[0]?.held());
    await clock.advance(limits.heartbeatMs);
    expect((await lease(control, node.id))?.node).toMatchObject({
      draining: true,
      actors: [{ state: ActorState.DRAINING }],
    });
    expect(drains).toEqual(['started:3']);
    const latecomer = node.spawn(testSpec({ name: 'engine1' }));
    await clock.settle();
    expect(latecomer.state()).toMatchObject({ kind: 'pending', held: true });

    test.load = { ...test.load, running: 0 };
    test.finishDrain();
    await clock.settle();
    expect(drains).toEqual(['started:3', 'finished:0']);

    expect(await ask(control, node.id, { kind: 'resume' })).toEqual({ kind: 'done' });
    await clock.advance(limits.heartbeatMs);
    expect(told).toEqual(['drain', 'resume']);
    expect(actor.state().kind).toBe('alive');
    expect(latecomer.state().kind).toBe('alive');
    expect((await lease(control, node.id))?.node.draining).toBe(false);
    await node.close();
  });

  it('D4: a drain that a resume overtook does not tell that it finished', async () => {
    const test = await stage();
    void test.node.drain();
    await test.node.resume();
    test.finishDrain();
    await test.clock.settle();
    expect(test.drains).toEqual(['started:0', 'resumed:0']);
    await test.node.close();
  });

  it('answers status, cancel and slots', async () => {
    const test = await stage();
    const { node, control, told } = test;
    test.busy = ['r1'];
    expect(await ask(control, node.id, { kind: 'status' })).toMatchObject({ kind: 'status', node: { id: node.id } });
    expect(await ask(control, node.id, { kind: 'cancel', requestId: 'r1' })).toEqual({
      kind: 'cancelled',
      cancelled: true,
    });
    expect(await ask(control, node.id, { kind: 'cancel', requestId: 'r2' })).toEqual({
      kind: 'cancelled',
      cancelled: false,
    });
    expect(told).toEqual(['cancel r1', 'cancel r2']);
    expect(await ask(control, node.id, { kind: 'set_slots', slots: 16 })).toEqual({ kind: 'slots', slots: 16 });
    expect(node.describe().slots).toBe(16);
    expect(await ask(control, node.id, { kind: 'set_slots', slots: 101 })).toEqual({
      kind: 'refused',
      reason: 'the engines have room for 100',
    });
    await node.close();
  });

  it('D5: what cannot be read or fails is refused, and the node lives', async () => {
    const clock = virtualClock();
    const control = localControlPlane(clock);
    const fails = (): Promise<never> => Promise.reject(new Error('the loop is gone'));
    const { node, troubles } = await testNode(control, clock, {
      handlers: { drain: fails, resume: fails, cancel: fails, setSlots: fails },
    });
    const answer = await control.ask(node.id, new Uint8Array([255, 255, 255]));
    expect(Buffer.from(answer!).toString()).toContain('cannot be read by this version');
    const refused = { kind: 'refused', reason: 'the loop is gone' };
    expect(await ask(control, node.id, { kind: 'cancel', requestId: 'r1' })).toEqual(refused);
    expect(await ask(control, node.id, { kind: 'set_slots', slots: 1 })).toEqual(refused);
    expect(await ask(control, node.id, { kind: 'drain' })).toEqual({ kind: 'done' });
    await clock.settle();
    expect(await ask(control, node.id, { kind: 'resume' })).toEqual(refused);
    expect(troubles.map((words) => words.split(': ')[1])).toEqual([
      'order cancel',
      'order set_slots',
      'drain',
      'order resume',
    ]);
    expect(await ask(control, node.id, { kind: 'status' })).toMatchObject({ kind: 'status' });
    await node.close();
  });

  it('actors have names of their own and are bounded', async () => {
    const { node } = await stage();
    node.spawn(testSpec({ name: 'engine0' }));
    expect(() => node.spawn(testSpec({ name: 'engine0' }))).toThrow('there is an actor engine0 already');
    expect(() => node.spawn(testSpec({ name: 'engine 1' }))).toThrow('is no token');
    for (let at = 1; at < limits.actorsMax; at++) node.spawn(testSpec({ name: `engine${at}` }));
    expect(() => node.spawn(testSpec({ name: 'more' }))).toThrow(`more than ${limits.actorsMax} actors`);
    await node.close();
    expect(() => node.spawn(testSpec({ name: 'late' }))).toThrow('closed');
  });
});

describe('handle', () => {
  it('a node that nobody is, or that cannot be reached, is unreachable', async () => {
    const { node, control, clock } = await stage();
    await clock.settle();
    expect(await askEach(control, [node.id, 'nobody'], { kind: 'status' })).toMatchObject([
      { nodeId: node.id, reply: { kind: 'status' } },
      { nodeId: 'nobody', reply: { kind: 'unreachable', reason: 'nobody does not answer' } },
    ]);
    await control.serve('stranger', () => Promise.resolve(new Uint8Array([0])));
    expect(await ask(control, 'stranger', { kind: 'status' })).toEqual({
      kind: 'unreachable',
      reason: 'stranger answers in another version',
    });
    control.away(true);
    expect(await ask(control, node.id, { kind: 'status' })).toEqual({
      kind: 'unreachable',
      reason: 'NATS does not answer',
    });
    await node.close();
  });

  it('a cancel reaches everybody who listens, and nothing else does', async () => {
    const control = localControlPlane(virtualClock());
    const heard: string[] = [];
    const end = await listenCancel(control, (requestId, run) => void heard.push(`a ${requestId} ${run}`));
    await listenCancel(control, (requestId) => void heard.push(`b ${requestId}`));
    broadcastCancel(control, 'r1', 'c-7');
    control.broadcast('cancel', new Uint8Array([255]));
    end();
    broadcastCancel(control, 'r2', 'c-8');
    expect(heard).toEqual(['a r1 c-7', 'b r1', 'b r2']);
  });
});
