// A whole cluster inside this process under a virtual clock: the real coordinator and worker code on the queue model, with scripted
// engines. Nodes can die (nothing of them answers any more), drain, and be unknown to each other.
//
//   await using cluster = await virtualCluster();
//   const a = cluster.coordinator('a');
//   const worker = await cluster.worker('w1');
//   const verdict = await cluster.verdict(a.score({ ... }));

import { createHash } from 'node:crypto';
import { readFile } from 'node:fs/promises';
import { Admission, type AdmissionBounds } from '../../src/coordinator/admission.js';
import type { CoordinatorContext, CoordinatorSettings, Members } from '../../src/coordinator/context.js';
import type { Caller, ScoreInput, ScoreOptions, ScoreOutcome } from '../../src/coordinator/coordinator.js';
import { Dispatcher } from '../../src/coordinator/dispatch.js';
import { openCoordinator, type RunningCoordinator } from '../../src/coordinator/service.js';
import type { Engine, MetaEngine } from '../../src/engine/engine.js';
import { parseMetaTemplate } from '../../src/grm/prompt.js';
import { deriveSeed, uint32Stream } from '../../src/grm/seed.js';
import type { Verdict } from '../../src/grm/verdict.js';
import { limits } from '../../src/limits.js';
import { Events, type EventMap, type EventName } from '../../src/observe/events.js';
import type { Delivery, Puller } from '../../src/queue/queue.js';
import { openCancellations } from '../../src/worker/cancellations.js';
import { openLibrary } from '../../src/worker/content.js';
import type { WorkerContext } from '../../src/worker/context.js';
import { openRequeue } from '../../src/worker/requeue.js';
import { Credit } from '../../src/worker/credit.js';
import { executeMeta } from '../../src/worker/execute-meta.js';
import { executeShard } from '../../src/worker/execute-shard.js';
import { startLoop, type Loop } from '../../src/worker/loop.js';
import { EnginePool } from '../../src/worker/pool.js';
import { memoryNats, type MemoryNats, type MemoryNatsOptions, type MemoryQueue } from './memory-queue.js';
import { scriptedEngine, scriptedMetaEngine, type ScriptedEngine, type ScriptedMetaEngine } from './scripted-engine.js';
import { virtualClock, type VirtualClock } from './virtual-clock.js';

export interface Told<K extends EventName = EventName> {
  readonly node: string;
  readonly name: K;
  readonly event: EventMap[K];
}

export interface ClusterOptions extends Omit<MemoryNatsOptions, 'clock'> {
  readonly settings?: Partial<CoordinatorSettings>;
  readonly bounds?: Partial<AdmissionBounds>;
  readonly windowSamples?: number;
  /** How long a death stays unnoticed. */
  readonly detectMs?: number;
}

export interface VirtualCoordinator {
  readonly id: string;
  readonly service: RunningCoordinator;
  readonly queue: MemoryQueue;
  score(input: ScoreInput, caller?: Partial<Caller>): Promise<ScoreOutcome>;
  /** The process ends at once; its promises never settle. */
  kill(): void;
  /** Graceful end: drains, then is gone from the members. */
  drain(graceMs: number): Promise<void>;
}

export interface VirtualWorker<E> {
  readonly id: string;
  readonly engine: E;
  readonly credit: Credit;
  readonly loop: Loop;
  kill(): void;
  drain(graceMs: number): Promise<void>;
}

export interface WorkerOptions<E> {
  readonly engine?: E;
  readonly slots?: number;
}

type Role = 'coordinator' | 'grm' | 'meta';

const eventNames = [
  'request.accepted',
  'request.known',
  'request.taken_over',
  'request.finished',
  'admission.rejected',
  'sample.finished',
  'meta.finished',
  'result.suppressed',
  'delivery.retried',
  'delivery.redelivered',
  'delivery.dropped',
  'delivery.dead',
  'trouble',
] as const satisfies readonly EventName[];

const settingsDefault: Omit<CoordinatorSettings, 'nodeId'> = {
  pool: 'grm',
  metaPool: 'meta',
  defaults: {
    k: 8,
    temperature: 0.5,
    topP: 1,
    maxTokens: 256,
    vote: 'auto',
    quorumRatio: 0.5,
    timeBudgetMs: 60_000,
  },
  defaultClass: 'rl',
  shardSamplesMax: limits.shardSamplesMax,
  lingerMs: 2_000,
  metaPatienceMs: 5_000,
  silenceMs: 2_000,
  takeoverEveryMs: 10_000,
};

const templateFile = (name: string): Promise<string> =>
  readFile(new URL(`../../templates/${name}`, import.meta.url), 'utf8');

