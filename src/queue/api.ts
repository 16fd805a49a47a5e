// The JetStream API calls of this room and the parts of their answers that are read here.

import { setTimeout as sleep } from 'node:timers/promises';
import { fault, FaultError } from '../fault.js';
import { limits } from '../limits.js';
import { deniedFault } from './link.js';
import type { Requests } from './requests.js';

/** What the server says of a consumer. */
export interface ConsumerState {
  readonly name: string;
  readonly config: { readonly filter_subject?: string };
  readonly num_pending: number;
  readonly num_ack_pending: number;
  readonly num_redelivered: number;
  readonly ack_floor: { readonly stream_seq: number };
  readonly delivered: { readonly consumer_seq: number; readonly stream_seq: number };
}

export interface StreamState {
  readonly messages: number;
  readonly bytes: number;
  readonly first_seq: number;
  readonly last_seq: number;
}

interface Answer {
  readonly error?: { readonly code: number; readonly err_code?: number; readonly description?: string };
  readonly total?: number;
  readonly config?: { readonly max_bytes: number } & Readonly<Record<string, unknown>>;
  readonly created?: string;
  readonly state?: StreamState & { readonly subjects?: Readonly<Record<string, number>> };
  readonly consumers?: readonly ConsumerState[];
  readonly num_redelivered?: number;
  readonly purged?: number;
  /** Base64. */
  readonly message?: { readonly seq: number; readonly data?: string; readonly hdrs?: string };
}

/** JetStream said no. */
export class ApiError extends FaultError {
  constructor(
    subject: string,
    /** nats-server's err_code. */
    readonly code: number,
    description: string,
  ) {
    super(fault('queue_unavailable', `JetStream refused ${subject}: ${description} (${code})`));
    this.name = 'ApiError';
  }
}

const noMessageFound = 10_037;
const noConsumer = 10_014;
const noStream = 10_059;
const encoder = new TextEncoder();

/** State of the stream and the bytes it may hold. */
export async function streamInfo(
  requests: Requests,
  stream: string,
): Promise<{ state: StreamState; bytesMax: number }> {
  const { state, config } = await call(requests, `STREAM.INFO.${stream}`, {});
  if (!state || !config) throw new ApiError(stream, 0, 'an answer without state');
  return { state, bytesMax: config.max_bytes };
}

export type StreamFound =
  | {
      readonly kind: 'there';
      readonly state: StreamState;
      readonly config: Readonly<Record<string, unknown>>;
      /** Another one than before: it is another stream of this name. */
      readonly created: string;
    }
  | { readonly kind: 'missing' }
  | { readonly kind: 'silent'; readonly why: string };

/** One try: what there is of a stream now. Rejects when this user may not ask. */
export async function tryStreamInfo(requests: Requests, stream: string): Promise<StreamFound> {
  const subject = `$JS.API.STREAM.INFO.${stream}`;
  const reply = await requests.ask(subject, new Uint8Array(0), limits.queueCallMs);
  if (reply.kind === 'denied') throw deniedFault(reply.denied);
  if (reply.kind === 'none') {
    const why = reply.why === 'no_responders' ? 'JetStream is not enabled, or has no leader' : reply.why;
    return { kind: 'silent', why };
  }
  const { error, state, config, created = '' } = reply.msg.json<Answer>();
  if (error?.err_code === noStream) return { kind: 'missing' };
  if (error || !state || !config) return { kind: 'silent', why: error?.description ?? 'an answer without state' };
  return { kind: 'there', state, config, created };
}

/** The subjects of a stream under `filter` with their number of messages; the server answers in pages. */
export async function subjectsOf(
  requests: Requests,
  stream: string,
  filter: string,
): Promise<readonly { subject: string; messages: number }[]> {
  const found: { subject: string; messages: number }[] = [];
  for (;;) {
    const page = await call(requests, `STREAM.INFO.${stream}`, { subjects_filter: filter, offset: found.length });
    const rows = Object.entries(page.state?.subjects ?? {});
    for (const [subject, messages] of rows) found.push({ subject, messages });
    if (rows.length === 0 || found.length >= (page.total ?? 0)) return found;
  }
}

