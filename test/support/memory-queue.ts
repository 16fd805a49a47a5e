// A model of the message system inside this process: the interfaces of src/queue/queue.ts with the semantics of the real one, on a clock
// that the test owns, with weather that the test makes. Values pass through the real codec, so nothing is shared between processes by
// accident. test/contract/queue-memory.test.ts holds it to the contract that the real nats-server keeps.
//
//   nats = memoryNats({ clock })        the server and its streams
//   queue = nats.open('worker-1')       one process's connection
//   queue.kill()                        that process is gone: nothing it asked for is answered, nothing reaches it

import { FaultError, fault } from '../../src/fault.js';
import type { Class } from '../../src/grm/query.js';
import { limits } from '../../src/limits.js';
import type { Clock } from '../../src/process/clock.js';
import {
  decodeDeadLetter,
  decodeMetaResult,
  decodeMetaTask,
  decodeRecord,
  decodeSample,
  decodeShard,
  decodeVerdict,
  encodeContent,
  encodeDeadLetter,
  encodeMetaResult,
  encodeMetaTask,
  encodeRecord,
  encodeSample,
  encodeShard,
  encodeVerdict,
} from '../../src/queue/codec.js';
import type { Delivery, Follower, Ledger, Published, Puller, QueueSystem, WorkQueue } from '../../src/queue/queue.js';
import { subjects, token } from '../../src/queue/subjects.js';
import type { RequestRecord, Stage } from '../../src/work/shard.js';
import { memoryControl, type ControlHub } from './memory-control.js';
import { MemoryStream } from './memory-stream.js';
import { MemoryWork, type Handed, type NewTask, type Settling } from './memory-work.js';

/** One crossing of the wire. `refused`: nothing happened; `unanswered`: it happened and the caller does not learn it. Both are told as queue_unavailable. */
export type Crossing =
  | { readonly kind: 'ok'; readonly toMs?: number; readonly backMs?: number }
  | { readonly kind: 'refused' | 'unanswered'; readonly afterMs?: number };

/** What may go wrong between a client and the server. Each is asked once per crossing, so a seeded weather replays. Absent: all is well, at once. */
export interface Weather {
  readonly call?: (client: string, what: string) => Crossing;
  /** A notice to one follower or listener: the delays after which it arrives; none = it is lost, two = it comes twice. */
  readonly notice?: (client: string, what: string) => readonly number[];
  /** An ack, nak, term or renewal: the delay after which it arrives; undefined = it is lost. */
  readonly settle?: (client: string, how: Settling) => number | undefined;
}

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
}

export interface MemoryNats {
  /** The connection of one process. */
  open(name: string): MemoryQueue;
  /** Away: calls wait for the server as long as the real client does, then fail. */
  away(away: boolean): void;
  /** Puts bytes that no coordinator wrote. */
  putRaw(stage: Stage, pool: string, klass: Class, requestId: string, unit: number, bytes: Uint8Array): void;
  /** Tasks that wait or are in somebody's hands; of one request, or of all. */
  tasks(requestId?: string): number;
  /** Subscriptions of processes that live. */
  followers(): number;
}

export interface MemoryQueue extends QueueSystem {
  kill(): void;
}

