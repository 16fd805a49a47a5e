// Ledger on JetStream: GRM_REQ, GRM_RES and GRM_FIN refuse a second message on a subject, so the server itself decides who was first. Samples and
// meta rewards stand in lanes (lanes.ts).
//
// No message id is sent: a taken subject after a repeated publish is read back, and equal bytes are our own. That holds over any
// restart and costs the server no table of ids.

import { headers as newHeaders, type Msg, type MsgHdrs } from '@nats-io/transport-node';
import { setTimeout as sleep } from 'node:timers/promises';
import type { Sample } from '../grm/sample.js';
import type { Verdict } from '../grm/verdict.js';
import { fault, FaultError } from '../fault.js';
import { limits } from '../limits.js';
import type { MetaResult, RequestRecord } from '../work/shard.js';
import { lastMessage, purge, subjectsOf } from './api.js';
import { lagPausesMs, type Blobs } from './blobs.js';
import { decodeContent, decodeRecord, decodeVerdict, encodeContent, encodeRecord, encodeVerdict } from './codec.js';
import type { OnQueueEvent } from './events.js';
import { Followers, type Heard } from './followers.js';
import type { Link } from './link.js';
import type { Publisher } from './publisher.js';
import { asMessages, Lanes, metaKind, sampleKind, type LaneStore } from './lanes.js';
import type { Accepted, Follower, Following, LaneLog, Ledger, Put } from './queue.js';
import type { Requests } from './requests.js';
import { filters, parseLane, subjects, token } from './subjects.js';

export interface LedgerParts {
  readonly link: Link;
  readonly requests: Requests;
  readonly publisher: Publisher;
  readonly blobs: Blobs;
  /** With more than one replica a direct read may come from one that lags behind. */
  readonly replicas: number;
  /** Asks the stream's leader what a replica does not have. A worker may not: that request reads any message of the stream. */
  readonly asksLeader: boolean;
  readonly onEvent: OnQueueEvent;
}

type LedgerStream = 'GRM_REQ' | 'GRM_RES' | 'GRM_FIN' | 'KV_GRM_TEMPLATES';

/** A verdict above a NATS message stands in the object store; its message holds this header and one byte. */
const blobHeader = 'Grm-Blob';
const text = { encoder: new TextEncoder(), decoder: new TextDecoder() };

export class JetStreamLedger implements Ledger {
  private readonly followers: Followers;
  private readonly sampleLanes: Lanes<Sample>;
  private readonly metaLanes: Lanes<MetaResult>;

  constructor(private readonly parts: LedgerParts) {
    const store: LaneStore = {
      get: (subject, miss) => this.read('GRM_RES', subject, miss),
      put: (subject, bytes) => this.putCertain('GRM_RES', subject, bytes),
      undecodable: (subject, error) => {
        parts.onEvent({ kind: 'undecodable', label: subject, reason: wordsOf(error) });
      },
    };
    this.sampleLanes = new Lanes(sampleKind, store);
    this.metaLanes = new Lanes(metaKind, store);
    this.followers = new Followers(parts.link, (kind, requestId, msg, followers) => {
      this.hear(kind, requestId, msg, followers);
    });
  }

  async accept(record: RequestRecord): Promise<Accepted> {
    const content = encodeContent(record.content);
    if (content.length > limits.recordContentBytesMax) return this.acceptBig(record, content);
    const bytes = encodeRecord(record, { bytes: content });
    return acceptedAs(await this.putOnce('GRM_REQ', subjects.request(record.requestId), bytes));
  }

  private async acceptBig(record: RequestRecord, content: Uint8Array): Promise<Accepted> {
    const subject = subjects.request(record.requestId);
    if (await this.read('GRM_REQ', subject, 'trust')) return { kind: 'known' };
    const blob = await this.parts.blobs.put('content', record.requestId, content);
    if (blob.kind === 'full') return blob;
    // When this throws, the record may be stored: the blob stays, and the janitor knows when it is left over.
    const result = await this.putOnce('GRM_REQ', subject, encodeRecord(record, { blob: blob.name }));
    if (result !== 'stored') await this.parts.blobs.free(blob.name);
    return acceptedAs(result);
  }

  async record(requestId: string): Promise<RequestRecord | undefined> {
    const bytes = await this.read('GRM_REQ', subjects.request(requestId), 'confirm');
    if (!bytes) return undefined;
    const stored = this.decode(bytes, `record of ${requestId}`, decodeRecord);
    if (!stored) return undefined;
    if (stored.kind === 'whole') return stored.record;
    const content = await this.parts.blobs.get(stored.blob);
    if (content) return stored.complete(decodeContent(content));
    this.parts.onEvent({ kind: 'undecodable', label: `record of ${requestId}`, reason: `blob ${stored.blob} is gone` });
    return undefined;
  }

  async forget(requestId: string): Promise<void> {
    const subject = subjects.request(requestId);
    const bytes = await this.read('GRM_REQ', subject, 'trust');
    const stored = bytes && this.decode(bytes, `record of ${requestId}`, decodeRecord);
    await this.purge('GRM_REQ', subject);
    if (stored?.kind === 'blob') await this.parts.blobs.free(stored.blob);
  }

