// Host: what every process of the cluster stands on: events, log, metrics, the observability door, the queue. Wiring only.

import { hostname } from 'node:os';
import { Events } from '../src/observe/events.js';
import { serveObservability, type Readiness } from '../src/observe/http.js';
import { logEvents, openLog, type Log } from '../src/observe/log.js';
import { openMetrics, type GaugeSources } from '../src/observe/metrics.js';
import type { ProcessRole } from '../src/observe/metric-row.js';
import type { Clock } from '../src/process/clock.js';
import { queueOptionsOf, workerQueueOptionsOf } from '../src/process/queue-options.js';
import type { Config } from '../src/process/schema.js';
import { version } from '../src/process/version.js';
import type { QueueEvent } from '../src/queue/events.js';
import { openQueue } from '../src/queue/jetstream.js';
import type { QueueSystem } from '../src/queue/queue.js';
import { openHostClock, type HostClock } from './clock.js';

export interface Host {
  readonly role: ProcessRole;
  readonly config: Config;
  readonly events: Events;
  readonly log: Log;
  /** The time of NATS. */
  readonly clock: Clock;
  /** How far this machine's clock is from it. */
  readonly hostClock: Pick<HostClock, 'skewMs' | 'refusal' | 'onRefusal'>;
  readonly queue: QueueSystem;
  readonly hostName: string;
  readonly version: string;
  /** Where /metrics and its siblings are served. */
  readonly httpAddress: string;
  /** The process is wired: readiness, gauges and debug state come from it from now on. */
  expose(parts: Exposed): void;
  close(): Promise<void>;
}

export interface Exposed {
  readonly sources: GaugeSources;
  readonly ready: () => readonly string[];
  readonly debugState: () => unknown;
}

/** Coordinators make and change streams and consumers; workers wait for those of their pool. */
export async function openHost(role: 'coordinator' | 'grm-worker' | 'meta-worker', config: Config): Promise<Host> {
  const events = new Events();
  const log = openLog({
    level: config.log.level,
    format: config.log.format,
    texts: config.log.texts,
    name: role,
    fields: { version },
  });
  const unlog = logEvents(log, events);

  let exposed: Exposed | undefined;
  let hostClock: HostClock | undefined;
  const sources: GaugeSources = {
    load: () => exposed?.sources.load?.() ?? { requestsInFlight: 0, samplesInFlight: 0, bytesInFlight: 0 },
    slots: () => exposed?.sources.slots?.() ?? { free: 0, busy: 0 },
    actors: () => exposed?.sources.actors?.() ?? [],
    engines: () => exposed?.sources.engines?.() ?? [],
    connected: () => exposed?.sources.connected?.() ?? false,
    clockSkewMs: () => hostClock?.skewMs(),
    queueDepths: () => exposed?.sources.queueDepths?.() ?? Promise.resolve([]),
    deadShards: () => exposed?.sources.deadShards?.() ?? Promise.resolve(0),
    streams: () => exposed?.sources.streams?.() ?? [],
  };
  const metrics = openMetrics({ role, version, events, sources });
  const ready = (): Readiness => {
    const reasons = exposed ? exposed.ready() : ['starting: NATS and its streams are waited for'];
    return { ok: reasons.length === 0, reasons };
  };
  const http = await serveObservability({
    listen: config.http.listen,
    metrics,
    live: () => ({ kind: 'ok' }),
    ready,
    debugState: () => exposed?.debugState() ?? { starting: true },
    onError: (error) => events.emit('trouble', { where: 'http', error }),
  });
  const closeDoors = async (): Promise<void> => {
    await http.close();
    metrics.close();
    unlog();
  };

  try {
    const queue = await openQueue({
      ...(role === 'coordinator' ? { ...queueOptionsOf(config), own: true } : workerQueueOptionsOf(config, role)),
      name: role,
      onEvent: (event) => hear(event, events, log),
    });
    queue.onConnection((state, reason) => events.emit('queue.connection', { state, reason }));
    const opened = (hostClock = await openHostClock(queue, events, config.nats.clockSkewMsMax));
    return {
      role,
      config,
      events,
      log,
      clock: opened.time,
      hostClock: opened,
      queue,
      hostName: hostname(),
      version,
      httpAddress: http.address,
      expose: (parts) => (exposed = parts),
      async close() {
        opened.close();
        await queue.close();
        await closeDoors();
      },
    };
  } catch (error) {
    await closeDoors();
    throw error;
  }
}

function hear(event: QueueEvent, events: Events, log: Log): void {
  switch (event.kind) {
    case 'connection':
      return;
    case 'swept':
      events.emit('queue.swept', event);
      return;
    case 'drift':
      events.emit('queue.drift', { what: event.words });
      return;
    case 'stream_lost':
      events.emit('queue.lost', { stream: event.stream });
      return;
    case 'stream_trouble':
      events.emit('queue.trouble', { what: event.words });
      return;
    case 'topology':
      if (event.action === 'moved') log.warn(`${event.what} moved: the server that led it had fallen behind`);
      else log.info(`${event.what} ${event.action}`);
      return;
    case 'waiting':
      log.info(event.words);
      return;
    case 'denied':
      log.error('NATS does not let this user do that', { operation: event.operation, subject: event.subject });
      return;
    case 'publish_retry':
      log.warn('publish repeated', { subject: event.subject, reason: event.reason, tries: event.tries });
      return;
    case 'undecodable':
      log.error('bytes that do not decode', { label: event.label, reason: event.reason });
      return;
    case 'pull_trouble':
      log.warn('pull failed', { stream: event.stream, pool: event.pool, reason: event.reason });
      return;
    case 'trimmed':
      events.emit('queue.trimmed', { stream: event.stream, messages: event.messages });
  }
}
