// Cell: one cluster with its nats-server: the product's coordinators, worker loops, credit and pools on the simulated queue and engines.
//
//   C1. What decides is the product's: admission, plan, fair order, window, gather, stop, vote, pulling, credit, redelivery, hand-back.
//       Simulated are time, the queue's costs, engines, membership and callers.

import { Admission } from '../../src/coordinator/admission.js';
import type { CoordinatorContext, Members } from '../../src/coordinator/context.js';
import { Dispatcher } from '../../src/coordinator/dispatch.js';
import { Hedging } from '../../src/coordinator/hedging.js';
import { Room } from '../../src/coordinator/room.js';
import { openCoordinator, type RunningCoordinator } from '../../src/coordinator/service.js';
import { windowOf } from '../../src/coordinator/window.js';
import { parseMetaTemplate } from '../../src/grm/prompt.js';
import { limits } from '../../src/limits.js';
import { Events } from '../../src/observe/events.js';
import type { Clock } from '../../src/process/clock.js';
import type { Storage } from '../../src/queue/queue.js';
import { openCancellations } from '../../src/worker/cancellations.js';
import { openLibrary } from '../../src/worker/content.js';
import type { WorkerContext } from '../../src/worker/context.js';
import { Credit } from '../../src/worker/credit.js';
import { executeMeta } from '../../src/worker/execute-meta.js';
import { executeShard } from '../../src/worker/execute-shard.js';
import { startLoop } from '../../src/worker/loop.js';
import { EnginePool } from '../../src/worker/pool.js';
import { openRequeue } from '../../src/worker/requeue.js';
import { chanceOf, exponential } from './chance.js';
import { SimEngine, SimMetaEngine } from './engine.js';
import type { Loop } from './loop.js';
import { SimNats } from './nats.js';
import { cellQueue, type CellQueue, type Door } from './queue.js';
import { inFlightMax, slotsOf, type Scenario } from './scenario.js';
import { station, type Station } from './station.js';
import type { Holder } from './tasks.js';
import { grmTemplate, metaTemplate, templateHash } from './templates.js';

/** The streams of a cell never fill. */
const boundless: Storage = {
  states: () => [],
  troubles: () => [],
  sampleBytes: () => limits.sampleBytesGuess,
  onLook: () => () => undefined,
  look: () => Promise.resolve(),
};

export interface CellCoordinator {
  readonly service: RunningCoordinator;
  readonly cpu: Station;
}

export interface Cell {
  readonly nats: SimNats;
  readonly queue: CellQueue;
  readonly coordinators: readonly CellCoordinator[];
  /** Running sequences of all engines, those of workers that died too, times how long. */
  busySlotMs(): number;
  /** Samples in the hands of workers, times how long: slots that are taken by credit. */
  takenSlotMs(): number;
  tokens(): number;
  metaBookedMs(): number;
  crashes(): number;
  readonly events: Events;
  /** What the product calls trouble: none is expected. */
  readonly troubles: readonly string[];
}

interface Worker {
  readonly holder: Holder;
  readonly credit: Credit;
  readonly engine: SimEngine;
}

const parsedMeta = parseMetaTemplate(metaTemplate);
if (parsedMeta.kind !== 'ok') throw new Error('scale: the meta template does not parse');
const metaParsed = parsedMeta.template;

/** A process's clock: nothing of it fires once it is dead. */
function clockOf(loop: Loop, holder: Holder): Clock {
  return {
    now: () => loop.now(),
    steadyNow: () => loop.now(),
    after: (delayMs, run) =>
      loop.after(delayMs, () => {
        if (!holder.dead) run();
      }),
  };
}

