// A door that strangers knock at: bytes that are no message, messages that unpack to more than they are, senders that stop half-way.

import fc from 'fast-check';
import { gzipSync } from 'node:zlib';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { fault } from '../../../src/fault.js';
import { limits } from '../../../src/limits.js';
import { toMessage } from '../../../src/rpc/score-request.js';
import { ScoreRequest, ScoreStreamRequest } from '../../../src/wire/gen/grm/v1/reward.js';
import { frame, RawConnection } from '../../support/raw-grpc.js';
import { aRequest, failure, RpcPeer, until } from '../../support/rpc-peer.js';
import { verdictFor } from '../../support/scripted-coordinator.js';

const MiB = 1024 * 1024;
const scorePath = '/grm.v1.RewardService/Score';
const streamPath = '/grm.v1.RewardService/ScoreStream';
const codes = {
  ok: 0,
  invalidArgument: 3,
  deadlineExceeded: 4,
  notFound: 5,
  resourceExhausted: 8,
  unimplemented: 12,
  internal: 13,
};

/** A test that stands still for long is no silent connection. */
const patient = { keepaliveMs: 3_600_000 };

let peer: RpcPeer;
let raw: RawConnection;
beforeEach(async () => {
  peer = await RpcPeer.open({ arrivalMs: 60_000, ...patient });
  raw = await RawConnection.open(peer.server.address);
});
afterEach(async () => {
  await raw[Symbol.asyncDispose]();
  await peer[Symbol.asyncDispose]();
});

/** The door still serves, over an old connection and a new one, and nothing is left open. */
async function servesOn(): Promise<void> {
  expect(await raw.ask(scorePath, someMessage())).toMatchObject({ code: codes.ok });
  expect(await peer.client().score(aRequest())).toMatchObject({ kind: 'valid' });
  expect(peer.server.open()).toBe(0);
}

function someMessage(): Buffer {
  const asking = toMessage(
    aRequest({
      query: [
        { role: 'system', content: 'Be brief.' },
        { role: 'user', content: 'Why is the sky blue? \ud83d\ude00' },
      ],
      reference: 'Rayleigh',
      principles: [{ text: 'Truth', weightPercent: 60 }],
      idempotencyKey: 'key',
      k: 3,
      temperature: 0.5,
    }),
    'default',
  );
  if (asking.kind === 'fault') throw new Error(asking.fault.message);
  return Buffer.from(ScoreRequest.encode(asking.message).finish());
}

type Edit =
  | { readonly kind: 'set' | 'insert'; readonly at: number; readonly byte: number }
  | { readonly kind: 'cut' | 'double'; readonly at: number };

function edited(message: Buffer, edits: readonly Edit[]): Buffer {
  return edits.reduce((bytes, edit) => {
    const at = edit.at % (bytes.length + 1);
    switch (edit.kind) {
      case 'set':
        return Buffer.concat([bytes.subarray(0, at), Buffer.of(edit.byte), bytes.subarray(at + 1)]);
      case 'insert':
        return Buffer.concat([bytes.subarray(0, at), Buffer.of(edit.byte), bytes.subarray(at)]);
      case 'cut':
        return bytes.subarray(0, at);
      case 'double':
        return Buffer.concat([bytes, bytes.subarray(at)]);
    }
  }, message);
}

const place = fc.nat({ max: 1_000 });
const byte = fc.nat({ max: 255 });
const edit: fc.Arbitrary<Edit> = fc.oneof(
  fc.record({ kind: fc.constant('set' as const), at: place, byte }),
  fc.record({ kind: fc.constant('insert' as const), at: place, byte }),
  fc.record({ kind: fc.constantFrom('cut' as const, 'double' as const), at: place }),
);
const hostileBytes = fc.oneof(
  fc.array(edit, { minLength: 1, maxLength: 6 }).map((edits) => edited(someMessage(), edits)),
  fc.uint8Array({ maxLength: 200 }).map((bytes) => Buffer.from(bytes)),
);

