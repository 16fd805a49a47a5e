// Streams: the table of everything this project keeps in JetStream, with every setting, and the consumers of the work queues.
// `topology.ts` makes and checks them. ARCHITECTURE.md, The ledger, says what each is for.
//
//   T1. GRM_REQ, GRM_RES and GRM_FIN are write-once per subject: one message per subject, a second one refused by the server (Q1).
//   T2. GRM_RES and GRM_FIN repeat what they have stored, and nothing else, on grm.out.> (Q2).
//   T3. Work queues deliver for ever (max_deliver -1): the worker quarantines, because a server that stops delivering keeps the message
//       (github.com/nats-io/nats-server/issues/5564).

import {
  AckPolicy,
  DeliverPolicy,
  DiscardPolicy,
  RetentionPolicy,
  StorageType,
  type ConsumerConfig,
  type StreamConfig,
} from '@nats-io/jetstream';
import { classes, type Class } from '../grm/query.js';
import { limits } from '../limits.js';
import type { Stage } from '../work/shard.js';
import { consumerName, filters, workStream } from './subjects.js';

export interface Retention {
  /** Requests, samples, verdicts. */
  readonly ledgerMs: number;
  /** Tasks waiting in a work queue: more than the longest time budget. */
  readonly workMs: number;
  readonly deadMs: number;
  /** Life of a lease after its last renewal. */
  readonly leaseMs: number;
}

export interface Sizing {
  readonly storage: 'file' | 'memory';
  readonly replicas: 1 | 3;
  /** Of all streams together: the server reserves it. */
  readonly storageBytesMax: number;
  readonly retention: Retention;
}

/** Parts of storageBytesMax. A sample weighs about as much as its request, and a verdict repeats its samples. */
const shares = {
  GRM_REQ: 0.2,
  GRM_RES: 0.25,
  GRM_FIN: 0.25,
  GRM_WORK: 0.1,
  GRM_META: 0.08,
  GRM_DEAD: 0.01,
  OBJ_GRM_BLOBS: 0.1,
  KV_GRM_TEMPLATES: 0.005,
  KV_GRM_CLUSTER: 0.005,
} as const;

export type StreamName = keyof typeof shares;

export type StreamWanted = Partial<StreamConfig> & { readonly name: StreamName; readonly subjects: string[] };

export const nanos = (ms: number): number => ms * 1_000_000;

