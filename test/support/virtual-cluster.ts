// A whole cluster inside this process under a virtual clock: the real coordinator and worker code on the queue model, with scripted
// engines. Nodes can die (nothing of them answers any more), drain, and be unknown to each other.
//
//   await using cluster = await virtualCluster();
//   const a = cluster.coordinator('a');
//   const worker = await cluster.worker('w1');
//   const verdict = await cluster.verdict(a.score({ ... }));

import { createHash } from 'node:crypto';
import { setMaxListeners } from 'node:events';
import { readFileSync } from 'node:fs';
import { Admission, type AdmissionBounds } from '../../src/coordinator/admission.js';
import type { CoordinatorContext, CoordinatorSettings } from '../../src/coordinator/context.js';
import type { Caller, ScoreInput, ScoreOptions, ScoreOutcome } from '../../src/coordinator/coordinator.js';
import { Dispatcher, type DispatchWeights } from '../../src/coordinator/dispatch.js';
import { Hedging, type HedgeSettings } from '../../src/coordinator/hedging.js';
import { identify } from '../../src/coordinator/identity.js';
import { judgeOf } from '../../src/coordinator/judge.js';
import { Room } from '../../src/coordinator/room.js';
import { openCoordinator, type RunningCoordinator } from '../../src/coordinator/service.js';
import { answerWhoIsAt, listenCancel, listenWanted } from '../../src/actor/handle.js';
import type { Engine, MetaEngine } from '../../src/engine/engine.js';
import { parseMetaTemplate } from '../../src/grm/prompt.js';
import { deriveSeed, uint32Stream } from '../../src/grm/seed.js';
import type { Verdict } from '../../src/grm/verdict.js';
import { limits } from '../../src/limits.js';
import { Events, type EventMap, type EventName } from '../../src/observe/events.js';
import type { Delivery, Puller } from '../../src/queue/queue.js';
import { openCancellations, type CancellationBook } from '../../src/worker/cancellations.js';
import { openLibrary } from '../../src/worker/content.js';
import type { WorkerContext } from '../../src/worker/context.js';
import { openRequeue } from '../../src/worker/requeue.js';
import { Credit } from '../../src/worker/credit.js';
import { executeMeta } from '../../src/worker/execute-meta.js';
import { executeShard } from '../../src/worker/execute-shard.js';
import { startLoop, type Loop } from '../../src/worker/loop.js';
import { EnginePool } from '../../src/worker/pool.js';
import { planDefaults } from './judgement.js';
import { memoryNats, type MemoryNats, type MemoryNatsOptions, type MemoryQueue } from './memory-queue.js';
import { scriptedEngine, scriptedMetaEngine, type ScriptedEngine, type ScriptedMetaEngine } from './scripted-engine.js';
import { virtualClock, type VirtualClock } from './virtual-clock.js';
import { scriptedJudges, VirtualMembers, type NodeRole } from './virtual-members.js';
import { VirtualProcess } from './virtual-process.js';
import { classWeights, noHedging, settingsDefault } from './virtual-settings.js';

export interface Told<K extends EventName = EventName> {
  readonly node: string;
  readonly name: K;
  readonly event: EventMap[K];
}

export interface ClusterOptions extends Omit<MemoryNatsOptions, 'clock'> {
  readonly settings?: Partial<CoordinatorSettings>;
  readonly bounds?: Partial<AdmissionBounds>;
  readonly windowSamples?: number;
  readonly tenantWeights?: DispatchWeights['tenant'];
  /** Default: nothing is asked for twice. */
  readonly hedge?: HedgeSettings;
  /** How long a death stays unnoticed. */
  readonly detectMs?: number;
  /** How far the clock of a node's machine is ahead of the world's. Given: nodes that `enter` read the server's and go by it. */
  readonly skewMs?: (id: string) => number;
  /** They read it, and do not go by it. */
  readonly ownClocks?: boolean;
  readonly clock?: VirtualClock;
  /** Whether coordinators look at the streams every few seconds. Default true. */
  readonly looksAtStreams?: boolean;
  /** Makes a coordinator's dispatcher. */
  readonly dispatcher?: (id: string, windowSamples: number, weights: DispatchWeights) => Dispatcher;
  /** Told of every event of every node, as it happens. */
  readonly hear?: (told: Told) => void;
}