describe('bytes that are no request', () => {
  it('are answered with a clear status, each of 400, and the door serves on (property)', async () => {
    // What decodes and is in order reaches the coordinator, which knows nothing.
    peer.coordinator.script = () => ({ kind: 'fault', fault: fault('not_found', 'nobody is here') });
    const cases = fc.sample(hostileBytes, { numRuns: 400, seed: 20_261_126 });
    const seen = new Set<number | undefined>();
    for (let from = 0; from < cases.length; from += 50) {
      const some = cases.slice(from, from + 50);
      const answers = await Promise.all(some.map((bytes) => raw.ask(scorePath, bytes)));
      for (const [at, { code, message }] of answers.entries()) {
        const bytes = some[at]!.toString('hex');
        expect([codes.invalidArgument, codes.notFound, codes.internal], `${bytes}: ${message}`).toContain(code);
        expect(message, bytes).not.toBe('');
        expect(message, bytes).not.toMatch(/\bat .*\.[jt]s:\d/);
        seen.add(code);
      }
    }
    // The cases are not all of one kind.
    expect(seen).toEqual(new Set([codes.invalidArgument, codes.notFound, codes.internal]));
    expect(peer.troubles).toEqual([]);
    peer.coordinator.script = (input) => ({ kind: 'verdict', verdict: verdictFor(input) });
    await servesOn();
  });

  it('end their stream and no other', async () => {
    const other = raw.call(streamPath);
    const broken = raw.call(streamPath);
    broken.stream.write(frame(Buffer.from('0affffffffff', 'hex')));
    const { code, message } = await broken.answered;
    expect([code, message]).toEqual([codes.internal, expect.stringMatching(/deserializ/i)]);
    other.stream.end(frame(streamMessage('a')));
    expect(await other.answered).toMatchObject({ code: codes.ok });
    await servesOn();
  });

  it('of calls that nobody knows, and lengths that are lies', async () => {
    expect(await raw.ask('/grm.v1.RewardService/Steal', Buffer.alloc(0))).toMatchObject({ code: codes.unimplemented });
    const lie = raw.call(scorePath);
    lie.stream.write(frame(Buffer.alloc(100), false, 0xffff_ffff));
    const { code, message } = await lie.answered;
    expect([code, message]).toEqual([codes.resourceExhausted, expect.stringMatching(/larger than max/)]);
    const short = raw.call(scorePath);
    short.stream.end(frame(Buffer.alloc(10), false, 100));
    expect([codes.internal, codes.unimplemented]).toContain((await short.answered).code);
    await servesOn();
  });
});

describe('packed messages', () => {
  it('are unpacked and served', async () => {
    const packed = gzipSync(someMessage());
    expect(await raw.ask(scorePath, packed, { 'grpc-encoding': 'gzip' })).toMatchObject({ code: codes.ok });
  });

  it('P4: that would unpack to a gigabyte are refused at the limit, without its memory', async () => {
    // gzip's members may stand one after the other: 64 of 16 MiB.
    const member = gzipSync(Buffer.alloc(16 * MiB));
    const bomb = Buffer.concat(Array.from({ length: 64 }, () => member));
    expect(bomb.length).toBeLessThan(2 * MiB);
    const before = process.memoryUsage().rss;
    const answers = await Promise.all(
      Array.from({ length: 4 }, () => raw.ask(scorePath, bomb, { 'grpc-encoding': 'gzip' })),
    );
    for (const { code, message } of answers) {
      expect(code).toBe(codes.resourceExhausted);
      expect(message).toMatch(new RegExp(`decompresses to a size larger than ${limits.grpcMessageBytesMax}`));
    }
    expect(process.memoryUsage().rss - before).toBeLessThan(512 * MiB);
    await servesOn();
  });

  it('that are not what they say are refused', async () => {
    const wrong = await raw.ask(scorePath, someMessage(), { 'grpc-encoding': 'gzip' });
    expect(wrong.code).not.toBe(codes.ok);
    const cut = await raw.ask(scorePath, gzipSync(someMessage()).subarray(0, -12), { 'grpc-encoding': 'gzip' });
    expect(cut.code).not.toBe(codes.ok);
    const unknown = await raw.ask(scorePath, someMessage(), { 'grpc-encoding': 'snappy' });
    expect([unknown.code, unknown.message]).toEqual([codes.unimplemented, expect.stringContaining('snappy')]);
    await servesOn();
  });
});

