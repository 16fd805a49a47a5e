// Worker: what a GRM worker and a meta worker have in common: a node with its engines, a loop that pulls while there is room, a drain.

import type { Actor, ActorSpec, Running } from '../src/actor/actor.js';
import { answerWhoIsAt, listenCancel } from '../src/actor/handle.js';
import type { EngineGauges } from '../src/engine/engine.js';
import { openNode, type Node } from '../src/actor/node.js';
import type { ReasoningMarkers } from '../src/grm/reasoning.js';
import { limits } from '../src/limits.js';
import type { Events } from '../src/observe/events.js';
import { Rate } from '../src/observe/rate.js';
import type { Puller, Delivery } from '../src/queue/queue.js';
import { connectionsMax, openFilesMax, shortOfFiles } from '../src/process/open-files.js';
import { openCancellations } from '../src/worker/cancellations.js';
import { openLibrary } from '../src/worker/content.js';
import type { WorkerContext } from '../src/worker/context.js';
import { Credit } from '../src/worker/credit.js';
import { startLoop, type Loop } from '../src/worker/loop.js';
import { EnginePool } from '../src/worker/pool.js';
import { openRequeue } from '../src/worker/requeue.js';
import { learnSlots, type Learning } from '../src/worker/useful-slots.js';
import { standingOf } from './clock.js';
import type { Host } from './host.js';
import type { EngineNews, OpenedService } from './run.js';

export interface WorkerParts<T, R extends Running> {
  readonly role: 'grm-worker' | 'meta-worker';
  readonly pool: string;
  readonly specs: readonly ActorSpec<R>[];
  readonly gpus: number;
  /** Samples or texts at once; absent: the sum of the engines' slots. */
  readonly slots: number | undefined;
  /** What an engine says of itself; given: its slots are learned from it, as far as they are configured. */
  readonly gauges?: (engine: R) => Promise<EngineGauges>;
  readonly drainGraceMs: number;
  /** Markers of reasoning in what engines say. */
  readonly reasoning?: readonly ReasoningMarkers[];
  readonly puller: Puller<T>;
  readonly cost: (task: T) => number;
  /** The most that one task may cost: how many tasks a pull asks for when several slots are free. */
  readonly costMax: number;
  readonly execute: (
    delivery: Delivery<T>,
    engines: EnginePool<R>,
    context: WorkerContext,
    hurry: AbortSignal,
    free: () => void,
  ) => Promise<void>;
}

/** For messages that come before the node exists. */
type Late<T> = { current: T | undefined };

