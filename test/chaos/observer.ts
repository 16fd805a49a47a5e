// Observer: sees the ledger and the queues from outside, past every proxy and every process of ours.

import { jetstream, jetstreamManager } from '@nats-io/jetstream';
import { connect, type NatsConnection } from '@nats-io/transport-node';
import { decodeDeadLetter, decodeVerdict } from '../../src/queue/codec.js';
import type { DeadLetter } from '../../src/work/shard.js';
import type { Verdict } from '../../src/grm/verdict.js';
import type { NatsServer } from '../support/nats.js';
import type { Stored } from './ledger-story.js';

export interface Observer {
  /** Of nats-server. */
  readonly version: string;
  /** Announcements so far. */
  readonly heard: readonly Stored[];
  /** What the ledger and the quarantine hold now. */
  read(): Promise<{ readonly kept: readonly Stored[]; readonly dead: readonly DeadLetter[] }>;
  /** Accepted requests that have no verdict, by id. */
  open(): Promise<readonly string[]>;
  /** What is left in the work queues, one entry for each thing that is not zero; what KEDA scales by is among them. */
  queues(): Promise<readonly { readonly what: string; readonly count: number }[]>;
  close(): Promise<void>;
}

export async function observe(servers: readonly NatsServer[]): Promise<Observer> {
  const nc = await connect({
    servers: servers.map(({ url }) => url),
    name: 'observer',
    maxReconnectAttempts: -1,
    reconnectTimeWait: 200,
    pingInterval: 2_000,
  });
  const heard: Stored[] = [];
  nc.subscribe('grm.out.>', {
    callback: (error, msg) => {
      if (error) return;
      // Announcements of one stream carry its subject behind "grm.out"; those of verdicts end in one token more.
      const [, , stream = '', request = '', unit = ''] = msg.subject.split('.');
      const subject = stream === 'fin' ? `grm.fin.${request}` : `grm.${stream}.${request}.${unit}`;
      heard.push({ subject, bytes: Uint8Array.from(msg.data), atMs: Date.now() });
    },
  });
  const jsm = await jetstreamManager(nc);
  return {
    version: nc.info?.version ?? 'unknown',
    heard,
    async read() {
      const kept: Stored[] = [];
      for (const stream of ['GRM_REQ', 'GRM_RES', 'GRM_FIN']) kept.push(...(await everything(nc, stream)));
      const dead = (await everything(nc, 'GRM_DEAD')).map(({ bytes }) => decodeDeadLetter(bytes));
      return { kept, dead };
    },
    async open() {
      const accepted = await subjectsOf('GRM_REQ', 'grm.req.');
      const finished = new Set(await subjectsOf('GRM_FIN', 'grm.fin.'));
      return accepted.filter((id) => !finished.has(id));
    },
    async queues() {
      const left: { what: string; count: number }[] = [];
      for (const stream of ['GRM_WORK', 'GRM_META']) {
        left.push({ what: `${stream} messages`, count: (await jsm.streams.info(stream)).state.messages });
        for await (const { name, num_pending: waiting, num_ack_pending: unacked } of jsm.consumers.list(stream)) {
          left.push({ what: `${stream} ${name} waiting`, count: waiting });
          left.push({ what: `${stream} ${name} without an ack`, count: unacked });
        }
      }
      return left.filter(({ count }) => count > 0);
    },
    close: () => nc.close(),
  };

  async function subjectsOf(stream: string, prefix: string): Promise<readonly string[]> {
    const { state } = await jsm.streams.info(stream, { subjects_filter: `${prefix}>` });
    return Object.keys(state.subjects ?? {}).map((subject) => subject.slice(prefix.length));
  }
}

/** Every message of a stream, in its order. */
async function everything(nc: NatsConnection, stream: string): Promise<readonly Stored[]> {
  const jsm = await jetstreamManager(nc);
  const found: Stored[] = [];
  if ((await jsm.streams.info(stream)).state.messages === 0) return found;
  const consumer = await jetstream(nc).consumers.get(stream);
  for await (const message of await consumer.consume()) {
    const bytes = Uint8Array.from(message.data);
    found.push({ subject: message.subject, bytes, atMs: message.time.getTime() });
    if (message.info.pending === 0) break;
  }
  return found;
}

/** The verdicts among what is kept, by request id. */
export function verdictsOf(kept: readonly Stored[]): ReadonlyMap<string, Verdict> {
  const finished = kept.filter(({ subject }) => subject.startsWith('grm.fin.'));
  return new Map(finished.map(({ subject, bytes }) => [subject.slice('grm.fin.'.length), decodeVerdict(bytes)]));
}
