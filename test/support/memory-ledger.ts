// The ledger of the queue model.

import type { Follower, Ledger } from '../../src/queue/queue.js';
import {
  decodeMetaResult,
  decodeRecord,
  decodeSample,
  decodeVerdict,
  encodeContent,
  encodeMetaResult,
  encodeRecord,
  encodeSample,
  encodeVerdict,
} from '../../src/queue/codec.js';
import { subjects, token } from '../../src/queue/subjects.js';
import type { RequestRecord } from '../../src/work/shard.js';
import type { MemoryStream } from './memory-stream.js';
import { unavailable, type Follow, type Wire } from './memory-wire.js';

export function ledgerOf(wire: Wire): Ledger {
  const { server } = wire;
  const { requests, results, verdicts, templates } = server;
  const tell = (requestId: string, what: string, hear: (follower: Follower) => void): void => {
    for (const each of server.followers.get(requestId) ?? []) {
      each.wire.notice(what, () => {
        if (server.followers.get(requestId)?.has(each) === true) hear(each.follower);
      });
    }
  };
  const tellSample = (requestId: string, bytes: Uint8Array): void =>
    tell(requestId, 'sample', (follower) => follower.sample?.(decodeSample(bytes)));
  const tellMeta = (requestId: string, bytes: Uint8Array): void =>
    tell(requestId, 'meta', (follower) => follower.meta?.(decodeMetaResult(bytes)));
  const readRecord = (requestId: string): RequestRecord | undefined => {
    const bytes = requests.get(subjects.request(requestId));
    const stored = bytes && decodeRecord(bytes);
    return stored?.kind === 'whole' ? stored.record : undefined;
  };
  const readMany = <T>(indexes: readonly number[], subject: (i: number) => string, decode: (b: Uint8Array) => T) =>
    new Map(
      indexes.flatMap((index): [number, T][] => {
        const bytes = results.get(subject(index));
        return bytes ? [[index, decode(bytes)]] : [];
      }),
    );
  const put = (stream: MemoryStream, subject: string, bytes: Uint8Array, tellIt: () => void) => {
    const outcome = stream.put(subject, bytes);
    if (outcome === 'full') throw unavailable(subject);
    if (outcome === 'stored') tellIt();
    return outcome;
  };

  const ledger: Ledger = {
    accept: (record) =>
      wire.call('accept', () => {
        const bytes = encodeRecord(record, { bytes: encodeContent(record.content) });
        const outcome = requests.put(subjects.request(record.requestId), bytes);
        return { kind: outcome === 'stored' ? 'new' : outcome === 'exists' ? 'known' : 'full' };
      }),
    record: (requestId) => wire.call('record', () => readRecord(requestId)),
    forget: (requestId) => wire.call('forget', () => requests.purge(subjects.request(requestId))),
    async *unfinished(skip = () => false) {
      const ids = await wire.call('unfinished', () =>
        requests.subjects().flatMap((subject) => {
          const id = subject.slice(subjects.request('x').length - 1);
          return verdicts.get(subjects.verdict(id)) || skip(id) ? [] : [id];
        }),
      );
      for (const id of ids) {
        const record = await ledger.record(id);
        if (record) yield record;
      }
    },
    putSample: (requestId, sample) =>
      wire.call('putSample', () => {
        const bytes = encodeSample(sample);
        return put(results, subjects.sample(requestId, sample.index), bytes, () => tellSample(requestId, bytes));
      }),
    samples: (requestId, indexes) =>
      wire.call('samples', () => readMany(indexes, (index) => subjects.sample(requestId, index), decodeSample)),
    putMeta: (result) =>
      wire.call('putMeta', () => {
        const { requestId, index } = result;
        const bytes = encodeMetaResult(result);
        return put(results, subjects.meta(requestId, index), bytes, () => tellMeta(requestId, bytes));
      }),
    metas: (requestId, indexes) =>
      wire.call('metas', () => readMany(indexes, (index) => subjects.meta(requestId, index), decodeMetaResult)),
    putVerdict: (verdict) =>
      wire.call('putVerdict', () => {
        const { requestId } = verdict;
        const bytes = encodeVerdict(verdict);
        return put(verdicts, subjects.verdict(requestId), bytes, () =>
          tell(requestId, 'verdict', (follower) => follower.verdict?.(decodeVerdict(bytes))),
        );
      }),
    verdict: (requestId) =>
      wire.call('verdict', () => {
        const bytes = verdicts.get(subjects.verdict(requestId));
        return bytes && decodeVerdict(bytes);
      }),
    // A subscription is the client's: it is in place at once, also while the server is away, and asks for no answer.
    follow(requestId, follower) {
      const each: Follow = { wire, follower };
      const set = server.followers.get(requestId) ?? new Set();
      if (!wire.dead) server.followers.set(token(requestId, 'request'), set.add(each));
      return Promise.resolve({
        close() {
          set.delete(each);
          if (set.size === 0 && server.followers.get(requestId) === set) server.followers.delete(requestId);
        },
      });
    },
    repeatSample(requestId, sample) {
      if (server.up && !wire.dead) tellSample(requestId, encodeSample(sample));
    },
    repeatMeta(result) {
      if (server.up && !wire.dead) tellMeta(result.requestId, encodeMetaResult(result));
    },
    discard: (requestId, indexes) =>
      wire.call('discard', () => {
        for (const index of indexes) {
          results.purge(subjects.sample(requestId, index));
          results.purge(subjects.meta(requestId, index));
        }
      }),
    reopen: (requestId, indexes) =>
      wire.call('reopen', () => {
        const samples = readMany(indexes, (index) => subjects.sample(requestId, index), decodeSample);
        for (const [index, { kind }] of samples) {
          if (kind === 'invalid') results.purge(subjects.sample(requestId, index));
        }
        const metas = readMany(indexes, (index) => subjects.meta(requestId, index), decodeMetaResult);
        for (const [index, { kind }] of metas) if (kind === 'failed') results.purge(subjects.meta(requestId, index));
        verdicts.purge(subjects.verdict(requestId));
      }),
    async putTemplate(hash, text) {
      await wire.call('putTemplate', () => templates.put(subjects.template(hash), Buffer.from(text)));
    },
    template: (hash) =>
      wire.call('template', () => {
        const bytes = templates.get(subjects.template(hash));
        return bytes && Buffer.from(bytes).toString();
      }),
  };
  return ledger;
}
