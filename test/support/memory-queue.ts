// A model of the message system inside this process: the interfaces of src/queue/queue.ts with the semantics of the real one, on a clock
// that the test owns, with weather that the test makes. Values pass through the real codec, so nothing is shared between processes by
// accident. test/contract/queue-memory.test.ts holds it to the contract that the real nats-server keeps.
//
//   nats = memoryNats({ clock })        the server and its streams
//   queue = nats.open('worker-1')       one process's connection
//   queue.kill()                        that process is gone: nothing it asked for is answered, nothing reaches it

import { fault, FaultError } from '../../src/fault.js';
import type { Class } from '../../src/grm/query.js';
import { limits } from '../../src/limits.js';
import type { Clock } from '../../src/process/clock.js';
import { decodeDeadLetter, encodeDeadLetter } from '../../src/queue/codec.js';
import type { Puller, QueueSystem } from '../../src/queue/queue.js';
import { ServerTime, type Reading } from '../../src/queue/server-time.js';
import { subjects } from '../../src/queue/subjects.js';
import { keepTime, type TimeKeeper } from '../../src/queue/time-keeper.js';
import type { Stage } from '../../src/work/shard.js';
import { memoryControl } from './memory-control.js';
import { storageOf } from './memory-storage.js';
import { ledgerOf } from './memory-ledger.js';
import { workOf } from './memory-puller.js';
import { MemoryStream } from './memory-stream.js';
import { Wire, type Seen, type Server, type Weather } from './memory-wire.js';
import { MemoryWork } from './memory-work.js';

export interface MemoryNatsOptions {
  readonly clock: Clock;
  readonly weather?: Weather;
  /** Defaults: limits.ts. */
  readonly ackWaitMs?: number;
  readonly leaseMs?: number;
  readonly pullExpiresMs?: number;
  readonly duplicateWindowMs?: number;
  readonly ledgerKeepMs?: number;
  readonly workMessagesMax?: number;
  readonly requestsMax?: number;
  /** Told of what happens in the ledger and among the dead letters. */
  readonly watch?: (seen: Seen) => void;
  /** What is wrong with this model: for tests that must find out. */
  readonly broken?: Broken;
}

/**
 * `overwrites`: of two appends to a lane under one number the ledger keeps the last; `blind`: a writer that is refused does not read what is
 * there; `forgets`: a task is gone once it was handed out.
 */
export type Broken = 'overwrites' | 'blind' | 'forgets';

export interface MemoryNats {
  /** The connection of one process. Absent: one whose clock is the server's. */
  open(name: string, process?: ProcessSide): MemoryQueue;
  /** Away: calls wait for the server as long as the real client does, then fail. */
  away(away: boolean): void;
  /** Killed while it was away: the last tasks that were removed are back. Returns how many. */
  crash(): number;
  /** Messages that a stream takes from now on, those that it holds included. */
  bound(stream: 'requests' | 'results' | 'verdicts', messagesMax: number): void;
  /** Puts bytes that no coordinator wrote. */
  putRaw(stage: Stage, pool: string, klass: Class, requestId: string, unit: number, bytes: Uint8Array): void;
  /** Tasks that wait or are in somebody's hands; of one request, or of all. */
  tasks(requestId?: string): number;
  /** Subscriptions of processes that live. */
  followers(): number;
}

/** What the model needs to know of a process. */
export interface ProcessSide {
  /** What comes to it goes through here. */
  readonly enter: (run: () => void) => void;
  systemNow(): number;
  steadyNow(): number;
}

export interface MemoryQueue extends QueueSystem {
  kill(): void;
}

export function memoryNats(options: MemoryNatsOptions): MemoryNats {
  const { clock, weather = {}, watch } = options;
  const ledgerMs = options.ledgerKeepMs ?? limits.ledgerKeepMs;
  const hear =
    watch &&
    ((how: Seen['how'], subject: string, bytes?: Uint8Array) =>
      watch({ client: server.client, how, subject, ...(bytes && { bytes }) }));
  const stream = (writeOnce: boolean, ageMs: number, messagesMax = Infinity) =>
    new MemoryStream(clock, { writeOnce, ageMs, messagesMax }, hear);
  const server: Server = {
    clock,
    weather,
    pullExpiresMs: options.pullExpiresMs ?? limits.pullExpiresMs,
    requests: stream(true, ledgerMs, options.requestsMax),
    results: stream(options.broken !== 'overwrites', ledgerMs),
    verdicts: stream(true, ledgerMs),
    templates: stream(false, Infinity),
    dead: stream(false, limits.deadKeepMs),
    work: new MemoryWork(clock, {
      ackWaitMs: options.ackWaitMs ?? limits.ackWaitMs,
      duplicateWindowMs: options.duplicateWindowMs ?? limits.duplicateWindowMs,
      messagesMax: options.workMessagesMax ?? limits.workMessagesMax,
      ageMs: limits.workKeepMs,
      forgetful: options.broken === 'forgets',
    }),
    blind: options.broken === 'blind',
    hub: {
      leases: stream(false, options.leaseMs ?? limits.leaseMs),
      kept: new Map(),
      served: new Map(),
      listeners: new Map(),
    },
    followers: new Map(),
    up: true,
    client: '',
    hearers: new Set(),
  };
  return {
    open: (name, process) => open(name, server, process),
    away(away) {
      if (server.up === !away) return;
      server.up = !away;
      for (const hear of [...server.hearers]) hear(away ? 'disconnected' : 'connected');
    },
    crash: () => server.work.forgetRemovals(),
    bound: (name, messagesMax) => server[name].bound(messagesMax),
    putRaw(stage, pool, klass, requestId, unit, bytes) {
      const subject = (stage === 'sample' ? subjects.shard : subjects.metaTask)(pool, klass, requestId, unit);
      server.work.put({ stage, pool, class: klass, requestId, subject, bytes });
    },
    tasks: (requestId) => (requestId === undefined ? server.work.size : server.work.of(requestId)),
    followers: () => [...server.followers.values()].reduce((sum, set) => sum + set.size, 0),
  };
}