/** All consumers of a stream; the server answers in pages. */
export async function consumersOf(requests: Requests, stream: string): Promise<readonly ConsumerState[]> {
  const found: ConsumerState[] = [];
  for (;;) {
    const page = await call(requests, `CONSUMER.LIST.${stream}`, { offset: found.length });
    const rows = page.consumers ?? [];
    found.push(...rows);
    if (rows.length === 0 || found.length >= (page.total ?? 0)) return found;
  }
}

/** How many messages of a consumer were delivered twice and are open; 0 where there is no such consumer. */
export async function redeliveredOf(requests: Requests, stream: string, consumer: string): Promise<number> {
  try {
    return (await call(requests, `CONSUMER.INFO.${stream}.${consumer}`, {})).num_redelivered ?? 0;
  } catch (error) {
    if (error instanceof ApiError && error.code === noConsumer) return 0;
    throw error;
  }
}

/** Removes messages under `filter` and below sequence `seq`; either may be left out. Resolves to how many went. */
export async function purge(
  requests: Requests,
  stream: string,
  what: { readonly filter?: string; readonly seq?: number },
): Promise<number> {
  return (await call(requests, `STREAM.PURGE.${stream}`, what)).purged ?? 0;
}

/** Removes one message; one that is gone already is no fault. */
export async function deleteMessage(requests: Requests, stream: string, seq: number): Promise<void> {
  try {
    await call(requests, `STREAM.MSG.DELETE.${stream}`, { seq, no_erase: true });
  } catch (error) {
    if (!(error instanceof ApiError)) throw error;
  }
}

/** A consumer for one walk over a stream (walk.ts): messages without their data, and no acks. */
export async function createWalker(requests: Requests, stream: string, name: string, fromSeq: number): Promise<void> {
  const config = {
    name,
    deliver_policy: 'by_start_sequence',
    opt_start_seq: fromSeq,
    ack_policy: 'none',
    replay_policy: 'instant',
    headers_only: true,
    mem_storage: true,
    num_replicas: 1,
    inactive_threshold: limits.walkIdleMs * 1_000_000,
  };
  await call(requests, `CONSUMER.CREATE.${stream}.${name}`, { stream_name: stream, config });
}

export async function deleteConsumer(requests: Requests, stream: string, name: string): Promise<void> {
  await call(requests, `CONSUMER.DELETE.${stream}.${name}`, {});
}

/** Tells the server that leads a consumer to leave that to another. Throws ApiError where there is no other. */
export async function stepDown(requests: Requests, stream: string, consumer: string): Promise<void> {
  await call(requests, `CONSUMER.LEADER.STEPDOWN.${stream}.${consumer}`, {});
}

/** The newest message on a subject, or under a filter, as the stream's leader knows it. */
export async function lastMessage(
  requests: Requests,
  stream: string,
  subject: string,
): Promise<{ readonly seq: number; readonly data: Uint8Array; readonly headers: string } | undefined> {
  try {
    const { message } = await call(requests, `STREAM.MSG.GET.${stream}`, { last_by_subj: subject });
    const bytes = (base64: string | undefined): Buffer => Buffer.from(base64 ?? '', 'base64');
    return message && { seq: message.seq, data: bytes(message.data), headers: bytes(message.hdrs).toString() };
  } catch (error) {
    if (error instanceof ApiError && error.code === noMessageFound) return undefined;
    throw error;
  }
}

async function call(requests: Requests, subject: string, body: object): Promise<Answer> {
  for (let tries = 1; ; tries += 1) {
    const msg = await requests.call(`$JS.API.${subject}`, encoder.encode(JSON.stringify(body)));
    const answer = msg.json<Answer>();
    if (!answer.error) return answer;
    const { code, err_code: errCode = 0, description = 'no description' } = answer.error;
    // 503: JetStream is there but has no leader yet.
    if (code !== 503 || tries >= limits.queueCallTriesMax) throw new ApiError(subject, errCode, description);
    await sleep(100 * 2 ** tries);
  }
}