export function openCell(loop: Loop, scenario: Scenario, number: number): Cell {
  const { inputs, partitions, seed } = scenario;
  const nats = new SimNats(loop, inputs.nats);
  const queue = cellQueue({
    loop,
    nats,
    sizes: inputs.sizes,
    coordinator: inputs.coordinator,
    seed,
    templates: new Map([[templateHash, grmTemplate]]),
  });
  const events = new Events();
  const troubles: string[] = [];
  events.on('trouble', ({ where, error }) => void troubles.push(`${where}: ${String(error)}`));
  const cancellations = openCancellations();
  const library = openLibrary(queue.ledger({ holder: { dead: false, held: new Set() } }));
  const random = chanceOf(seed, 'workers', number);
  const workers: Worker[] = [];
  const metaEngines: SimMetaEngine[] = [];
  let crashes = 0;
  /** What engines and credit of dead workers had. */
  const past = { busySlotMs: 0, tokens: 0 };
  let takenSlotMs = 0;
  let takenAtMs = 0;

  const contextOf = (id: string, door: Door, clock: Clock, pool: string): WorkerContext => ({
    nodeId: id,
    ledger: queue.ledger(door),
    dead: queue.dead,
    library,
    events,
    clock,
    random,
    cancellations,
    requeue: openRequeue(queue.work(door), pool, id, clock),
  });

  const startWorker = async (at: number, start: number): Promise<void> => {
    const id = `w${number}-${at}`;
    const engineSeed = chanceOf(seed, 'engine', number, at, start);
    const engine = new SimEngine('engine', loop, inputs.engine, inputs.sizes, scenario.judge, seed, engineSeed);
    const holder: Holder = { dead: false, held: new Set() };
    const clock = clockOf(loop, holder);
    const door: Door = { holder };
    const context = contextOf(id, door, clock, 'grm');
    const credit = new Credit();
    credit.setSlots(inputs.engine.slots);
    const pool = new EnginePool([{ name: 'engine', slots: inputs.engine.slots, current: () => engine }]);
    workers[at] = { holder, credit, engine };
    startLoop({
      puller: await queue.work(door).pullShards('grm'),
      credit,
      clock,
      events,
      cautionMs: limits.workerCautionMs,
      cost: (shard) => shard.samples.length,
      execute: (delivery, hurry, free) =>
        executeShard(delivery, (samples) => pool.reserve(samples), context, hurry, free),
    });
    if (scenario.crashEveryHours === Infinity) return;
    loop.after(exponential(random, scenario.crashEveryHours * 3_600_000), () => {
      crashes++;
      measureTaken();
      holder.dead = true;
      engine.kill();
      past.busySlotMs += engine.busySlotMs();
      past.tokens += engine.tokens;
      for (const held of holder.held) held.lost();
      workers[at] = { ...workers[at]!, credit: new Credit() };
      loop.after(scenario.restartMs, () => void startWorker(at, start + 1));
    });
  };

  const startMetaWorker = async (at: number): Promise<void> => {
    const id = `m${number}-${at}`;
    const engine = new SimMetaEngine('meta', loop, inputs.meta, inputs.sizes, scenario.judge, seed);
    metaEngines.push(engine);
    const holder: Holder = { dead: false, held: new Set() };
    const door: Door = { holder };
    const clock = clockOf(loop, holder);
    const context = contextOf(id, door, clock, 'meta');
    const credit = new Credit();
    credit.setSlots(inputs.meta.slots);
    const pool = new EnginePool([{ name: 'meta', slots: inputs.meta.slots, current: () => engine }]);
    startLoop({
      puller: await queue.work(door).pullMetaTasks('meta'),
      credit,
      clock,
      events,
      cautionMs: limits.workerCautionMs,
      cost: (task) => task.items.length,
      costMax: 1,
      execute: (delivery, hurry) => executeMeta(delivery, (texts) => pool.reserve(texts), metaParsed, context, hurry),
    });
  };

  const measureTaken = (): void => {
    const taken = workers.reduce((sum, { credit }) => sum + Math.min(credit.taken, credit.slots), 0);
    takenSlotMs += taken * (loop.timeMs - takenAtMs);
    takenAtMs = loop.timeMs;
  };

  const workersHere = scenario.workers / partitions;
  const metaHere = scenario.meta ? Math.floor(scenario.metaWorkers / partitions) : 0;
  for (let at = 0; at < workersHere; at++) void startWorker(at, 0);
  for (let at = 0; at < metaHere; at++) void startMetaWorker(at);

  // Leases, as every node tells them and every coordinator reads them.
  const nodes = workersHere + metaHere + scenario.coordinators / partitions;
  let busyRatio = 0;
  let engines = workersHere;
  const beat = (): void => {
    measureTaken();
    const alive = workers.filter(({ holder }) => !holder.dead);
    const slots = alive.length * inputs.engine.slots;
    const taken = alive.reduce((sum, { credit }) => sum + credit.taken, 0);
    busyRatio = slots === 0 ? 1 : taken / slots;
    engines = alive.length;
    const named =
      inputs.sizes.leaseRequestBytes * Math.min(limits.busyRequestsMax, taken / 8 / Math.max(1, alive.length));
    const leaseBytes = inputs.sizes.leaseBytes + named;
    for (let at = 0; at < nodes; at++) void nats.store('KV_GRM_CLUSTER', 'leases', leaseBytes, 0, () => undefined);
    for (const { cpu } of coordinators) {
      void nats.read('leases', nodes, nodes * leaseBytes, () => undefined);
      cpu.book((nodes * inputs.coordinator.lease) / 1e3);
    }
    loop.after(limits.heartbeatMs, beat);
  };

  const ids = Array.from({ length: scenario.coordinators / partitions }, (_, at) => `c${number}-${at}`);
  const membersOf = (): Members => ({
    alive: () => true,
    coordinators: () => ids,
    metaServing: () => metaHere,
    metaExpected: () => metaHere > 0,
    outage: () => undefined,
    judges: () => ({
      models: [{ id: 'judge', model: 'judge' }],
      meta: metaHere > 0 ? [{ id: 'meta', model: 'meta' }] : [],
    }),
    fleet: () => ({ engines, slots: engines * inputs.engine.slots, busyRatio }),
    want: () => undefined,
    isAt: (requestId, task) => {
      nats.say('cancels', 1 + nodes, 150);
      return Promise.resolve(cancellations.deliveriesOf(requestId, task) === 1);
    },
    cancel: (requestId, run) => {
      nats.say('cancels', 1 + nodes, 150);
      cancellations.cancel(requestId, run);
    },
  });
  const coordinators = ids.map((id): CellCoordinator => {
    const cpu = station(id, loop);
    const door: Door = { cpu, holder: { dead: false, held: new Set() } };
    const samplesMax = inFlightMax(scenario);
    const weights = { class: scenario.classWeights, tenant: scenario.tenantWeights };
    const members = membersOf();
    const window = windowIn(scenario, members, samplesMax);
    const bounds = { requestsMax: samplesMax, samplesMax, bytesMax: 64 * 1024 ** 3 };
    const admission = new Admission(bounds, loop, weights);
    const context: CoordinatorContext = {
      settings: {
        nodeId: id,
        pool: 'grm',
        metaPool: 'meta',
        defaults: {
          k: scenario.k,
          temperature: 0.5,
          topP: 1,
          maxTokens: inputs.sizes.outputTokensMax,
          vote: 'auto',
          quorumRatio: 0.5,
          timeBudgetMs: limits.timeBudgetMsMax,
        },
        defaultClass: 'rl',
        shardSamplesMax: scenario.shardSamplesMax,
        waves: 'small',
        lingerMs: 2_000,
        metaPatienceMs: 10_000,
        silenceMs: 2_000,
        takeoverEveryMs: 60_000,
      },
      ledger: queue.ledger(door),
      work: queue.work(door),
      members,
      storage: boundless,
      admission,
      room: new Room(
        boundless,
        () => admission.load,
        () => loop.now(),
      ),
      dispatcher: new Dispatcher(window, weights),
      hedging: new Hedging({ extraRatio: 0, percentile: 1, floorMs: 0, observedMin: 1 }),
      events,
      clock: loop,
      template: () => ({ title: 'default', hash: templateHash }),
      templateNames: ['default'],
    };
    return { service: openCoordinator(context, queue.dead), cpu };
  });
  loop.after(limits.heartbeatMs, beat);

  return {
    nats,
    queue,
    coordinators,
    events,
    troubles,
    busySlotMs: () =>
      workers.reduce((sum, { engine, holder }) => sum + (holder.dead ? 0 : engine.busySlotMs()), past.busySlotMs),
    takenSlotMs: () => {
      measureTaken();
      return takenSlotMs;
    },
    tokens: () => workers.reduce((sum, { engine, holder }) => sum + (holder.dead ? 0 : engine.tokens), past.tokens),
    metaBookedMs: () => metaEngines.reduce((sum, engine) => sum + engine.bookedMs(), 0),
    crashes: () => crashes,
  };
}

function windowIn(scenario: Scenario, members: Members, samplesInFlightMax: number): () => number {
  const { windowSamples, coordinators } = scenario;
  const dispatchSamplesMax =
    windowSamples === 'fit' ? Math.ceil((1.25 * slotsOf(scenario)) / coordinators) : windowSamples;
  return () => windowOf({ dispatchSamplesMax, samplesInFlightMax }, members);
}