/** A process and its connection. */
export interface Entered {
  readonly process: VirtualProcess;
  readonly queue: MemoryQueue;
}

interface VirtualNode {
  readonly id: string;
  readonly process: VirtualProcess;
  /** The process ends at once; its promises never settle. */
  kill(): void;
  /** Nothing of it runs until it resumes. */
  stall(): void;
  resume(): void;
}

export interface VirtualCoordinator extends VirtualNode {
  readonly service: RunningCoordinator;
  readonly queue: MemoryQueue;
  score(input: ScoreInput, caller?: Partial<Caller>): Promise<ScoreOutcome>;
  /** Graceful end: drains, then is gone from the members. */
  drain(graceMs: number): Promise<void>;
}

export interface VirtualWorker<E> extends VirtualNode {
  readonly engine: E;
  readonly credit: Credit;
  readonly loop: Loop;
  readonly cancellations: CancellationBook;
  drain(graceMs: number): Promise<void>;
}

export interface WorkerOptions<E> {
  /** Made on the worker's own clock. */
  readonly engine?: E | ((process: VirtualProcess) => E);
  readonly slots?: number;
  readonly renewEveryMs?: number;
  readonly cautionMs?: number;
}

const eventNames = [
  'request.accepted',
  'request.known',
  'request.taken_over',
  'request.finished',
  'admission.rejected',
  'sample.finished',
  'shard.hedged',
  'hedge.won',
  'meta.finished',
  'result.suppressed',
  'result.held',
  'delivery.retried',
  'delivery.redelivered',
  'delivery.dropped',
  'delivery.dead',
  'trouble',
] as const satisfies readonly EventName[];

const templateFile = (name: string): string =>
  readFileSync(new URL(`../../templates/${name}`, import.meta.url), 'utf8');
const template = templateFile('grm-default.txt');
const templateHash = createHash('sha256').update(template).digest('hex');
const parsedMeta = parseMetaTemplate(templateFile('meta-default.txt'));
if (parsedMeta.kind !== 'ok') throw new Error('templates/meta-default.txt does not parse');
const metaTemplate = parsedMeta.template;

export async function virtualCluster(options: ClusterOptions = {}): Promise<VirtualCluster> {
  const clock = options.clock ?? virtualClock();
  const nats = memoryNats({ ...options, clock });
  const publisher = nats.open('publisher');
  await clock.until(publisher.ledger.putTemplate(templateHash, template), limits.pubAckMs);
  return new VirtualCluster(clock, nats, options);
}

export class VirtualCluster {
  /** Every event of every node, in order. */
  readonly log: Told[] = [];
  readonly #members: VirtualMembers;

  constructor(
    readonly clock: VirtualClock,
    readonly nats: MemoryNats,
    private readonly options: ClusterOptions,
  ) {
    this.#members = new VirtualMembers(clock, options.detectMs ?? limits.leaseMs);
  }

  /** What judges, as coordinators see it from now on; the engines are the test's to choose. */
  set judges(judges: VirtualMembers['judges']) {
    this.#members.judges = judges;
  }

  /** While false nobody can read who is alive. */
  set membershipKnown(known: boolean) {
    this.#members.known = known;
  }

  told<K extends EventName>(name: K, node?: string): EventMap[K][] {
    return this.log.flatMap((each) =>
      each.name === name && (node === undefined || each.node === node) ? [each.event as EventMap[K]] : [],
    );
  }

  /** A process, connected. With skewed clocks it has read the server's before this resolves. */
  async enter(id: string): Promise<Entered> {
    const entered = this.#enter(id);
    if (this.options.skewMs === undefined) return entered;
    const { process, queue } = entered;
    if (this.options.ownClocks !== true) process.time = queue.time;
    await new Promise<void>((resolve) => {
      queue.keepTime(({ kind }) => {
        if (kind === 'read') resolve();
      });
    });
    return entered;
  }