export async function virtualCluster(options: ClusterOptions = {}): Promise<VirtualCluster> {
  const clock = virtualClock();
  const nats = memoryNats({ ...options, clock });
  const template = await templateFile('grm-default.txt');
  const metaTemplate = parseMetaTemplate(await templateFile('meta-default.txt'));
  if (metaTemplate.kind !== 'ok') throw new Error('templates/meta-default.txt does not parse');
  const templateHash = createHash('sha256').update(template).digest('hex');
  const publisher = nats.open('publisher');
  await clock.until(publisher.ledger.putTemplate(templateHash, template), limits.pubAckMs);
  return new VirtualCluster(clock, nats, options, templateHash, metaTemplate.template);
}

export class VirtualCluster {
  /** Every event of every node, in order. */
  readonly log: Told[] = [];
  /** While false nobody can read who is alive. */
  membershipKnown = true;
  readonly #roles = new Map<string, Role>();
  readonly #alive = new Set<string>();
  readonly #services = new Map<string, RunningCoordinator>();
  readonly #slots = new Map<string, { readonly slots: number; readonly credit: Credit }>();

  constructor(
    readonly clock: VirtualClock,
    readonly nats: MemoryNats,
    private readonly options: ClusterOptions,
    readonly templateHash: string,
    private readonly metaTemplate: Extract<ReturnType<typeof parseMetaTemplate>, { kind: 'ok' }>['template'],
  ) {}

  told<K extends EventName>(name: K, node?: string): EventMap[K][] {
    return this.log.flatMap((each) =>
      each.name === name && (node === undefined || each.node === node) ? [each.event as EventMap[K]] : [],
    );
  }

  coordinator(id: string, more: Partial<CoordinatorSettings> = {}): VirtualCoordinator {
    const { clock, options } = this;
    const queue = this.nats.open(id);
    const members = this.#members(id, queue);
    const bounds = { requestsMax: 1_000, samplesMax: 8_000, bytesMax: 64 * 1024 * 1024, ...options.bounds };
    const context: CoordinatorContext = {
      settings: { nodeId: id, ...settingsDefault, ...options.settings, ...more },
      ledger: queue.ledger,
      work: queue.work,
      members,
      admission: new Admission(bounds, clock),
      dispatcher: new Dispatcher(options.windowSamples ?? 4_096, {
        class: { interactive: 8, rl: 4, batch: 1 },
        tenant: {},
      }),
      events: this.#events(id),
      clock,
      templateHash: (name) => (name === undefined || name === 'default' ? this.templateHash : undefined),
      templateNames: ['default'],
    };
    const service = openCoordinator(context, queue.dead);
    this.#services.set(id, service);
    this.#join(id, 'coordinator');
    void queue.control.listen('wanted', (body) => service.wanted(Buffer.from(body).toString()));
    queue.onConnection((state) => {
      if (state === 'connected') service.reconnected();
    });
    const never = new AbortController().signal;
    return {
      id,
      service,
      queue,
      score: (input, caller = {}) => service.score(input, { deadlineAtMs: Infinity, signal: never, ...caller }),
      kill: () => {
        queue.kill();
        this.#services.delete(id);
        this.#leave(id, this.options.detectMs ?? limits.leaseMs);
      },
      drain: async (graceMs) => {
        await service.drain(graceMs);
        this.#services.delete(id);
        this.#leave(id, 0);
      },
    };
  }

