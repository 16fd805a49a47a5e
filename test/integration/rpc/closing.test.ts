// Connections that close while calls run on them: by a server that goes away, or because they are old. Nothing here depends on how long a call
// takes, only on its outlasting the keep-alive.

import { setTimeout as sleep } from 'node:timers/promises';
import { expect, test } from 'vitest';
import type { Watched } from '../../../src/rpc/client.js';
import { aRequest, failure, RpcPeer, until } from '../../support/rpc-peer.js';
import { startTcpProxy } from '../../support/tcp-proxy.js';
import { scored } from '../../support/judgement.js';
import { verdictFor } from '../../support/scripted-coordinator.js';

/** A ping after so long, answered within as long again. */
const keepaliveMs = 200;
const keepAlive = { afterMs: keepaliveMs, withinMs: 1_000 };
const quickServer = { keepaliveMs, keepaliveTimeoutMs: 1_000 };
/** Many pings later. */
const longerMs = 1_500;
/** A call that is cut fails at once, instead of being tried again unseen. */
const retries = { triesMax: 1 };

/** Calls of every shape are open and held; `finish` answers them. */
async function openCalls(peer: RpcPeer, client = peer.client({ keepAlive, retries })) {
  peer.coordinator.script = () => undefined;
  const unary = client.score(aRequest({ query: 'unary' }));
  const watched = (async () => {
    const seen: Watched['kind'][] = [];
    for await (const { kind } of client.watch(aRequest({ query: 'watched' }))) seen.push(kind);
    return seen;
  })();
  const streamed = (async () => {
    const told: string[] = [];
    const troubles: string[] = [];
    const options = { onTrouble: ({ kind }: { readonly kind: string }) => void troubles.push(kind) };
    for await (const { kind } of client.scoreMany([aRequest({ query: 'streamed' })], options)) told.push(kind);
    return { told, troubles };
  })();
  const all = Promise.all([unary, watched, streamed]);
  all.catch(() => undefined);
  await until(() => peer.coordinator.calls.length === 3);
  return {
    all,
    finish: () => {
      for (const call of peer.coordinator.calls) {
        if (call.input.content.messages[0]?.content === 'watched') {
          call.sample({ sample: scored(0, [1, 2]), kept: 'kept' });
        }
        call.verdict(verdictFor(call.input));
      }
    },
  };
}

const answered = [
  expect.objectContaining({ kind: 'valid' }),
  ['sample', 'verdict'],
  { told: ['verdict'], troubles: [] },
];

test('P6: calls of every shape outlast the keep-alive of a server that goes away, within its grace', async () => {
  await using peer = await RpcPeer.open(quickServer);
  const { all, finish } = await openCalls(peer);
  const closed = peer.server.close(60_000);
  await sleep(longerMs);
  expect(peer.server.open()).toBe(3);
  finish();
  expect(await all).toEqual(answered);
  await closed;
});

test('V3: calls of every shape outlast the age of their connection, and new ones take a new one', async () => {
  await using peer = await RpcPeer.open({ ...quickServer, maxConnectionAgeMs: 300 });
  await using proxy = await startTcpProxy(peer.server.address);
  const client = peer.client({ keepAlive, retries, address: proxy.address });
  const { all, finish } = await openCalls(peer, client);
  await sleep(longerMs);
  const before = proxy.stats();
  peer.coordinator.script = (input) => ({ kind: 'verdict', verdict: verdictFor(input) });
  // A call that meets a connection in the moment of its closing is refused, and may be tried again.
  const another = () => client.score(aRequest({ query: 'another' })).catch(() => undefined);
  let told = await another();
  for (let tries = 1; told === undefined && tries < 10; tries++) told = await another();
  expect(told).toMatchObject({ kind: 'valid' });
  expect(proxy.stats().connections).toBeGreaterThan(1);
  expect(before.open).toBeGreaterThan(0);
  finish();
  expect(await all).toEqual(answered);
});

test('V3: only one of both sides asks for signs of life: calls still outlast the closing', async () => {
  for (const [server, client] of [
    [quickServer, undefined],
    [{}, keepAlive],
  ] as const) {
    await using peer = await RpcPeer.open(server);
    const { all, finish } = await openCalls(peer, peer.client({ retries, ...(client && { keepAlive: client }) }));
    const closed = peer.server.close(60_000);
    await sleep(longerMs);
    finish();
    expect(await all).toEqual(answered);
    await closed;
  }
});

test('SE1: a peer that died is noticed, before the connection closes and while it does', async () => {
  for (const isClosing of [false, true]) {
    await using peer = await RpcPeer.open({ ...quickServer, ...(isClosing && { maxConnectionAgeMs: 300 }) });
    await using proxy = await startTcpProxy(peer.server.address);
    const client = peer.client({ keepAlive, retries, address: proxy.address });
    peer.coordinator.script = () => undefined;
    const call = failure(client.score(aRequest()));
    await until(() => peer.coordinator.calls.length === 1);
    if (isClosing) await sleep(longerMs);
    expect(peer.server.open()).toBe(1);
    expect(peer.coordinator.gone).toBe(0);
    proxy.set({ kind: 'black hole' });
    // Both sides: the client's call fails, and the server cancels what nobody hears of.
    expect((await call).kind).toBe('unreachable');
    await until(() => peer.coordinator.gone === 1);
  }
});