export function memoryNats(options: MemoryNatsOptions): MemoryNats {
  const { clock, weather = {} } = options;
  const ledgerMs = options.ledgerKeepMs ?? limits.ledgerKeepMs;
  const stream = (writeOnce: boolean, ageMs: number, messagesMax = Infinity) =>
    new MemoryStream(clock, { writeOnce, ageMs, messagesMax });
  const server: Server = {
    clock,
    weather,
    pullExpiresMs: options.pullExpiresMs ?? limits.pullExpiresMs,
    requests: stream(true, ledgerMs, options.requestsMax),
    results: stream(true, ledgerMs),
    verdicts: stream(true, ledgerMs),
    templates: stream(false, Infinity),
    dead: stream(false, limits.deadKeepMs),
    work: new MemoryWork(clock, {
      ackWaitMs: options.ackWaitMs ?? limits.ackWaitMs,
      duplicateWindowMs: options.duplicateWindowMs ?? limits.duplicateWindowMs,
      messagesMax: options.workMessagesMax ?? limits.workMessagesMax,
      ageMs: limits.workKeepMs,
    }),
    hub: { leases: stream(false, options.leaseMs ?? limits.leaseMs), served: new Map(), listeners: new Map() },
    followers: new Map(),
    up: true,
    hearers: new Set(),
  };
  return {
    open: (name) => open(name, server),
    away(away) {
      if (server.up === !away) return;
      server.up = !away;
      for (const hear of [...server.hearers]) hear(away ? 'disconnected' : 'connected');
    },
    putRaw(stage, pool, klass, requestId, unit, bytes) {
      const subject = (stage === 'sample' ? subjects.shard : subjects.metaTask)(pool, klass, requestId, unit);
      server.work.put({ stage, pool, class: klass, requestId, subject, bytes });
    },
    tasks: (requestId) => (requestId === undefined ? server.work.size : server.work.of(requestId)),
    followers: () => [...server.followers.values()].reduce((sum, set) => sum + set.size, 0),
  };
}

interface Follow {
  readonly wire: Wire;
  readonly follower: Follower;
}

interface Server {
  readonly clock: Clock;
  readonly weather: Weather;
  readonly pullExpiresMs: number;
  readonly requests: MemoryStream;
  readonly results: MemoryStream;
  readonly verdicts: MemoryStream;
  readonly templates: MemoryStream;
  readonly dead: MemoryStream;
  readonly work: MemoryWork;
  readonly hub: ControlHub;
  /** By request. */
  readonly followers: Map<string, Set<Follow>>;
  up: boolean;
  readonly hearers: Set<(state: 'connected' | 'disconnected') => void>;
}

/** What the real client rides out before it gives up (Q4). */
const patienceMs = {
  read: limits.queueCallMs * limits.queueCallTriesMax,
  write: limits.pubAckMs * limits.publishTriesMax,
};
const never = new Promise<never>(() => undefined);

/** One process's way to the server. */
class Wire {
  #dead = false;

  constructor(
    readonly client: string,
    readonly server: Server,
  ) {}

  kill(): void {
    this.#dead = true;
  }

  get dead(): boolean {
    return this.#dead;
  }

  async call<T>(what: string, act: () => T): Promise<T> {
    const { weather } = this.server;
    await this.#whenUp(what);
    const crossing = weather.call?.(this.client, what) ?? { kind: 'ok' };
    if (crossing.kind === 'refused') {
      await this.#pass(crossing.afterMs);
      throw unavailable(what);
    }
    await this.#pass(crossing.kind === 'ok' ? crossing.toMs : 0);
    const result = act();
    await this.#pass(crossing.kind === 'ok' ? crossing.backMs : crossing.afterMs);
    if (crossing.kind === 'unanswered') throw unavailable(what);
    return result;
  }

