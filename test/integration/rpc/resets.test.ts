// Calls that their client gives up, many at once: no other call is harmed by it.

import { setMaxListeners } from 'node:events';
import { connect, constants, createServer, type ServerHttp2Stream } from 'node:http2';
import type { AddressInfo } from 'node:net';
import { credentials, Metadata, status as codes, type ServiceError } from '@grpc/grpc-js';
import { expect, test } from 'vitest';
import { limits } from '../../../src/limits.js';
import { GrmClient } from '../../../src/rpc/client.js';
import { intake } from '../../../src/coordinator/intake.js';
import { toMessage } from '../../../src/rpc/score-request.js';
import { verdictToProto } from '../../../src/wire/convert.js';
import { Detail, RewardServiceClient, ScoreResponse, WatchScoreResponse } from '../../../src/wire/gen/grm/v1/reward.js';
import { aRequest, failure, RpcPeer, until } from '../../support/rpc-peer.js';
import { verdictFor } from '../../support/scripted-coordinator.js';

/** Calls of somebody who goes on, on the connection that the others reset. */
const others = 20;

function wire(query: string) {
  const asking = toMessage(aRequest({ query }), '');
  if (asking.kind === 'fault') throw new Error(asking.fault.message);
  return asking.message;
}

function inputOf(query: string) {
  const { responses } = aRequest();
  const taken = intake({ content: { query: { messages: [{ role: 'user', content: query }] }, responses } });
  if (taken.kind === 'violations') throw new Error(JSON.stringify(taken.violations));
  return taken.input;
}

test('SE2: a client of any make that resets all calls of a step, again and again, keeps its others', async () => {
  await using peer = await RpcPeer.open();
  peer.coordinator.hold();
  const options = { 'grpc.use_local_subchannel_pool': 1 };
  const client = new RewardServiceClient(peer.server.address, credentials.createInsecure(), options);
  const ask = (query: string) => {
    let cancel = (): void => undefined;
    const ended = new Promise<string>((resolve) => {
      const call = client.score({ ...wire(query) }, new Metadata(), (error: ServiceError | null, response) =>
        resolve(error ? `${codes[error.code]}: ${error.details}` : response.verdict ? 'verdict' : 'nothing'),
      );
      cancel = () => call.cancel();
    });
    return { ended, cancel };
  };
  const kept = Array.from({ length: others }, (_, i) => ask(`kept ${i}`));
  await until(() => peer.coordinator.calls.length === others);
  for (let step = 0; step < 2; step++) {
    const seen = peer.coordinator.calls.length;
    const calls = Array.from({ length: 1_200 }, (_, i) => ask(`step ${step} ${i}`));
    const room = limits.callsPerConnectionMax - (step === 0 ? others : 0);
    await until(() => peer.coordinator.calls.length - seen >= room);
    for (const { cancel } of calls) cancel();
    expect(new Set(await Promise.all(calls.map(({ ended }) => ended)))).toEqual(
      new Set(['CANCELLED: Cancelled on client']),
    );
    await until(() => peer.server.open() === others);
  }
  for (const call of peer.coordinator.calls) call.verdict(verdictFor(call.input));
  expect(new Set(await Promise.all(kept.map(({ ended }) => ended)))).toEqual(new Set(['verdict']));
  client.close();
});

test('SE2: on a connection that was asked to close for its resets no call begins any more', async () => {
  await using peer = await RpcPeer.open();
  peer.coordinator.hold();
  const session = connect(`http://${peer.server.address}`);
  const errors: unknown[] = [];
  session.on('error', (error) => errors.push(error));
  const asked: number[] = [];
  session.on('goaway', (code: number) => asked.push(code));
  const headers = {
    ':method': 'POST',
    ':path': '/grm.v1.RewardService/Score',
    'content-type': 'application/grpc',
    te: 'trailers',
  };
  let begun = 0;
  // Rapid reset: each call is taken back as soon as it has begun.
  while (asked.length === 0 && !session.destroyed && begun < 20_000) {
    const stream = session.request(headers);
    stream.on('error', () => undefined);
    stream.close(8);
    begun++;
    await new Promise((resolve) => setImmediate(resolve));
  }
  expect(begun).toBeLessThan(3 * limits.nodeResetsMax);
  await until(() => session.destroyed);
  await until(() => peer.server.open() === 0);
});

