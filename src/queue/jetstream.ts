// The queue on NATS JetStream: opens the connection, makes or checks streams and consumers, and puts the parts together.

import { jetstreamManager } from '@nats-io/jetstream';
import { fault, FaultError } from '../fault.js';
import { limits } from '../limits.js';
import { systemClock } from '../process/clock.js';
import { Blobs } from './blobs.js';
import { Checkpoints } from './checkpoint.js';
import { ServerClock } from './clock.js';
import { JetStreamControlPlane } from './control.js';
import { JetStreamDeadLetters } from './dead.js';
import type { SendAck } from './delivery.js';
import type { OnQueueEvent } from './events.js';
import { Janitor } from './janitor.js';
import { JetStreamLedger } from './ledger.js';
import { openLink, type Link, type LinkOptions } from './link.js';
import { OpenRequests } from './open-requests.js';
import { Publisher, publisherBounds } from './publisher.js';
import { pullTimesFor, type PullTimes } from './puller.js';
import type { QueueSystem } from './queue.js';
import { Requests } from './requests.js';
import { keepTime, type TimeKeeper } from './time-keeper.js';
import { wantedConsumers, wantedStreams, type Pools, type Retention } from './streams.js';
import { StreamStorage } from './storage.js';
import { ensureTopology } from './topology.js';
import { BlobTrimmer } from './trim-blobs.js';
import { Trimmer } from './trim.js';
import { JetStreamWork } from './work.js';

export interface QueueOptions extends LinkOptions {
  /** Pools whose consumers this process makes, checks and sweeps. */
  readonly pools: Pools;
  readonly storage: 'file' | 'memory';
  readonly replicas: 1 | 3;
  /** Of all streams together; nats-server reserves it. Default limits.storageBytesDefault. */
  readonly storageBytesMax?: number;
  readonly retention?: Partial<Retention>;
  /** Makes and changes streams and consumers, or only waits for them and reports how they differ. */
  readonly own: boolean;
  /**
   * What a process that does not own them looks at: `all`, or the consumers of its pools alone, which are made last. A worker needs no more,
   * and may not know more: what a stream tells of itself holds the ids of all requests. Default `all`.
   */
  readonly looksAt?: 'all' | 'consumers';
  /** Default limits.ackWaitMs: a delivery not renewed for this long goes to somebody else. */
  readonly ackWaitMs?: number;
  /** Default limits.publishForMs: a message that NATS does not store for so long is given up. */
  readonly publishForMs?: number;
  /** Default: the bounds of limits.ts. */
  readonly pullTimes?: PullTimes;
  /** How long the janitor looks at a suspicious queue before it acts; default a little more than twice ackWaitMs. */
  readonly settleMs?: number;
  /** Kept by the janitor's trimming besides what is open; default 10 s, against clocks and what is being stored now. */
  readonly trimMarginMs?: number;
  /** Default limits.blobOrphanMs: a blob that nothing refers to is left over after so long. */
  readonly blobOrphanMs?: number;
  /** How often an owner looks at the streams; default limits.storageLookMs. */
  readonly storageLookMs?: number;
  /** Default limits.topologyWaitMs. */
  readonly topologyWaitMs?: number;
  readonly onEvent?: OnQueueEvent;
}

const versionFloor = { major: 2, minor: 9 } as const;

/** Throws FaultError: queue_unavailable when no server answers, permission_denied when it refuses this user or what it asks for, or failed_precondition with what to change. */
export async function openQueue(options: QueueOptions): Promise<QueueSystem> {
  const onEvent: OnQueueEvent = options.onEvent ?? (() => undefined);
  const link = await openLink(options, onEvent);
  try {
    return await assemble(link, options, onEvent);
  } catch (error) {
    await link.close();
    throw error;
  }
}