  async worker(id: string, options: WorkerOptions<Engine> = {}): Promise<VirtualWorker<ScriptedEngine>> {
    const queue = this.nats.open(id);
    const engine = (options.engine ?? scriptedEngine({ clock: this.clock })) as ScriptedEngine;
    return this.#start(id, 'grm', queue, engine, await queue.work.pullShards('grm'), options.slots ?? 16, {
      cost: (shard) => shard.samples.length,
      execute: (delivery, pool, context, hurry) =>
        executeShard(delivery, (samples) => pool.reserve(samples), context, hurry),
    });
  }

  async metaWorker(id: string, options: WorkerOptions<MetaEngine> = {}): Promise<VirtualWorker<ScriptedMetaEngine>> {
    const queue = this.nats.open(id);
    const engine = (options.engine ?? scriptedMetaEngine({ clock: this.clock })) as ScriptedMetaEngine;
    return this.#start(id, 'meta', queue, engine, await queue.work.pullMetaTasks('meta'), options.slots ?? 16, {
      cost: () => 1,
      execute: (delivery, pool, context, hurry) =>
        executeMeta(delivery, () => pool.reserve(1), this.metaTemplate, context, hurry),
    });
  }

  /** The verdict of an outcome that must be one, with time let pass until it is there. */
  async verdict(outcome: Promise<ScoreOutcome>, withinMs = 120_000): Promise<Verdict> {
    const ended = await this.clock.until(outcome, withinMs);
    if (ended.kind === 'fault') throw new Error(`a fault: ${ended.fault.kind}: ${ended.fault.message}`);
    return ended.verdict;
  }

  /** A node of another process image is told dead without having been here. */
  markDead(id: string): void {
    this.#leave(id, 0);
  }

  #start<T, E extends { readonly name: string }>(
    id: string,
    role: Role,
    queue: MemoryQueue,
    engine: E,
    puller: Puller<T>,
    slots: number,
    how: {
      readonly cost: (task: T) => number;
      readonly execute: (
        delivery: Delivery<T>,
        pool: EnginePool<E>,
        context: WorkerContext,
        hurry: AbortSignal,
      ) => Promise<void>;
    },
  ): VirtualWorker<E> {
    const { clock } = this;
    const events = this.#events(id);
    const cancellations = openCancellations(clock);
    const draw = uint32Stream(deriveSeed('random of', id));
    const context: WorkerContext = {
      nodeId: id,
      ledger: queue.ledger,
      dead: queue.dead,
      library: openLibrary(queue.ledger),
      events,
      clock,
      random: () => draw() / 2 ** 32,
      cancellations,
      requeue: openRequeue(queue.work, role, id, clock),
    };
    void queue.control.listen('cancel', (body) => void cancellations.cancel(Buffer.from(body).toString()));
    const pool = new EnginePool([{ name: engine.name, slots, current: () => engine }]);
    const credit = new Credit();
    credit.setSlots(slots);
    this.#slots.set(id, { slots, credit });
    const loop = startLoop({
      puller,
      credit,
      clock,
      events,
      cost: how.cost,
      execute: (delivery, hurry) => how.execute(delivery, pool, context, hurry),
    });
    this.#join(id, role);
    return {
      id,
      engine,
      credit,
      loop,
      kill: () => {
        queue.kill();
        this.#leave(id, this.options.detectMs ?? limits.leaseMs);
      },
      drain: async (graceMs) => {
        await loop.drain(graceMs);
        this.#leave(id, 0);
      },
    };
  }

  #members(self: string, queue: MemoryQueue): Members {
    const serving = (role: Role): string[] => [...this.#alive].filter((id) => this.#roles.get(id) === role);
    return {
      alive: (id) => (id === self ? true : this.membershipKnown ? this.#alive.has(id) : 'unknown'),
      coordinators: () => (this.membershipKnown ? serving('coordinator') : [self]),
      metaExpected: () => !this.membershipKnown || serving('meta').length > 0,
      metaServing: () => (this.membershipKnown ? serving('meta').length : 'unknown'),
      fleet: () => {
        const loads = serving('grm').map((id) => this.#slots.get(id)!);
        const slots = loads.reduce((sum, load) => sum + load.slots, 0);
        const taken = loads.reduce((sum, load) => sum + load.credit.taken, 0);
        return { engines: loads.length, busyRatio: slots === 0 ? 1 : taken / slots };
      },
      want: (requestId) => queue.control.broadcast('wanted', Buffer.from(requestId)),
      cancel: (requestId) => queue.control.broadcast('cancel', Buffer.from(requestId)),
    };
  }

  #events(node: string): Events {
    const events = new Events();
    for (const name of eventNames) events.on(name, (event) => void this.log.push({ node, name, event }));
    return events;
  }

  #join(id: string, role: Role): void {
    this.#roles.set(id, role);
    this.#alive.add(id);
    this.#changed();
  }

  #leave(id: string, afterMs: number): void {
    const gone = (): void => {
      this.#alive.delete(id);
      this.#changed();
    };
    if (afterMs === 0) gone();
    else this.clock.after(afterMs, gone);
  }

  #changed(): void {
    for (const service of this.#services.values()) service.membersChanged();
  }
}

let asked = 0;

/** A request of its own: other content than any before. */
export function ask(options: ScoreOptions = {}, more: Partial<ScoreInput> = {}): ScoreInput {
  asked += 1;
  const content = {
    messages: [{ role: 'user', content: `What is ${asked} and ${asked}?` }],
    responses: [`${asked * 2}`, `${asked * 2 + 1}`],
    principles: [],
  } as const;
  const contentBytes = 64;
  return { tenant: 'default', class: 'rl', content, contentBytes, options, ...more };
}