test('SE2: the client of this package gives up calls by signal, and its others go on', async () => {
  await using peer = await RpcPeer.open();
  peer.coordinator.hold();
  const client = peer.client({ retries: { triesMax: 1 } });
  const kept = Array.from({ length: others }, (_, i) => client.score(aRequest({ query: `kept ${i}` })));
  const step = new AbortController();
  setMaxListeners(0, step.signal);
  const calls = Array.from({ length: 1_000 }, (_, i) =>
    failure(client.score(aRequest({ query: `step ${i}` }), { signal: step.signal })),
  );
  await until(() => peer.coordinator.calls.length >= limits.callsPerConnectionMax);
  step.abort();
  expect(new Set((await Promise.all(calls)).map(({ kind }) => kind))).toEqual(new Set(['cancelled']));
  await until(() => peer.server.open() === others);
  for (const call of peer.coordinator.calls) call.verdict(verdictFor(call.input));
  expect((await Promise.all(kept)).every(({ kind }) => kind === 'valid')).toBe(true);
});

/** A server on bare HTTP/2, which lives as long as the test. */
async function bareServer(answer: (stream: ServerHttp2Stream, sessions: number) => void) {
  let sessions = 0;
  const server = createServer();
  server.on('session', () => {
    sessions++;
  });
  server.on('stream', (stream) => {
    stream.on('error', () => undefined);
    answer(stream, sessions);
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  return {
    address: `127.0.0.1:${(server.address() as AddressInfo).port}`,
    sessions: () => sessions,
    [Symbol.dispose]: () => void server.close(),
  };
}

function respond(stream: ServerHttp2Stream, body: Uint8Array, endAfterMs: number): void {
  const head = Buffer.alloc(5);
  head.writeUInt32BE(body.byteLength, 1);
  stream.respond({ ':status': 200, 'content-type': 'application/grpc' }, { waitForTrailers: true });
  stream.on('wantTrailers', () => stream.sendTrailers({ 'grpc-status': '0' }));
  stream.write(Buffer.concat([head, body]));
  setTimeout(() => stream.end(), endAfterMs);
}

const verdict = verdictToProto(verdictFor(inputOf('ended')));

test('a watch() that has its verdict waits for the end of the call instead of resetting it, also where its loop is left there', async () => {
  const event = WatchScoreResponse.encode({
    event: { $case: 'verdict', value: verdict },
    detail: Detail.FULL,
  }).finish();
  const codesAtEnd: number[] = [];
  using server = await bareServer((stream) => {
    stream.once('close', () => codesAtEnd.push(stream.rstCode));
    respond(stream, event, 20);
  });
  using client = GrmClient.connect({ address: server.address });
  for await (const { kind } of client.watch(aRequest())) expect(kind).toBe('verdict');
  for await (const { kind } of client.watch(aRequest())) if (kind === 'verdict') break;
  await until(() => codesAtEnd.length === 2);
  expect(codesAtEnd).toEqual([constants.NGHTTP2_NO_ERROR, constants.NGHTTP2_NO_ERROR]);
});

test('C2: a call that ends with its connection, without a status, is tried again on another', async () => {
  const body = ScoreResponse.encode({ verdict, detail: Detail.FULL }).finish();
  using server = await bareServer((stream, sessions) => {
    // As HTTP/2 ends a connection on which too many calls were reset.
    if (sessions <= 2) stream.session?.destroy(new Error('too many resets'), constants.NGHTTP2_INTERNAL_ERROR);
    else respond(stream, body, 0);
  });
  using client = GrmClient.connect({ address: server.address });
  expect(await client.score(aRequest({ query: 'ended' }))).toMatchObject({ kind: 'valid' });
  expect(server.sessions()).toBe(3);
});