async function assemble(link: Link, options: QueueOptions, onEvent: OnQueueEvent): Promise<QueueSystem> {
  const { nc } = link;
  const serverVersion = nc.info?.version ?? '';
  assertVersion(serverVersion);
  const retention: Retention = {
    ledgerMs: limits.ledgerKeepMs,
    workMs: limits.workKeepMs,
    deadMs: limits.deadKeepMs,
    leaseMs: limits.leaseMs,
    ...options.retention,
  };
  const storageBytesMax = options.storageBytesMax ?? limits.storageBytesDefault;
  const ackWaitMs = options.ackWaitMs ?? limits.ackWaitMs;
  const { storage, replicas } = options;
  const consumers = wantedConsumers(options.pools, ackWaitMs);
  const jsm = await jetstreamManager(nc, { timeout: limits.queueCallMs, checkAPI: false });
  const worker = !options.own && options.looksAt === 'consumers';
  const streams = worker ? [] : wantedStreams({ storage, replicas, storageBytesMax, retention });
  const drift = await ensureTopology(jsm, streams, consumers, {
    own: options.own,
    storageBytesMax,
    waitMs: options.topologyWaitMs ?? limits.topologyWaitMs,
    onEvent,
  });

  const requests = Requests.open(link);
  const everyMs = options.storageLookMs ?? limits.storageLookMs;
  const stores = new StreamStorage(
    { link, requests, jsm, streams, consumers, own: options.own, storageBytesMax, everyMs, onEvent },
    drift,
  );
  const bounds = publisherBounds(options.publishForMs ?? limits.publishForMs);
  const publisher = new Publisher(link, requests, onEvent, bounds, (subject) => stores.noteRefused(subject));
  const clock = new ServerClock(link, requests);
  const keepers = new Set<TimeKeeper>();
  link.onChange((state) => {
    if (state === 'connected') for (const keeper of keepers) keeper.again();
  });
  const blobs = new Blobs(requests, publisher);
  const work = new JetStreamWork({
    link,
    requests,
    publisher,
    sendAck: ackSender(link),
    onEvent,
    pullTimes: options.pullTimes ?? pullTimesFor(ackWaitMs),
  });
  const open = new OpenRequests({ link, requests, checkpoints: new Checkpoints(requests, publisher) });
  const ledgerParts = {
    link,
    requests,
    publisher,
    blobs,
    replicas,
    asksLeader: !worker,
    storage: stores,
    open,
    onEvent,
  };
  const ledger = new JetStreamLedger(ledgerParts);
  const trimMarginMs = options.trimMarginMs ?? 10_000;
  const blobOrphanMs = options.blobOrphanMs ?? limits.blobOrphanMs;
  const trimmer = new Trimmer({
    link,
    requests,
    blobs: new BlobTrimmer({ requests, blobs, open, trimMarginMs, blobOrphanMs, onEvent }),
    open,
    isOpen: (requestId) => ledger.isOpen(requestId),
    clock,
    trimMarginMs,
    onEvent,
  });
  const janitor = new Janitor({
    link,
    requests,
    jsm,
    trimmer,
    consumers,
    replicas,
    settleMs: options.settleMs ?? (ackWaitMs * 7) / 3,
    onEvent,
  });

  return {
    ledger,
    storage: stores,
    work,
    dead: new JetStreamDeadLetters(requests, publisher, onEvent),
    control: new JetStreamControlPlane({ link, requests, publisher, clock, leaseMs: retention.leaseMs, onEvent }),
    serverVersion,
    get drift() {
      return stores.drift();
    },
    connected: () => link.connected(),
    onConnection: (hear) => void link.onChange(hear),
    rttMs: () => nc.rtt(),
    time: clock.time,
    keepTime(hear) {
      const keeper = keepTime({ time: clock.time, read: () => clock.read(), clock: systemClock, hear });
      keepers.add(keeper);
      return keeper;
    },
    clockSkewMs: () => clock.skewMs(),
    sweep: (state) => janitor.sweep(state),
    async close() {
      await stores.close();
      for (const keeper of keepers) keeper.close();
      await work.close();
      await publisher.settle(limits.pubAckMs);
      await link.close();
    },
  };
}

/** Acks are not confirmed: one that is lost brings its delivery again, and the ledger knows it. Those of a short outage are kept. */
function ackSender(link: Link): SendAck {
  const kept: { readonly reply: string; readonly body: Uint8Array }[] = [];
  link.onChange((state) => {
    if (state === 'connected') for (const { reply, body } of kept.splice(0)) link.publish(reply, body);
  });
  return (reply, body) => {
    if (link.connected()) link.publish(reply, body);
    else if (kept.length < limits.acksKeptMax && !link.nc.isClosed()) kept.push({ reply, body });
  };
}

function assertVersion(version: string): void {
  const [major = 0, minor = 0] = version.split('.').map(Number);
  if (major > versionFloor.major || (major === versionFloor.major && minor >= versionFloor.minor)) return;
  const floor = `${versionFloor.major}.${versionFloor.minor}`;
  throw new FaultError(
    fault('failed_precondition', `nats-server ${version} is too old: ${floor} is the oldest that works`),
  );
}