describe('slow senders', () => {
  beforeEach(async () => {
    await raw[Symbol.asyncDispose]();
    await peer[Symbol.asyncDispose]();
    peer = await RpcPeer.open({ arrivalMs: 500, ...patient });
    raw = await RawConnection.open(peer.server.address);
  });

  it('AR1: are cut off, whether half of the message is there, none of it, or all but its end', async () => {
    const idle = raw.call(streamPath);
    const half = raw.call(scorePath);
    half.stream.write(frame(Buffer.alloc(100_000), false, 1_000_000));
    const nothing = raw.call(scorePath);
    const unended = raw.call('/grm.v1.RewardService/WatchScore');
    unended.stream.write(frame(Buffer.alloc(0)));
    for (const { closed } of [half, nothing, unended]) {
      // The stream is closed, although its sender never ended it.
      const { code, message } = await closed;
      expect([code, message]).toEqual([codes.deadlineExceeded, 'the request did not arrive whole within 500 ms']);
    }
    expect(peer.server.open()).toBe(1);
    // AR2: a stream of requests that was opened before them may be silent for as long.
    idle.stream.end(frame(streamMessage('late')));
    expect(await idle.answered).toMatchObject({ code: codes.ok });
    expect(peer.troubles).toEqual([]);
    await servesOn();
  });

  it('AR1: a request that is there in time may take its time to be answered', async () => {
    peer.coordinator.script = () => undefined;
    const answer = peer.client().score(aRequest());
    const late = raw.call(scorePath);
    await until(() => peer.coordinator.calls.length === 1);
    expect((await late.closed).code).toBe(codes.deadlineExceeded);
    peer.coordinator.calls[0]!.verdict();
    expect(await answer).toMatchObject({ kind: 'valid' });
  });
});

describe('requests of a size that nobody means', () => {
  it('100,000 messages are one violation, and so are 100,000 responses', async () => {
    const turns = Array.from({ length: 100_000 }, (_, i) => ({
      role: i % 2 === 0 ? ('user' as const) : ('assistant' as const),
      content: 'x',
    }));
    const many = await failure(peer.client().score(aRequest({ query: [...turns, { role: 'user', content: 'x' }] })));
    expect(many.kind).toBe('invalid_request');
    expect(many.violations).toEqual([
      { field: 'content.query.messages', description: `came 100001, expected 1..${limits.messagesMax} messages` },
    ]);
    const wide = await failure(
      peer.client().score(aRequest({ responses: Array.from({ length: 100_000 }, () => 'x') })),
    );
    expect(wide.violations.map(({ field }) => field)).toEqual(['content.responses']);
    await servesOn();
  });

  it('names and keys of a megabyte are shown by their beginnings', async () => {
    const name = '\ud83d\ude00'.repeat(MiB / 4);
    const refused = await failure(
      peer.client().score(aRequest({ idempotencyKey: name, tenant: name, template: name })),
    );
    expect(refused.violations.map(({ field }) => field).sort()).toEqual([
      'idempotency_key',
      'options.template',
      'tenant',
    ]);
    for (const { description } of refused.violations) expect(description.length).toBeLessThan(500);
    await servesOn();
  });
});

function streamMessage(correlationId: string): Buffer {
  const request = ScoreRequest.decode(someMessage());
  return Buffer.from(ScoreStreamRequest.encode({ correlationId, request }).finish());
}
