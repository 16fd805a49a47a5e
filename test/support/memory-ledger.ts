// The ledger of the queue model.

import type { Follower, Ledger } from '../../src/queue/queue.js';
import {
  decodeAppend,
  decodeMetaResult,
  decodeRecord,
  decodeSample,
  decodeVerdict,
  encodeContent,
  encodeRecord,
  encodeVerdict,
} from '../../src/queue/codec.js';
import { asMessages, Lanes, metaKind, sampleKind, type Kind } from '../../src/queue/lanes.js';
import { parseLane, subjects, token } from '../../src/queue/subjects.js';
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
  const tellSamples = (requestId: string, lane: string, bytes: Uint8Array): void =>
    tell(requestId, 'samples', (follower) => follower.samples?.(decodeAppend(bytes).map(decodeSample), lane));
  const tellMetas = (requestId: string, lane: string, bytes: Uint8Array): void =>
    tell(requestId, 'metas', (follower) => follower.metas?.(decodeAppend(bytes).map(decodeMetaResult), lane));
  const readRecord = (requestId: string): RequestRecord | undefined => {
    const bytes = requests.get(subjects.request(requestId));
    const stored = bytes && decodeRecord(bytes);
    return stored?.kind === 'whole' ? stored.record : undefined;
  };
  const put = (stream: MemoryStream, subject: string, bytes: Uint8Array, tellIt: () => void) => {
    const outcome = stream.put(subject, bytes);
    if (outcome === 'full') throw unavailable(subject);
    if (outcome === 'stored') tellIt();
    return outcome;
  };
  /** The real appends on the modelled stream: each read and each write crosses the wire by itself. */
  const lanesOf = <T extends { readonly index: number }>(kind: Kind<T>, what: string, hear: typeof tellSamples) =>
    new Lanes<T>(kind, {
      get: (subject, miss) => {
        if (miss === 'confirm' && server.blind) return Promise.resolve(new Uint8Array([0]));
        return wire.call(what, () =>
          results.get(subject, miss === 'trust' && server.weather.stale?.(wire.client, what) === true),
        );
      },
      put: (subject, bytes) =>
        wire.call(`put ${what}`, () => {
          const [, stream, requestId = '', unit = ''] = subject.split('.');
          const lane = stream === 'void' ? undefined : parseLane(unit);
          return put(results, subject, bytes, () => {
            if (lane !== undefined) hear(requestId, lane, bytes);
          });
        }),
      undecodable: (subject, error) => {
        if (server.blind) return;
        throw new Error(`${subject} cannot be read: ${String(error)}`);
      },
    });
  const samples = lanesOf(sampleKind, 'samples', tellSamples);
  const metas = lanesOf(metaKind, 'metas', tellMetas);

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
          return verdicts.get(subjects.verdict(id)) || skip(id, undefined) ? [] : [id];
        }),
      );
      for (const id of ids) {
        const record = await ledger.record(id);
        if (record) yield record;
      }
    },
    samples: (requestId, lane) => samples.read(requestId, lane),
    addSamples: (requestId, lane, known, fresh) => samples.add(requestId, lane, known, fresh),
    metas: (requestId, lane) => metas.read(requestId, lane),
    addMetas: (requestId, lane, known, fresh) => metas.add(requestId, lane, known, fresh),
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
    repeatSamples(requestId, lane, again) {
      if (!server.up || wire.dead) return;
      for (const bytes of asMessages(sampleKind, again)) tellSamples(requestId, lane, bytes);
    },
    repeatMetas(requestId, lane, again) {
      if (!server.up || wire.dead) return;
      for (const bytes of asMessages(metaKind, again)) tellMetas(requestId, lane, bytes);
    },
    async reopen(requestId, lanes) {
      for (const [lane, indexes] of lanes) {
        await samples.voidFailures(requestId, lane, new Set(indexes));
        await metas.voidFailures(requestId, lane, new Set(indexes));
      }
      await wire.call('reopen', () => verdicts.purge(subjects.verdict(requestId)));
    },
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
