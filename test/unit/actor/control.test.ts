import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import {
  decodeCancel,
  decodeMessage,
  decodeReply,
  decodeWanted,
  encodeCancel,
  encodeMessage,
  encodeReply,
  encodeWanted,
  isToken,
  type Message,
  type Reply,
} from '../../../src/actor/control.js';
import { decodeLease, encodeLease } from '../../../src/actor/lease.js';
import { limits } from '../../../src/limits.js';
import type { Actor, Node } from '../../../src/wire/gen/grm/v1/cluster.js';
import { ControlMessage } from '../../../src/wire/gen/grm/work/v1/work.js';

const token = fc
  .string({
    unit: fc.constantFrom('a', 'z', 'A', 'Z', '0', '9', '_', '-'),
    minLength: 1,
    maxLength: limits.tokenCharsMax,
  })
  .filter(isToken);

const message: fc.Arbitrary<Message> = fc.oneof(
  fc.constantFrom<Message>({ kind: 'status' }, { kind: 'drain' }, { kind: 'resume' }),
  fc.record({ kind: fc.constant('cancel' as const), requestId: token }),
  fc.record({ kind: fc.constant('set_slots' as const), slots: fc.integer({ min: 1, max: limits.slotsMax }) }),
);

const node: Node = {
  id: 'grm-worker-0a1b2c3d4e',
  role: 'grm-worker',
  host: 'gpu-7',
  pid: 4711,
  version: '0.1.0',
  pool: 'grm',
  actors: [],
  gpus: 8,
  slots: 512,
  running: 3,
  done: 2 ** 40,
  ratePerSecond: 1.5,
  startedAtMs: 1_700_000_000_000,
  heartbeatAgeMs: 0,
  address: '',
  fake: false,
  draining: true,
  clockSkewMs: -(2 ** 40),
  refuses: '',
  expired: 7,
};

const reply: fc.Arbitrary<Reply> = fc.oneof(
  fc.constant<Reply>({ kind: 'done' }),
  fc.constant<Reply>({ kind: 'status', node }),
  fc.record({ kind: fc.constant('cancelled' as const), cancelled: fc.boolean() }),
  fc.record({ kind: fc.constant('slots' as const), slots: fc.integer({ min: 1, max: limits.slotsMax }) }),
  fc.record({ kind: fc.constant('refused' as const), reason: fc.string() }),
);

describe('control messages', () => {
  it('come back as they went', () => {
    fc.assert(
      fc.property(message, (sent) => {
        expect(decodeMessage(encodeMessage(sent))).toEqual(sent);
      }),
    );
    fc.assert(
      fc.property(reply, (sent) => {
        expect(decodeReply(encodeReply(sent))).toEqual(sent);
      }),
    );
    fc.assert(
      fc.property(token, token, (requestId, run) => {
        expect(decodeCancel(encodeCancel(requestId, run))).toEqual({ requestId, run });
      }),
    );
  });

  it('C1: no bytes make a reader throw', () => {
    fc.assert(
      fc.property(fc.uint8Array({ maxLength: 200 }), (body) => {
        for (const read of [decodeMessage, decodeReply, decodeCancel]) read(body);
        decodeLease(body, 0);
      }),
    );
  });

  it.each([
    ['no request id', { $case: 'cancel', value: { requestId: '', run: '' } }],
    ['a request id with a wildcard', { $case: 'cancel', value: { requestId: 'r.>', run: '' } }],
    ['a long request id', { $case: 'cancel', value: { requestId: 'r'.repeat(limits.tokenCharsMax + 1), run: '' } }],
    ['no slots', { $case: 'setSlots', value: { slots: 0 } }],
    ['too many slots', { $case: 'setSlots', value: { slots: limits.slotsMax + 1 } }],
    ['an order of a later version', undefined],
  ] as const)('C1: %s is not a message', (_what, order) => {
    expect(decodeMessage(ControlMessage.encode({ order }).finish())).toBe(undefined);
  });

  it('C1: what is over the limit is not read at all', () => {
    const fits = encodeReply({ kind: 'refused', reason: 'x'.repeat(limits.controlBytesMax - 16) });
    const over = encodeReply({ kind: 'refused', reason: 'x'.repeat(limits.controlBytesMax) });
    expect(decodeReply(fits)?.kind).toBe('refused');
    expect(decodeReply(over)).toBe(undefined);
  });
});

describe('lease', () => {
  const requestId = (at: number): string => `r${String(at).padStart(limits.tokenCharsMax - 1, '0')}`;

  it('tells what the node works on, and since when', () => {
    const info = decodeLease(encodeLease(node, { requests: ['r1', 'r2'], oldestOpenAtMs: 1_700_000_000_123 }), 1_250);
    expect(info).toEqual({
      node: { ...node, heartbeatAgeMs: 1_250 },
      busyRequests: ['r1', 'r2'],
      busyCut: false,
      oldestOpenAtMs: 1_700_000_000_123,
    });
    expect(decodeLease(encodeLease(node, { requests: [] }), -3)).toEqual({
      node,
      busyRequests: [],
      busyCut: false,
    });
  });

  it.each([
    [limits.busyRequestsMax, false],
    [limits.busyRequestsMax + 1, true],
  ])('E1: %d requests are listed up to the limit (cut: %s)', (count, cut) => {
    const info = decodeLease(
      encodeLease(node, { requests: Array.from({ length: count }, (_, at) => requestId(at)) }),
      0,
    );
    expect(info?.busyRequests.length).toBe(limits.busyRequestsMax);
    expect(info?.busyCut).toBe(cut);
  });

  it('E1: the fullest lease fits a control message', () => {
    const actor: Actor = {
      id: 'i'.repeat(limits.tokenCharsMax * 2 + 1),
      kind: 'k'.repeat(limits.tokenCharsMax),
      name: 'n'.repeat(limits.tokenCharsMax),
      state: 5,
      // A character of three bytes.
      stateReason: '€'.repeat(limits.actorReasonCharsMax),
      restarts: 2 ** 32 - 1,
      restartsMax: -1,
      concurrencyMax: limits.slotsMax,
      running: limits.slotsMax,
      gpus: [6, 7],
      model: '€'.repeat(limits.engineLabelCharsMax),
      engine: '€'.repeat(limits.engineLabelCharsMax),
      stateSinceMs: 1_700_000_000_000,
      judge: 'fake-0123456789abcdef',
    };
    const full = { ...node, actors: Array.from({ length: limits.actorsMax }, () => actor) };
    const body = encodeLease(full, { requests: Array.from({ length: 5_000 }, (_, at) => requestId(at)) });
    expect(body.byteLength).toBeLessThan(limits.controlBytesMax);
    expect(decodeLease(body, 0)?.node.actors.length).toBe(limits.actorsMax);
  });
});

describe('a notice that somebody waits', () => {
  it('says for how long still, at most the longest time budget; one without a time is a notice too', () => {
    expect(decodeWanted(encodeWanted('r1', 1_500.2))).toEqual({ requestId: 'r1', forMs: 1_501 });
    expect(decodeWanted(encodeWanted('r1', 1e12))).toEqual({ requestId: 'r1', forMs: limits.timeBudgetMsMax });
    expect(decodeWanted(encodeCancel('r1', 'a-run'))).toEqual({ requestId: 'r1', forMs: 0 });
  });

  it('is dropped where it names no request', () => {
    expect(decodeWanted(encodeWanted('r.>', 10))).toBeUndefined();
    expect(decodeWanted(Uint8Array.of(0xff, 0xff))).toBeUndefined();
  });
});