  async *unfinished(skip: (requestId: string) => boolean = () => false): AsyncIterable<RequestRecord> {
    // Finished ones are listed last: a request that ends meanwhile is then seen as finished.
    const open = new Set(await this.list('GRM_REQ', filters.requests));
    for (const id of await this.list('GRM_FIN', filters.verdicts)) open.delete(id);
    const ids = [...open].filter((id) => !skip(id));
    const aheadMax = 16;
    for (let at = 0; at < ids.length; at += aheadMax) {
      for (const record of await Promise.all(ids.slice(at, at + aheadMax).map((id) => this.record(id)))) {
        if (record) yield record;
      }
    }
  }

  samples(requestId: string, lane: string): Promise<LaneLog<Sample>> {
    return this.sampleLanes.read(requestId, lane);
  }

  addSamples(requestId: string, lane: string, known: LaneLog<Sample>, samples: readonly Sample[]) {
    return this.sampleLanes.add(requestId, lane, known, samples);
  }

  metas(requestId: string, lane: string): Promise<LaneLog<MetaResult>> {
    return this.metaLanes.read(requestId, lane);
  }

  addMetas(requestId: string, lane: string, known: LaneLog<MetaResult>, results: readonly MetaResult[]) {
    return this.metaLanes.add(requestId, lane, known, results);
  }

  async putVerdict(verdict: Verdict): Promise<Put> {
    const bytes = encodeVerdict(verdict);
    const subject = subjects.verdict(verdict.requestId);
    if (bytes.length <= limits.natsPayloadBytesMax - 4_096) return this.putCertain('GRM_FIN', subject, bytes);
    const headers = newHeaders();
    const blob = await this.parts.blobs.put('verdict', verdict.requestId, bytes);
    if (blob.kind === 'full') throw streamFull('GRM_BLOBS', 'its storage is used up');
    headers.set(blobHeader, blob.name);
    const put = await this.putCertain('GRM_FIN', subject, new Uint8Array(1), headers);
    if (put === 'exists') await this.parts.blobs.free(blob.name);
    return put;
  }

  async verdict(requestId: string): Promise<Verdict | undefined> {
    const msg = await this.get('GRM_FIN', subjects.verdict(requestId), 'confirm');
    return msg && this.verdictOf(msg.data, msg.blob, requestId);
  }

  /**
   * No flush: the server handles what one connection sends in order, and every publish that can cause an event for this request goes out
   * later on this connection, or comes from a worker that learns of the request through it. For a request that somebody else
   * accepted, read the ledger after this.
   */
  follow(requestId: string, follower: Follower): Promise<Following> {
    token(requestId, 'request');
    return Promise.resolve(this.followers.follow(requestId, follower));
  }

  repeatSamples(requestId: string, lane: string, samples: readonly Sample[]): void {
    for (const bytes of asMessages(sampleKind, samples)) this.say(subjects.again('res', requestId, lane), bytes);
  }

  repeatMetas(requestId: string, lane: string, results: readonly MetaResult[]): void {
    for (const bytes of asMessages(metaKind, results)) this.say(subjects.again('mres', requestId, lane), bytes);
  }

  async reopen(requestId: string, lanes: ReadonlyMap<string, readonly number[]>): Promise<void> {
    for (const [lane, indexes] of lanes) {
      const those = new Set(indexes);
      await this.sampleLanes.voidFailures(requestId, lane, those);
      await this.metaLanes.voidFailures(requestId, lane, those);
    }
    await this.purge('GRM_FIN', subjects.verdict(requestId));
  }

  async putTemplate(hash: string, template: string): Promise<void> {
    const result = await this.parts.publisher.publish(subjects.template(hash), text.encoder.encode(template));
    if (result.kind === 'full') throw streamFull('KV_GRM_TEMPLATES', result.reason);
  }

  async template(hash: string): Promise<string | undefined> {
    const bytes = await this.read('KV_GRM_TEMPLATES', subjects.template(hash), 'confirm');
    return bytes && text.decoder.decode(bytes);
  }

  private async putOnce(
    stream: LedgerStream,
    subject: string,
    bytes: Uint8Array,
    headers?: MsgHdrs,
  ): Promise<Put | 'full'> {
    const result = await this.parts.publisher.publish(subject, bytes, headers);
    if (result.kind !== 'exists') return result.kind;
    if (!result.retried) return 'exists';
    const there = await this.get(stream, subject, 'confirm');
    if (!there) return 'exists';
    const mine = Buffer.compare(there.data, bytes) === 0 && there.blob === (headers?.get(blobHeader) ?? '');
    return mine ? 'stored' : 'exists';
  }

