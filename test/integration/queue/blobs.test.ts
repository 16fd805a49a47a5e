// The object store when it is full: it sheds, and room comes back.

import { connect } from '@nats-io/transport-node';
import { jetstreamManager } from '@nats-io/jetstream';
import { expect, test } from 'vitest';
import type { Verdict } from '../../../src/grm/verdict.js';
import { openQueue, type QueueOptions } from '../../../src/queue/jetstream.js';
import type { QueueSystem } from '../../../src/queue/queue.js';
import { startNats, type NatsServer } from '../../support/nats.js';
import { queueOptions } from '../../support/queue-options.js';
import { aRecord, aSample, aVerdict, freshId, someContent } from '../../support/work-values.js';

const MiB = 1024 * 1024;
/** 4 MiB of blobs. */
const storageBytesMax = 40 * MiB;
/** The same for all requests: their blobs are not. */
const content = { ...someContent, responses: ['x'.repeat(600 * 1024), 'b'] };

const small = (nats: NatsServer, more: Partial<QueueOptions> = {}): Promise<QueueSystem> =>
  openQueue(queueOptions(nats, { storageBytesMax, trimMarginMs: 0, ...more }));

const sweep = (queue: QueueSystem): Promise<unknown> =>
  queue.sweep({ busy: new Set(), complete: true, oldestOpenAtMs: Date.now() });

async function storedBytes(nats: NatsServer): Promise<number> {
  const nc = await connect({ servers: nats.url });
  const { state } = await (await jetstreamManager(nc)).streams.info('OBJ_GRM_BLOBS');
  await nc.close();
  return state.bytes;
}

/** Accepts until there is no room; resolves to the accepted ones. */
async function fill(queue: QueueSystem): Promise<string[]> {
  const ids: string[] = [];
  for (let i = 0; i < 20; i += 1) {
    const id = freshId();
    const { kind } = await queue.ledger.accept(aRecord(id, { content }));
    if (kind === 'full') return ids;
    expect(kind).toBe('new');
    ids.push(id);
  }
  throw new Error('the store is never full');
}

test('P4: a full object store sheds; forgetting a request frees its own blob and no other of the same content', async () => {
  await using nats = await startNats();
  const queue = await small(nats);
  const ids = await fill(queue);
  expect(ids.length).toBeGreaterThan(3);
  const [gone, ...others] = ids;
  await queue.ledger.forget(gone!);
  expect(await queue.ledger.accept(aRecord(gone!, { content }))).toEqual({ kind: 'new' });
  expect(await queue.ledger.accept(aRecord(freshId(), { content }))).toEqual({ kind: 'full' });
  for (const id of [gone!, ...others]) expect((await queue.ledger.record(id))?.content).toEqual(content);
  expect(await queue.ledger.accept(aRecord(others[0]!, { content }))).toEqual({ kind: 'known' });
  for (const id of ids) await queue.ledger.forget(id);
  expect(await storedBytes(nats)).toBe(0);
  await queue.close();
});

test('J5 (P1, P4): under pressure blobs of finished requests go, oldest first, and never those of open ones', async () => {
  await using nats = await startNats();
  const queue = await small(nats);
  const ids = await fill(queue);
  await sweep(queue); // all are open, and run nowhere
  for (const id of ids) expect((await queue.ledger.record(id))?.requestId).toBe(id);
  const finished = ids.slice(1);
  for (const id of finished) await queue.ledger.putVerdict(aVerdict(id));
  await sweep(queue);
  expect(await storedBytes(nats)).toBeLessThan((storageBytesMax / 10) * 0.5);
  expect((await queue.ledger.record(ids[0]!))?.content).toEqual(content);
  expect(await queue.ledger.record(finished[0]!)).toBeUndefined();
  expect((await queue.ledger.record(finished.at(-1)!))?.content).toEqual(content);
  for (const id of finished) expect((await queue.ledger.verdict(id))?.requestId).toBe(id);
  const open: string[] = [];
  for await (const record of queue.ledger.unfinished()) open.push(record.requestId);
  expect(open).toEqual([ids[0]]);
  expect(await queue.ledger.accept(aRecord(freshId(), { content }))).toEqual({ kind: 'new' });
  await queue.close();
});

test('J5: big verdicts make room for newer ones, after the contents; what nothing refers to goes once it is old', async () => {
  await using nats = await startNats();
  const queue = await small(nats);
  const big = (id: string): Verdict =>
    aVerdict(id, {
      samples: Array.from({ length: 6 }, (_, i) => ({
        sample: aSample(i, { text: 't'.repeat(200_000) }),
        kept: 'kept' as const,
      })),
    });
  const ids = [freshId(), freshId(), freshId()];
  for (const id of ids) {
    await queue.ledger.accept(aRecord(id));
    expect(await queue.ledger.putVerdict(big(id))).toBe('stored');
  }
  const before = await storedBytes(nats);
  expect(await queue.ledger.putVerdict(aVerdict(ids[0]!))).toBe('exists');
  expect(await storedBytes(nats)).toBe(before);
  await expect(queue.ledger.putVerdict(big(freshId()))).rejects.toMatchObject({ fault: { kind: 'queue_unavailable' } });
  await sweep(queue);
  expect(await queue.ledger.verdict(ids[0]!)).toBeUndefined();
  expect(await queue.ledger.record(ids[0]!)).toBeUndefined();
  expect(await queue.ledger.verdict(ids[2]!)).toEqual(big(ids[2]!));

  // A reopened request leaves its old verdict behind.
  const last = freshId();
  await queue.ledger.accept(aRecord(last));
  for (let i = 0; i < 2; i += 1) {
    await queue.ledger.putVerdict(big(last));
    await queue.ledger.reopen(last, new Map());
  }
  await queue.ledger.reopen(ids[2]!, new Map());
  const young = await storedBytes(nats);
  await sweep(queue);
  expect(await storedBytes(nats)).toBe(young);
  const later = await small(nats, { own: false, blobOrphanMs: 0 });
  await sweep(later);
  expect(await storedBytes(nats)).toBeLessThan((storageBytesMax / 10) * 0.5);
  await later.close();
  await queue.close();
});