function open(name: string, server: Server, process?: ProcessSide): MemoryQueue {
  const wire = new Wire(name, server, process?.enter);
  const steadyNow = (): number => (process ?? server.clock).steadyNow();
  // Uncounted among the process's own timers: the client library's, as it were.
  const after: Clock['after'] = (delayMs, run) => server.clock.after(delayMs, () => wire.enter(run));
  const base = { steadyNow, after };
  const time = new ServerTime({ base, systemNow: () => process?.systemNow() ?? server.clock.now() });
  const read = async (): Promise<Reading> => {
    const beforeMs = steadyNow();
    const serverMs = await wire.call('clock', () => server.clock.now());
    const tookMs = steadyNow() - beforeMs;
    if (tookMs > limits.queueCallMs) throw new FaultError(fault('queue_unavailable', 'no answer'));
    return { serverMs, steadyMs: beforeMs + tookMs / 2, errorMs: tookMs / 2 + 1 };
  };
  const keepers = new Set<TimeKeeper>();
  const pullers = new Set<Puller<unknown>>();
  const hearers = new Set<(state: 'connected' | 'disconnected') => void>();
  const stopFollowing = (): void => {
    for (const set of server.followers.values()) for (const each of set) if (each.wire === wire) set.delete(each);
    for (const hear of hearers) server.hearers.delete(hear);
  };
  return {
    ledger: ledgerOf(wire),
    storage: storageOf(wire),
    work: workOf(wire, pullers),
    dead: deadOf(wire),
    control: memoryControl(server.hub, wire),
    serverVersion: '2.9.10',
    drift: [],
    connected: () => server.up && !wire.dead,
    onConnection(hear) {
      const heard = (state: 'connected' | 'disconnected'): void => {
        if (state === 'connected') for (const keeper of keepers) keeper.again();
        wire.enter(() => {
          if (!wire.dead) hear(state, 'the weather');
        });
      };
      hearers.add(heard);
      server.hearers.add(heard);
    },
    rttMs: () => wire.call('rtt', () => 0),
    time,
    keepTime(hear) {
      // Seldom: every look is a turn of the simulation.
      const keeper = keepTime({ time, read, clock: base, hear, lookEveryMs: 10_000 });
      keepers.add(keeper);
      return keeper;
    },
    async clockSkewMs() {
      time.take(await read());
      return -time.systemLessServerMs();
    },
    sweep: () => wire.call('sweep', () => []),
    async close() {
      for (const keeper of keepers) keeper.close();
      await Promise.all([...pullers].map((puller) => puller.close()));
      stopFollowing();
    },
    kill() {
      wire.kill();
      for (const keeper of keepers) keeper.close();
      for (const puller of pullers) void puller.close();
      stopFollowing();
    },
  };
}

function deadOf(wire: Wire): QueueSystem['dead'] {
  const { dead } = wire.server;
  const letters: QueueSystem['dead'] = {
    async put(letter) {
      const subject = subjects.dead(letter.requestId, letter.stage, letter.unit);
      await wire.call('putDead', () => dead.put(subject, encodeDeadLetter(letter)));
    },
    list: async (limit) => (await letters.page(limit)).letters,
    page: (limit, before = Infinity) =>
      wire.call('listDead', () => {
        const all = dead.subjects();
        const end = Math.min(all.length, before);
        const begin = Math.max(0, end - Math.min(limit, limits.deadListMax));
        const those = all
          .slice(begin, end)
          .reverse()
          .flatMap((subject) => {
            const bytes = dead.get(subject);
            return bytes ? [decodeDeadLetter(bytes)] : [];
          });
        return { letters: those, ...(begin > 0 && { next: begin }) };
      }),
    letter: (requestId, stage, unit) =>
      wire.call('deadLetter', () => {
        const bytes = dead.get(subjects.dead(requestId, stage, unit));
        return bytes && decodeDeadLetter(bytes);
      }),
    count: () => wire.call('countDead', () => dead.subjects().length),
    remove: (requestId, stage, unit) =>
      wire.call('removeDead', () => dead.purge(subjects.dead(requestId, stage, unit))),
  };
  return letters;
}
