import fc from 'fast-check';
import { expect, test } from 'vitest';
import { Room, usedRatio, type OpenWork } from '../../../src/coordinator/room.js';
import { limits } from '../../../src/limits.js';
import type { StoreState } from '../../../src/queue/queue.js';

const KiB = 1024;
const MiB = 1024 * KiB;

const full = (stream: string, more: Partial<StoreState> = {}): StoreState => ({
  stream,
  bytes: 0,
  bytesMax: 16 * MiB,
  messages: 0,
  messagesMax: -1,
  isRefusing: false,
  ...more,
});

function roomOf(states: readonly StoreState[], open: OpenWork = { requests: 0, samples: 0 }, troubles: string[] = []) {
  let now = 1_000;
  const storage = { states: () => states, troubles: () => troubles, sampleBytes: () => 4 * KiB };
  const room = new Room(
    storage,
    () => open,
    () => now,
  );
  return { room, pass: (ms: number) => void (now += ms) };
}

test('F1: of what a stream has room for, everything that was accepted is kept before a new request is let in', () => {
  const busy = { requests: 100, samples: 800 };
  const [k, sample] = [8, 4 * KiB * 1.25];
  const need = (busy.samples + k) * sample;
  const state = (bytes: number) => [full('GRM_RES', { bytes })];
  const bytesMax = 16 * MiB * 0.95 - need;
  expect(roomOf(state(bytesMax - 1), busy).room.refuses(k, 1_000)).toBeUndefined();
  const refused = roomOf(state(bytesMax + 1), busy).room.refuses(k, 1_000);
  expect(refused).toMatchObject({ why: 'storage', fault: { kind: 'overloaded' } });
  expect(refused?.fault.message).toContain('GRM_RES');
  expect(refused?.fault.message).toContain('800 accepted samples');
  expect(refused?.fault.retryAfterMs).toBeGreaterThan(0);
});

test.each(['GRM_REQ', 'GRM_RES', 'GRM_FIN', 'GRM_WORK', 'GRM_META'])('F1: %s sheds before it is full', (stream) => {
  const state = full(stream, { bytes: 15.9 * MiB });
  expect(roomOf([state]).room.refuses(8, 2_000)?.fault.message).toContain(stream);
  expect(roomOf([full(stream, { bytes: MiB })]).room.refuses(8, 2_000)).toBeUndefined();
});

test('F1: messages count as bytes do, where a stream bounds them', () => {
  const state = full('GRM_WORK', { messages: 950, messagesMax: 1_000 });
  expect(roomOf([state]).room.refuses(1, 10)?.why).toBe('storage');
  expect(usedRatio(state)).toBe(0.95);
});

test('F1: a big content needs its room in the object store, and none with the records', () => {
  const big = limits.recordContentBytesMax + 1;
  const blobs = full('OBJ_GRM_BLOBS', { bytes: 15 * MiB });
  const busy = { requests: 1, samples: 8 };
  expect(roomOf([blobs], busy).room.refuses(1, big)?.fault.message).toContain('OBJ_GRM_BLOBS');
  expect(roomOf([blobs], busy).room.refuses(1, 1_000)).toBeUndefined();
  const records = full('GRM_REQ', { bytes: 15 * MiB });
  expect(roomOf([records], busy).room.refuses(1, big)).toBeUndefined();
});

test('F1: a stream that has just refused a message takes none', () => {
  expect(roomOf([full('GRM_RES', { isRefusing: true })]).room.refuses(1, 1)?.why).toBe('storage');
});

test('F2: nothing is accepted while a stream is missing', () => {
  const { room } = roomOf([full('GRM_RES')], undefined, ['stream GRM_FIN is missing']);
  const refused = room.refuses(1, 1);
  expect(refused).toMatchObject({ why: 'queue_unavailable', fault: { kind: 'queue_unavailable' } });
  expect(refused?.fault.message).toContain('GRM_FIN');
});

test('F3: a lone request is let in whatever its size, unless there is much in the way', () => {
  const small = { bytesMax: 64 * KiB };
  expect(roomOf([full('GRM_RES', { ...small, bytes: 10 * KiB })]).room.refuses(128, 1_000)).toBeUndefined();
  expect(roomOf([full('GRM_RES', { ...small, bytes: 40 * KiB })]).room.refuses(128, 1_000)?.why).toBe('storage');
});

test('what filled up while a request ran is told, and no longer when it was before', () => {
  const { room, pass } = roomOf([full('GRM_RES', { bytes: 16 * MiB })]);
  room.note();
  pass(500);
  expect(room.fullSince(1_000)).toEqual(['GRM_RES']);
  expect(room.fullSince(1_001)).toEqual([]);
});

test('F1: a room of any size refuses no more with less in it, and never lets in what does not fit', () => {
  const amount = fc.integer({ min: 0, max: 16 * MiB });
  fc.assert(
    fc.property(
      amount,
      amount,
      fc.integer({ min: 1, max: 5_000 }),
      fc.integer({ min: 1, max: 128 }),
      (a, b, samples, k) => {
        const [less, more] = a < b ? [a, b] : [b, a];
        const at = (bytes: number) => roomOf([full('GRM_RES', { bytes })], { requests: 1, samples }).room.refuses(k, 1);
        if (at(less)) expect(at(more)).toBeDefined();
        if (!at(more)) expect(more + (samples + k) * 4 * KiB).toBeLessThanOrEqual(16 * MiB);
      },
    ),
  );
});