export async function openWorker<T, R extends Running>(host: Host, parts: WorkerParts<T, R>): Promise<OpenedService> {
  const { queue, events, clock, hostClock } = host;
  let expired = 0;
  events.on('delivery.dropped', ({ why }) => {
    if (why === 'expired') expired++;
  });
  const rate = new Rate();
  for (const name of ['sample.finished', 'meta.finished'] as const) events.on(name, () => rate.add(clock.steadyNow()));
  const cancellations = openCancellations();
  const credit = new Credit();
  const loop: Late<Loop> = { current: undefined };
  const engines: Late<EnginePool<R>> = { current: undefined };
  const refreshCredit = (): void => {
    const takes = loop.current?.isPaused() !== true && hostClock.refusal() === undefined;
    const slots = takes ? (engines.current?.slots() ?? 0) : 0;
    credit.setSlots(slots);
    if (slots === 0) loop.current?.recall();
  };

  const slotsMax = slotsThatFit(host, parts.specs);

  const node: Node = await openNode({
    role: parts.role,
    pool: parts.pool,
    host: host.hostName,
    pid: process.pid,
    version: host.version,
    gpus: parts.gpus,
    control: queue.control,
    events,
    clock,
    load: () => ({
      slots: engines.current?.slots() ?? 0,
      running: credit.taken,
      done: rate.total,
      ratePerSecond: rate.perSecond(clock.steadyNow()),
    }),
    busy: () => ({ requests: cancellations.running() }),
    standing: () => ({ ...standingOf(hostClock), expired }),
    handlers: {
      async drain() {
        loop.current?.pause();
        await credit.whenIdle(new AbortController().signal);
      },
      resume() {
        loop.current?.resume();
        refreshCredit();
        return Promise.resolve();
      },
      cancel: (requestId) => Promise.resolve(cancellations.cancel(requestId)),
      setSlots(slots) {
        const pool = engines.current;
        if (!pool) return Promise.resolve({ kind: 'refused', reason: 'the worker is starting' });
        const inForce = Math.min(slots, slotsMax);
        pool.setSlots(inForce);
        refreshCredit();
        return Promise.resolve({ kind: 'slots', slots: inForce });
      },
    },
  });

  const actors = parts.specs.map((spec) => node.spawn(spec));
  const learning: Late<Learning> = { current: undefined };
  const pool = new EnginePool<R>(
    actors.map((actor) => {
      const { name, concurrencyMax } = actor.spec;
      return {
        name,
        get slots() {
          return learning.current?.slots(name) ?? concurrencyMax;
        },
        current: () => actor.serving(),
      };
    }),
  );
  if (parts.gauges) {
    learning.current = learnSlots({
      seats: actors.map((actor) => ({
        name: actor.spec.name,
        configured: actor.spec.concurrencyMax,
        current: () => actor.current(),
      })),
      gauges: parts.gauges,
      taken: (name) => pool.taken(name),
      onChange: refreshCredit,
      clock,
      events,
    });
  }
  if (parts.slots !== undefined || slotsMax !== Infinity) pool.setSlots(Math.min(parts.slots ?? Infinity, slotsMax));
  engines.current = pool;
  const context: WorkerContext = {
    nodeId: node.id,
    ledger: queue.ledger,
    dead: queue.dead,
    library: openLibrary(queue.ledger),
    events,
    clock,
    random: Math.random,
    cancellations,
    requeue: openRequeue(queue.work, parts.pool, node.id, clock),
    ...(parts.reasoning && { reasoning: parts.reasoning }),
  };
  const unlisten = await listenCancel(queue.control, (requestId, run) => void cancellations.cancel(requestId, run));
  const stage = parts.role === 'grm-worker' ? 'sample' : 'meta';
  const isFirstAt = (requestId: string, task: string): boolean => cancellations.deliveriesOf(requestId, task) === 1;
  const unanswer = stage === 'sample' ? await answerWhoIsAt(queue.control, isFirstAt) : undefined;
  const running = (loop.current = startLoop({
    puller: parts.puller,
    credit,
    clock,
    events,
    cost: parts.cost,
    costMax: parts.costMax,
    cautionMs: limits.workerCautionMs,
    calm: async () => (await queue.work.redelivered(stage, parts.pool)) === 0,
    renewEveryMs: host.config.nats.ackWaitMs / 3,
    execute: (delivery, hurry, free) => parts.execute(delivery, pool, context, hurry, free),
  }));
  const unhears = (['actor.changed', 'engine.service'] as const).map((name) => events.on(name, refreshCredit));
  hostClock.onRefusal(() => {
    refreshCredit();
    node.tell();
  });
  refreshCredit();

  host.expose({
    sources: {
      slots: () => ({ free: credit.free, busy: credit.taken }),
      actors: () => actors.map((actor) => ({ kind: actor.spec.kind, state: actor.state().kind })),
      engines: () => actors.map((actor) => ({ engine: actor.spec.name, serves: actor.serving() !== undefined })),
      connected: () => queue.connected(),
    },
    ready: () => {
      const reasons: string[] = [];
      if (!queue.connected()) reasons.push('NATS does not answer');
      if (pool.serving().length === 0) reasons.push(['no engine serves', ...actors.flatMap(whyNot)].join(': '));
      if (node.draining()) reasons.push('draining');
      const refusal = hostClock.refusal();
      if (refusal !== undefined) reasons.push(refusal);
      return reasons;
    },
    debugState: () => ({
      node: node.describe(),
      slots: pool.slots(),
      taken: credit.taken,
      engines: actors.map(({ spec: { name, concurrencyMax } }) => ({
        name,
        slots: learning.current?.slots(name) ?? concurrencyMax,
        configured: concurrencyMax,
        taken: pool.taken(name),
        out: actors
          .find((actor) => actor.spec.name === name)
          ?.current()
          ?.outOfService?.(),
      })),
      deliveries: running.running(),
      requests: [...cancellations.running()],
    }),
  });
  host.log.info(`${parts.role} serves`, {
    node: node.id,
    pool: parts.pool,
    http: host.httpAddress,
    engines: parts.specs.length,
  });

  return {
    ready: { node: node.id, http: host.httpAddress },
    log: host.log,
    onEngines: (tell) => tellEngines(actors, events, tell),
    closeMs: parts.drainGraceMs + 15_000,
    async close() {
      // The lease says so first, so that coordinators stop counting on this worker.
      const drained = node.drain();
      await running.drain(parts.drainGraceMs);
      await drained;
      for (const unhear of unhears) unhear();
      learning.current?.close();
      unlisten();
      unanswer?.();
      await node.close();
      await host.close();
    },
  };
}

/** Slots of all engines together for which there are files; more would fail one after the other. */
function slotsThatFit(
  { log }: Host,
  specs: readonly Pick<ActorSpec<Running>, 'connections' | 'concurrencyMax'>[],
): number {
  const connections = specs.reduce((sum, spec) => sum + (spec.connections ?? 0), 0);
  const engines = specs.filter((spec) => spec.connections !== undefined).length;
  const filesMax = openFilesMax();
  const short = shortOfFiles(connections, filesMax, engines);
  if (short === undefined) return Infinity;
  const configured = specs.reduce((sum, { concurrencyMax }) => sum + concurrencyMax, 0);
  const slots = configured - connections + (connectionsMax(filesMax, engines) ?? 0);
  log.warn(`fewer slots than configured: ${short}; raise \`ulimit -n\`, or lower the slots`, { slots, configured });
  return slots;
}

/** Why an engine does not serve, in its own words; nothing where it has none. */
function whyNot(actor: Actor<Running>): string[] {
  const reason = actor.current()?.outOfService?.()?.reason ?? actor.state().reason;
  return reason === '' ? [] : [`${actor.spec.name}: ${reason.slice(0, limits.actorReasonCharsMax)}`];
}

/** Now, and whenever an engine changes or says how its start goes. */
function tellEngines(
  actors: readonly Actor<Running>[],
  events: Events,
  tell: (engines: readonly EngineNews[]) => void,
): void {
  const loading = new Map<string, EngineNews['loading']>();
  const now = (): void =>
    tell(
      actors.map((actor) => {
        const { name } = actor.spec;
        const { kind, reason, starts } = actor.state();
        const at = kind === 'starting' ? loading.get(name) : undefined;
        const out = actor.current()?.outOfService?.();
        const said = (out?.reason ?? reason).slice(0, limits.actorReasonCharsMax);
        return {
          name,
          state: out ? 'out_of_service' : kind,
          reason: said,
          restarts: Math.max(0, starts - 1),
          ...(at && { loading: at }),
        };
      }),
    );
  now();
  events.on('actor.changed', ({ name }) => {
    loading.delete(name);
    now();
  });
  events.on('engine.service', now);
  events.on('engine.loading', ({ engine, line, doneRatio }) => {
    loading.set(engine, { line, ...(doneRatio !== undefined && { doneRatio }) });
    now();
  });
}