  /** For writers that have nowhere to shed to: a full stream is an outage until the janitor has made room. */
  private async putCertain(stream: LedgerStream, subject: string, bytes: Uint8Array, headers?: MsgHdrs): Promise<Put> {
    const result = await this.putOnce(stream, subject, bytes, headers);
    if (result === 'full') throw streamFull(stream, 'its storage is used up');
    return result;
  }

  private async read(stream: LedgerStream, subject: string, miss: 'confirm' | 'trust') {
    return (await this.get(stream, subject, miss))?.data;
  }

  /**
   * `miss`: what "not there" from a replica is worth. `confirm` asks the stream's leader when there are replicas, or gives them the time
   * to catch up; `trust` is enough where a wrong "no" costs a second look or a second draw.
   */
  private async get(stream: LedgerStream, subject: string, miss: 'confirm' | 'trust') {
    const sure = miss === 'trust' || this.parts.replicas === 1;
    for (const pauseMs of sure || this.parts.asksLeader ? [0] : [0, ...lagPausesMs]) {
      if (pauseMs > 0) await sleep(pauseMs);
      const msg: Msg = await this.parts.requests.call(`$JS.API.DIRECT.GET.${stream}.${subject}`);
      if (msg.data.length > 0) return { data: msg.data, blob: msg.headers?.get(blobHeader) ?? '' };
    }
    if (sure || !this.parts.asksLeader) return undefined;
    const last = await lastMessage(this.parts.requests, stream, subject);
    if (!last) return undefined;
    const found = new RegExp(`^${blobHeader}: *(.*?)\\r?$`, 'm').exec(last.headers);
    return { data: last.data, blob: found?.[1] ?? '' };
  }

  /** Request ids that have a message in the stream: the last token of each subject. */
  private async list(stream: LedgerStream, filter: string): Promise<readonly string[]> {
    return (await subjectsOf(this.parts.requests, stream, filter)).map(({ subject }) =>
      subject.slice(filter.length - 1),
    );
  }

  private async purge(stream: LedgerStream, filter: string): Promise<void> {
    await purge(this.parts.requests, stream, { filter });
  }

  private say(subject: string, bytes: Uint8Array): void {
    if (this.parts.link.connected()) this.parts.link.publish(subject, bytes);
  }

  /** Decoded once, whoever follows. */
  private hear(kind: Heard, requestId: string, msg: Msg, followers: Iterable<Follower>): void {
    if (kind === 'fin') {
      void this.hearVerdict(requestId, msg, [...followers]);
      return;
    }
    const lane = parseLane(msg.subject.slice(msg.subject.lastIndexOf('.') + 1));
    if (lane === undefined) {
      const reason = 'a worker of an older version stored it: stop all processes of the old version first';
      this.parts.onEvent({ kind: 'undecodable', label: msg.subject, reason });
    } else if (kind === 'res') {
      const samples = this.decode(msg.data, msg.subject, sampleKind.decode);
      if (samples) this.tell(followers, msg, (follower) => follower.samples?.(samples, lane));
    } else {
      const results = this.decode(msg.data, msg.subject, metaKind.decode);
      if (results) this.tell(followers, msg, (follower) => follower.metas?.(results, lane));
    }
  }

  /** One that throws harms no other. */
  private tell(followers: Iterable<Follower>, msg: Msg, say: (follower: Follower) => void): void {
    for (const follower of followers) {
      try {
        say(follower);
      } catch (error) {
        this.parts.onEvent({ kind: 'undecodable', label: msg.subject, reason: wordsOf(error) });
      }
    }
  }

  /** A notice says only that there is one. */
  private async hearVerdict(requestId: string, msg: Msg, followers: readonly Follower[]): Promise<void> {
    if (!followers.some((follower) => follower.verdict !== undefined)) return;
    try {
      const verdict = await this.verdict(requestId);
      if (verdict) this.tell(followers, msg, (follower) => follower.verdict?.(verdict));
    } catch (error) {
      this.parts.onEvent({ kind: 'undecodable', label: msg.subject, reason: wordsOf(error) });
    }
  }

  private async verdictOf(data: Uint8Array, blob: string, requestId: string): Promise<Verdict | undefined> {
    const bytes = blob === '' ? data : await this.parts.blobs.get(blob);
    return bytes && this.decode(bytes, `verdict of ${requestId}`, decodeVerdict);
  }

  /** undefined, and an event, when the bytes are not what they should be: nothing in the ledger may stop a request. */
  private decode<T>(bytes: Uint8Array, label: string, decode: (bytes: Uint8Array) => T): T | undefined {
    try {
      return decode(bytes);
    } catch (error) {
      this.parts.onEvent({ kind: 'undecodable', label, reason: wordsOf(error) });
      return undefined;
    }
  }
}

function wordsOf(error: unknown): string {
  return error instanceof Error ? error.message : String(error);
}

function acceptedAs(result: Put | 'full'): Accepted {
  return { kind: result === 'stored' ? 'new' : result === 'exists' ? 'known' : 'full' };
}

function streamFull(stream: string, reason: string): FaultError {
  return new FaultError(fault('queue_unavailable', `${stream} takes no more: ${reason}`));
}
