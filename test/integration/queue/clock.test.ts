// The server's clock, read from a real one.

import { expect, test } from 'vitest';
import { openQueue } from '../../../src/queue/jetstream.js';
import type { ClockState } from '../../../src/queue/server-time.js';
import { startNats } from '../../support/nats.js';
import { until } from '../../support/processes.js';
import { queueOptions } from '../../support/queue-options.js';

test('a reading bounds the server’s clock, a restart of the server is ridden out, and the age of a lease is told by it', async () => {
  await using nats = await startNats();
  const queue = await openQueue(queueOptions(nats, { retention: { leaseMs: 60_000 } }));
  const heard: ClockState[] = [];
  const keeper = queue.keepTime((state) => void heard.push(state));
  await keeper.begun;
  // One machine: the server's clock is ours.
  const off = (): number => {
    const state = queue.time.state();
    if (state.kind !== 'read') throw new Error(`not read: ${state.why}`);
    return Math.abs(Date.now() - queue.time.now()) - state.errorMs;
  };
  expect(off()).toBeLessThan(1_000);

  await nats.kill();
  await until(() => !queue.connected(), 'the connection is lost');
  const before = heard.length;
  await nats.restart();
  await until(() => queue.connected() && heard.length > before, 'it is read again');
  expect(off()).toBeLessThan(1_000);

  const real = Date.now;
  try {
    // This machine's clock is set: what was written a moment ago is not an hour old.
    Date.now = () => real() + 3_600_000;
    await queue.control.renewLease('coordinator-0a', Buffer.from('lease'));
    const [lease] = await queue.control.leases();
    expect(lease?.ageMs).toBeLessThan(60_000);
    expect(queue.time.state()).toMatchObject({ kind: 'read' });
    expect(Math.abs(queue.time.systemLessServerMs() - 3_600_000)).toBeLessThan(60_000);
  } finally {
    Date.now = real;
  }
  await queue.close();
});

test('a user that may not read the clock is told so, and goes by its own', async () => {
  const config = `authorization { users: [
    { user: "all", password: "p" }
    { user: "blind", password: "p", permissions: { publish: { deny: ["$KV.GRM_CLUSTER.clock.*"] } } }
  ] }`;
  await using nats = await startNats({ config });
  const owner = await openQueue(queueOptions(nats, { user: 'all', password: 'p' }));
  const queue = await openQueue(queueOptions(nats, { user: 'blind', password: 'p', own: false }));
  const keeper = queue.keepTime(() => undefined);
  await keeper.begun;
  expect(queue.time.state()).toMatchObject({
    kind: 'denied',
    why: expect.stringMatching(/does not let this user publish to \$KV\.GRM_CLUSTER\.clock/) as string,
  });
  expect(Math.abs(queue.time.now() - Date.now())).toBeLessThan(60_000);
  await expect(queue.clockSkewMs()).rejects.toMatchObject({ fault: { kind: 'permission_denied' } });
  // Leases are read all the same.
  expect(await queue.control.leases()).toEqual([]);
  await queue.close();
  await owner.close();
});