  #enter(id: string): Entered {
    const process = new VirtualProcess(this.clock, this.options.skewMs?.(id));
    return { process, queue: this.nats.open(id, process) };
  }

  coordinator(id: string, more: Partial<CoordinatorSettings> = {}, entered = this.#enter(id)): VirtualCoordinator {
    const { options } = this;
    const { process, queue } = entered;
    const members = this.#members.seenBy(id, queue);
    const bounds = { requestsMax: 1_000, samplesMax: 8_000, bytesMax: 64 * 1024 * 1024, ...options.bounds };
    const windowSamples = options.windowSamples ?? 4_096;
    const weights = { class: classWeights, tenant: options.tenantWeights ?? {} };
    const admission = new Admission(bounds, process, weights);
    const context: CoordinatorContext = {
      settings: { nodeId: id, ...settingsDefault, ...options.settings, ...more },
      ledger: queue.ledger,
      work: queue.work,
      members,
      storage: queue.storage,
      admission,
      room: new Room(queue.storage, () => admission.load, process.steadyNow.bind(process)),
      dispatcher: options.dispatcher?.(id, windowSamples, weights) ?? new Dispatcher(windowSamples, weights),
      hedging: new Hedging(options.hedge ?? noHedging),
      events: this.#events(id),
      clock: process,
      template: (name) =>
        name === undefined || name === 'default' ? { title: 'default', hash: templateHash } : undefined,
      templateNames: ['default'],
    };
    const service = openCoordinator(context, queue.dead);
    this.#members.join(id, {
      role: 'coordinator',
      process,
      onChange: () => process.enter(() => service.membersChanged()),
    });
    this.#stubborn(process, () => listenWanted(queue.control, (requestId, forMs) => service.wanted(requestId, forMs)));
    queue.onConnection((state) => {
      if (state === 'connected') service.reconnected();
    });
    // As whoever owns the streams does, every few seconds.
    let cancelLook: () => void = () => undefined;
    const lookLater = (): void => {
      cancelLook = process.after(limits.storageLookMs, () => {
        void queue.storage.look();
        lookLater();
      });
    };
    if (options.looksAtStreams !== false) lookLater();
    const never = new AbortController().signal;
    // Of all callers that bring none of their own: one listener for each that waits.
    setMaxListeners(0, never);
    return {
      ...this.#node(id, process, queue),
      service,
      queue,
      score: (input, caller = {}) => service.score(input, { deadlineAtMs: Infinity, signal: never, ...caller }),
      drain: async (graceMs) => {
        await service.drain(graceMs);
        cancelLook();
        this.#members.leave(id);
      },
    };
  }

  async worker(id: string, options: WorkerOptions<Engine> = {}): Promise<VirtualWorker<ScriptedEngine>> {
    const { process, queue } = await this.enter(id);
    const engine = engineOf(options, process, (clock) => scriptedEngine({ clock })) as ScriptedEngine;
    return this.#start(id, 'grm', process, queue, engine, await queue.work.pullShards('grm'), options, {
      cost: (shard) => shard.samples.length,
      execute: (delivery, pool, context, hurry, free) =>
        executeShard(delivery, (samples, avoid) => pool.reserve(samples, avoid), context, hurry, free),
    });
  }

  async metaWorker(id: string, options: WorkerOptions<MetaEngine> = {}): Promise<VirtualWorker<ScriptedMetaEngine>> {
    const { process, queue } = await this.enter(id);
    const engine = engineOf(options, process, (clock) => scriptedMetaEngine({ clock })) as ScriptedMetaEngine;
    return this.#start(id, 'meta', process, queue, engine, await queue.work.pullMetaTasks('meta'), options, {
      cost: (task) => task.items.length,
      execute: (delivery, pool, context, hurry) =>
        executeMeta(delivery, (texts) => pool.reserve(texts), metaTemplate, context, hurry),
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
    this.#members.leave(id);
  }

  #start<T, E extends { readonly name: string }>(
    id: string,
    role: NodeRole,
    process: VirtualProcess,
    queue: MemoryQueue,
    engine: E,
    puller: Puller<T>,
    options: WorkerOptions<unknown>,
    how: {
      readonly cost: (task: T) => number;
      readonly execute: (
        delivery: Delivery<T>,
        pool: EnginePool<E>,
        context: WorkerContext,
        hurry: AbortSignal,
        free: () => void,
      ) => Promise<void>;
    },
  ): VirtualWorker<E> {
    const { slots = 16, renewEveryMs, cautionMs } = options;
    const events = this.#events(id);
    const cancellations = openCancellations();
    const draw = uint32Stream(deriveSeed('random of', id));
    const context: WorkerContext = {
      nodeId: id,
      ledger: queue.ledger,
      dead: queue.dead,
      library: openLibrary(queue.ledger),
      events,
      clock: process,
      random: () => draw() / 2 ** 32,
      cancellations,
      requeue: openRequeue(queue.work, role, id, process),
    };
    this.#stubborn(process, () =>
      listenCancel(queue.control, (requestId, run) => void cancellations.cancel(requestId, run)),
    );
    if (role === 'grm') {
      const isFirstAt = (request: string, task: string): boolean => cancellations.deliveriesOf(request, task) === 1;
      this.#stubborn(process, () => answerWhoIsAt(queue.control, isFirstAt));
    }
    const pool = new EnginePool([{ name: engine.name, slots, current: () => engine }]);
    const credit = new Credit();
    credit.setSlots(slots);
    const loop = startLoop({
      puller,
      credit,
      clock: process,
      events,
      ...(renewEveryMs !== undefined && { renewEveryMs }),
      ...(cautionMs !== undefined && { cautionMs }),
      cost: how.cost,
      execute: (delivery, hurry, free) => how.execute(delivery, pool, context, hurry, free),
    });
    this.#members.join(id, { role, process, room: { slots, credit } });
    return {
      ...this.#node(id, process, queue),
      engine,
      credit,
      loop,
      cancellations,
      drain: async (graceMs) => {
        await loop.drain(graceMs);
        this.#members.leave(id);
      },
    };
  }

  #node(id: string, process: VirtualProcess, queue: MemoryQueue): VirtualNode {
    return {
      id,
      process,
      kill: () => {
        process.kill();
        queue.kill();
        this.#members.silent(id);
      },
      stall: () => {
        process.stall();
        this.#members.silent(id);
      },
      resume: () => {
        process.resume();
        this.#members.back();
      },
    };
  }

  /** As a client's subscription does, it waits for a server that is away. */
  #stubborn(process: VirtualProcess, subscribe: () => Promise<unknown>): void {
    const again = (): void => process.enter(() => this.#stubborn(process, subscribe));
    subscribe().catch(() => this.clock.after(500, again));
  }

  #events(node: string): Events {
    const events = new Events();
    for (const name of eventNames) {
      events.on(name, (event) => {
        const told = { node, name, event };
        this.log.push(told);
        this.options.hear?.(told);
      });
    }
    return events;
  }
}

function engineOf<E>({ engine }: WorkerOptions<E>, process: VirtualProcess, standard: (clock: VirtualProcess) => E): E {
  if (engine === undefined) return standard(process);
  return typeof engine === 'function' ? (engine as (process: VirtualProcess) => E)(process) : engine;
}

/** The id of a request that names its vote, as coordinators with the standard defaults make it. */
export function requestIdOf(input: ScoreInput, judges: VirtualMembers['judges'] = scriptedJudges): string {
  const { models, meta } = judges;
  const asksMeta = input.options.meta ?? input.options.vote?.startsWith('meta_') ?? false;
  const judge = judgeOf({ models, template: 'default', templateHash, ...(asksMeta && { meta }) });
  return identify(input, { judge: judge.id, defaults: planDefaults }).requestId;
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
