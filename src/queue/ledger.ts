// Ledger on JetStream: GRM_REQ, GRM_RES and GRM_FIN refuse a second message on a subject, so the server itself decides who was first. Samples and
// meta rewards stand in lanes (lanes.ts).
//
// No message id is sent: a taken subject after a repeated publish is read back, and equal bytes are our own. That holds over any
// restart and costs the server no table of ids.

import { headers as newHeaders, type Msg, type MsgHdrs } from '@nats-io/transport-node';
import { randomUUID } from 'node:crypto';
import { setTimeout as sleep } from 'node:timers/promises';
import type { Sample } from '../grm/sample.js';
import type { Verdict } from '../grm/verdict.js';
import { fault, FaultError } from '../fault.js';
import { limits } from '../limits.js';
import type { MetaResult, RequestRecord } from '../work/shard.js';
import { lastMessage, purge } from './api.js';
import { lagPausesMs, type Blobs } from './blobs.js';
import { decodeContent, decodeRecord, decodeVerdict, encodeContent, encodeRecord, encodeVerdict } from './codec.js';
import type { OnQueueEvent } from './events.js';
import { Followers, type Heard } from './followers.js';
import type { Link } from './link.js';
import type { OpenRequests } from './open-requests.js';
import type { Publisher } from './publisher.js';
import { asMessages, Lanes, metaKind, sampleKind, type LaneStore } from './lanes.js';
import type { Accepted, Follower, Following, LaneLog, Ledger, Put } from './queue.js';
import type { Requests } from './requests.js';
import { parseLane, subjects, token } from './subjects.js';

export interface LedgerParts {
  readonly link: Link;
  readonly requests: Requests;
  readonly publisher: Publisher;
  readonly blobs: Blobs;
  /** With more than one replica a direct read may come from one that lags behind. */
  readonly replicas: number;
  /** Asks the stream's leader what a replica does not have. A worker may not: that request reads any message of the stream. */
  readonly asksLeader: boolean;
  readonly open: OpenRequests;
  /** Told what samples weigh. */
  readonly storage: { noteSamples(bytes: number, count: number): void };
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
    const content = await this.blob(stored.blob, `record of ${requestId}`, decodeContent);
    return content && stored.complete(content);
  }

  async forget(requestId: string): Promise<void> {
    const subject = subjects.request(requestId);
    const bytes = await this.read('GRM_REQ', subject, 'trust');
    const stored = bytes && this.decode(bytes, `record of ${requestId}`, decodeRecord);
    await this.purge('GRM_REQ', subject);
    if (stored?.kind === 'blob') await this.parts.blobs.free(stored.blob);
  }

  async *unfinished(
    skip: (requestId: string, owner: string | undefined) => boolean = () => false,
  ): AsyncIterable<RequestRecord> {
    const { open } = this.parts;
    await open.look();
    const ids = [...open.entries()].flatMap(([id, { owner }]) => (skip(id, owner) ? [] : [id]));
    const aheadMax = 16;
    for (let at = 0; at < ids.length; at += aheadMax) {
      const found = ids.slice(at, at + aheadMax).map((id) => this.openRecord(id));
      for (const record of await Promise.all(found)) if (record) yield record;
    }
  }

  /** The record of a request that is in mind as open, if it is. One that cannot be read stays in mind, is told, and keeps none of the others. */
  private async openRecord(requestId: string): Promise<RequestRecord | undefined> {
    const { open } = this.parts;
    if (!(await this.isOpen(requestId))) {
      open.drop(requestId, Date.now());
      return undefined;
    }
    try {
      const record = await this.record(requestId);
      const entry = open.entries().get(requestId);
      if (record && entry) entry.owner = record.owner;
      return record;
    } catch (error) {
      // Away for this one is away for all.
      if (error instanceof FaultError && error.fault.kind === 'queue_unavailable') throw error;
      this.parts.onEvent({ kind: 'undecodable', label: `record of ${requestId}`, reason: wordsOf(error) });
      return undefined;
    }
  }

  /** Whether it has a record and no verdict, as the streams' leaders know it. */
  async isOpen(requestId: string): Promise<boolean> {
    if (await this.read('GRM_FIN', subjects.verdict(requestId), 'trust')) return false;
    const isSure = this.parts.replicas === 1;
    if (!isSure && (await this.isThere('GRM_FIN', subjects.verdict(requestId)))) return false;
    if (await this.read('GRM_REQ', subjects.request(requestId), 'trust')) return true;
    return !isSure && (await this.isThere('GRM_REQ', subjects.request(requestId)));
  }

  private async isThere(stream: LedgerStream, subject: string): Promise<boolean> {
    return (await lastMessage(this.parts.requests, stream, subject)) !== undefined;
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
    // Before the verdict goes (open-requests.ts, O2): whoever dies after this is found by others.
    const mark = subjects.reopened(requestId, `${Date.now().toString(36)}-${randomUUID()}`);
    await this.putCertain('GRM_REQ', mark, new Uint8Array([1]));
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
      if (!samples) return;
      this.parts.storage.noteSamples(msg.data.length, samples.length);
      this.tell(followers, msg, (follower) => follower.samples?.(samples, lane));
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
    const label = `verdict of ${requestId}`;
    return blob === '' ? this.decode(data, label, decodeVerdict) : this.blob(blob, label, decodeVerdict);
  }

  /** What stands in the object store: undefined, and an event, when it is gone or damaged. */
  private async blob<T>(name: string, label: string, decode: (bytes: Uint8Array) => T): Promise<T | undefined> {
    let reason = `blob ${name} is gone`;
    try {
      const bytes = await this.parts.blobs.get(name);
      if (bytes) return this.decode(bytes, label, decode);
    } catch (error) {
      if (error instanceof FaultError && error.fault.kind === 'queue_unavailable') throw error;
      reason = wordsOf(error);
    }
    this.parts.onEvent({ kind: 'undecodable', label, reason });
    return undefined;
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