  notice(what: string, arrive: () => void): void {
    const { weather, clock } = this.server;
    for (const delayMs of weather.notice?.(this.client, what) ?? [0]) {
      const deliver = (): void => {
        if (!this.#dead) arrive();
      };
      if (delayMs > 0) clock.after(delayMs, deliver);
      else queueMicrotask(deliver);
    }
  }

  settle(handed: Handed, how: Settling, nakDelayMs: number): void {
    const { weather, clock } = this.server;
    if (this.#dead) return;
    const delayMs = weather.settle ? weather.settle(this.client, how) : 0;
    if (delayMs === undefined) return;
    if (delayMs > 0) clock.after(delayMs, () => handed.settle(how, nakDelayMs));
    else handed.settle(how, nakDelayMs);
  }

  async #whenUp(what: string): Promise<void> {
    const { clock, hearers } = this.server;
    const isUp = (): boolean => this.server.up;
    if (isUp()) return;
    const boundMs = what.startsWith('put') || what === 'accept' ? patienceMs.write : patienceMs.read;
    await new Promise<void>((resolve) => {
      const end = (): void => {
        cancel();
        hearers.delete(end);
        resolve();
      };
      const cancel = clock.after(boundMs, end);
      hearers.add(end);
    });
    if (!isUp()) throw unavailable(what);
  }

  /** A dead process never sees the other end. */
  async #pass(ms = 0): Promise<void> {
    if (ms > 0) await new Promise<void>((resolve) => void this.server.clock.after(ms, resolve));
    else await Promise.resolve();
    if (this.#dead) await never;
  }
}

function unavailable(what: string): FaultError {
  return new FaultError(fault('queue_unavailable', `NATS does not answer ${what}`));
}

function open(name: string, server: Server): MemoryQueue {
  const wire = new Wire(name, server);
  const pullers = new Set<Puller<unknown>>();
  const hearers = new Set<(state: 'connected' | 'disconnected') => void>();
  const stopFollowing = (): void => {
    for (const set of server.followers.values()) for (const each of set) if (each.wire === wire) set.delete(each);
    for (const hear of hearers) server.hearers.delete(hear);
  };
  return {
    ledger: ledgerOf(wire),
    work: workOf(wire, pullers),
    dead: deadOf(wire),
    control: memoryControl(server.hub, wire),
    serverVersion: '2.9.10',
    drift: [],
    connected: () => server.up && !wire.dead,
    onConnection(hear) {
      const heard = (state: 'connected' | 'disconnected'): void => {
        if (!wire.dead) hear(state, 'the weather');
      };
      hearers.add(heard);
      server.hearers.add(heard);
    },
    rttMs: () => wire.call('rtt', () => 0),
    clockSkewMs: () => wire.call('clock', () => 0),
    sweep: () => wire.call('sweep', () => []),
    async close() {
      await Promise.all([...pullers].map((puller) => puller.close()));
      stopFollowing();
    },
    kill() {
      wire.kill();
      for (const puller of pullers) void puller.close();
      stopFollowing();
    },
  };
}

function ledgerOf(wire: Wire): Ledger {
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
    follow: (requestId, follower) =>
      wire.call('follow', () => {
        const each: Follow = { wire, follower };
        const set = server.followers.get(requestId) ?? new Set();
        server.followers.set(token(requestId, 'request'), set.add(each));
        return {
          close() {
            set.delete(each);
            if (set.size === 0 && server.followers.get(requestId) === set) server.followers.delete(requestId);
          },
        };
      }),
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

function workOf(wire: Wire, pullers: Set<Puller<unknown>>): WorkQueue {
  const { work } = wire.server;
  /** Tasks are published one by one: some may be stored when others find no room. */
  const putAll = (tasks: readonly NewTask[]): Promise<Published> =>
    wire.call('putTasks', () => ({
      kind: tasks.map((task) => work.put(task)).includes('full') ? 'full' : 'stored',
    }));
  const pull = <T>(stage: Stage, pool: string, decode: (bytes: Uint8Array) => T): Promise<Puller<T>> =>
    wire.call('pull', () => {
      const puller = pullerOf(stage, token(pool, 'pool'), decode, wire);
      pullers.add(puller);
      return puller;
    });
  return {
    putShards: async (pool, epoch, shards) =>
      putAll(
        shards.map((shard) => {
          const { requestId, class: klass, shard: unit } = shard;
          const id = `${pool}.${token(epoch, 'epoch')}.${requestId}.${unit}`;
          const subject = subjects.shard(pool, klass, requestId, unit);
          return { stage: 'sample', pool, class: klass, requestId, subject, id, bytes: encodeShard(shard) };
        }),
      ),
    putMetaTasks: async (pool, epoch, tasks) =>
      putAll(
        tasks.map((task) => {
          const { requestId, class: klass, index } = task;
          const id = `meta.${pool}.${token(epoch, 'epoch')}.${requestId}.${index}`;
          const subject = subjects.metaTask(pool, klass, requestId, index);
          return { stage: 'meta', pool, class: klass, requestId, subject, id, bytes: encodeMetaTask(task) };
        }),
      ),
    withdraw: (requestId) => wire.call('withdraw', () => work.withdraw(token(requestId, 'request'))),
    pullShards: (pool) => pull('sample', pool, decodeShard),
    pullMetaTasks: (pool) => pull('meta', pool, decodeMetaTask),
    depths: () => wire.call('depths', () => work.depths()),
  };
}

function pullerOf<T>(stage: Stage, pool: string, decode: (bytes: Uint8Array) => T, wire: Wire): Puller<T> {
  const { work, clock, pullExpiresMs } = wire.server;
  const closing = new AbortController();
  const deliver = (handed: Handed): Delivery<T> => deliveryOf(handed, decode, wire);
  return {
    async pull(max, signal) {
      if (wire.dead) return never;
      const isOver = (): boolean => signal.aborted || closing.signal.aborted;
      if (isOver() || max < 1) return [];
      const now = await wire.call('pull', () => (isOver() ? [] : work.take(stage, pool, max)));
      if (now.length > 0 && !isOver()) return now.map(deliver);
      for (const handed of now) deliver(handed).nak(0);
      if (now.length > 0) return [];
      return new Promise((resolve) => {
        const end = (handed: readonly Handed[] = []): void => {
          unpark();
          cancel();
          signal.removeEventListener('abort', abort);
          closing.signal.removeEventListener('abort', abort);
          if (wire.dead) return;
          resolve(handed.map(deliver));
        };
        const abort = (): void => end();
        const cancel = clock.after(pullExpiresMs, abort);
        signal.addEventListener('abort', abort);
        closing.signal.addEventListener('abort', abort);
        let unpark = (): void => undefined;
        if (isOver()) end();
        else unpark = work.park(stage, pool, max, end);
      });
    },
    close() {
      closing.abort();
      return Promise.resolve();
    },
  };
}

function deliveryOf<T>(handed: Handed, decode: (bytes: Uint8Array) => T, wire: Wire): Delivery<T> {
  const { task, deliveries } = handed;
  let settled = false;
  const settle = (how: Settling, delayMs = 0): void => {
    if (settled) return;
    settled = how !== 'working';
    wire.settle(handed, how, delayMs);
  };
  return {
    task: decoded(task.bytes, decode),
    label: `${task.subject} (${task.bytes.length} bytes)`,
    requestId: task.requestId,
    class: task.class,
    deliveries,
    ack: () => settle('ack'),
    nak: (delayMs) => settle('nak', delayMs),
    term: () => settle('term'),
    working: () => settle('working'),
  };
}

function decoded<T>(bytes: Uint8Array, decode: (bytes: Uint8Array) => T): T | undefined {
  try {
    return decode(bytes);
  } catch {
    return undefined; // what the real one reports as an event
  }
}

function deadOf(wire: Wire): QueueSystem['dead'] {
  const { dead } = wire.server;
  return {
    async put(letter) {
      const subject = subjects.dead(letter.requestId, letter.stage, letter.unit);
      await wire.call('putDead', () => dead.put(subject, encodeDeadLetter(letter)));
    },
    list: (limit) =>
      wire.call('listDead', () =>
        [...dead.subjects()]
          .reverse()
          .slice(0, limit)
          .flatMap((subject) => {
            const bytes = dead.get(subject);
            return bytes ? [decodeDeadLetter(bytes)] : [];
          }),
      ),
    count: () => wire.call('countDead', () => dead.subjects().length),
    remove: (requestId, stage, unit) =>
      wire.call('removeDead', () => dead.purge(subjects.dead(requestId, stage, unit))),
  };
}