/** Every stream, in the order in which they are made. */
export function wantedStreams(sizing: Sizing): readonly StreamWanted[] {
  const { retention } = sizing;
  const base = (name: StreamName) => ({
    name,
    storage: sizing.storage === 'file' ? StorageType.File : StorageType.Memory,
    num_replicas: sizing.replicas,
    max_bytes: Math.floor(sizing.storageBytesMax * shares[name]),
  });
  /** Not above max_age: the server refuses that. */
  const duplicates = (maxAgeMs: number): number => nanos(Math.min(limits.duplicateWindowMs, maxAgeMs));
  const writeOnce = {
    retention: RetentionPolicy.Limits,
    max_msgs_per_subject: 1,
    discard: DiscardPolicy.New,
    discard_new_per_subject: true,
    allow_direct: true,
    max_age: nanos(retention.ledgerMs),
    duplicate_window: duplicates(retention.ledgerMs),
  };
  const workQueue = {
    retention: RetentionPolicy.Workqueue,
    discard: DiscardPolicy.New,
    max_msgs: limits.workMessagesMax,
    max_age: nanos(retention.workMs),
    duplicate_window: duplicates(retention.workMs),
  };
  /** The settings that @nats-io/kv gives a bucket with history 1. */
  const bucket = {
    retention: RetentionPolicy.Limits,
    max_msgs_per_subject: 1,
    discard: DiscardPolicy.New,
    allow_rollup_hdrs: true,
    allow_direct: true,
  };
  return [
    { ...base('GRM_REQ'), subjects: ['grm.req.*', 'grm.reopen.*.*'], ...writeOnce },
    {
      ...base('GRM_RES'),
      subjects: ['grm.res.*.*', 'grm.mres.*.*', 'grm.void.*.*.*'],
      ...writeOnce,
      republish: { src: 'grm.>', dest: 'grm.out.>' },
    },
    {
      ...base('GRM_FIN'),
      subjects: ['grm.fin.*'],
      ...writeOnce,
      // One token more, so that a follower needs a single subscription for samples, rewards and verdict. Without the verdict itself, which hardly
      // anybody waits for and every coordinator would be sent.
      republish: { src: 'grm.fin.*', dest: 'grm.out.fin.{{wildcard(1)}}.verdict', headers_only: true },
    },
    { ...base('GRM_WORK'), subjects: ['grm.work.*.*.*.*'], ...workQueue },
    { ...base('GRM_META'), subjects: ['grm.meta.*.*.*.*'], ...workQueue },
    {
      ...base('GRM_DEAD'),
      subjects: ['grm.dead.*.*.*'],
      retention: RetentionPolicy.Limits,
      max_msgs_per_subject: 1,
      discard: DiscardPolicy.Old,
      allow_direct: true,
      max_age: nanos(retention.deadMs),
      duplicate_window: duplicates(retention.deadMs),
    },
    {
      ...base('OBJ_GRM_BLOBS'),
      subjects: ['$O.GRM_BLOBS.C.>', '$O.GRM_BLOBS.M.>'],
      retention: RetentionPolicy.Limits,
      discard: DiscardPolicy.New,
      allow_rollup_hdrs: true,
      allow_direct: true,
      // A blob is stored before the message that refers to it, and outlives it.
      max_age: nanos(retention.ledgerMs + limits.blobOrphanMs),
      duplicate_window: duplicates(retention.ledgerMs + limits.blobOrphanMs),
    },
    { ...base('KV_GRM_TEMPLATES'), subjects: ['$KV.GRM_TEMPLATES.>'], ...bucket },
    {
      ...base('KV_GRM_CLUSTER'),
      subjects: ['$KV.GRM_CLUSTER.>'],
      ...bucket,
      max_age: nanos(retention.leaseMs),
      duplicate_window: duplicates(retention.leaseMs),
    },
  ];
}

export interface Pools {
  /** Names of pools that draw samples. */
  readonly grm: readonly string[];
  /** Names of pools that rank them. */
  readonly meta: readonly string[];
}

export interface ConsumerWanted {
  readonly stream: 'GRM_WORK' | 'GRM_META';
  readonly stage: Stage;
  readonly pool: string;
  readonly class: Class;
  readonly config: Partial<ConsumerConfig> & { readonly durable_name: string; readonly filter_subject: string };
}

/** One durable per pool and class. No back-off, because it overrides ack_wait; no inactivity limit, because older servers do not count renewals as activity. */
export function wantedConsumers(pools: Pools, ackWaitMs: number): readonly ConsumerWanted[] {
  const one = (stage: Stage, pool: string, cls: Class): ConsumerWanted => ({
    stream: workStream[stage],
    stage,
    pool,
    class: cls,
    config: {
      durable_name: consumerName(pool, cls),
      filter_subject: filters.work(stage, pool, cls),
      deliver_policy: DeliverPolicy.All,
      ack_policy: AckPolicy.Explicit,
      ack_wait: nanos(ackWaitMs),
      max_deliver: -1,
      max_ack_pending: limits.ackPendingMax,
      max_waiting: limits.pullsWaitingMax,
    },
  });
  const stage = (name: Stage, names: readonly string[]): ConsumerWanted[] =>
    [...new Set(names)].flatMap((pool) => classes.map((cls) => one(name, pool, cls)));
  return [...stage('sample', pools.grm), ...stage('meta', pools.meta)];
}
