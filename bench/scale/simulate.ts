// Simulate: one scenario from the first request to the last verdict, and what is measured on the way.
//
// Rates, utilisations and shares are those of the middle: from a quarter of the samples to the last moment at which callers still had requests
// to send (backlog), or three quarters (poisson). The start, when engines fill, and the tail are told apart.
//
//   M1. Samples in = samples out: what was drawn is stored once, and every request ends with a verdict.

import { limits } from '../../src/limits.js';
import { openCell, type Cell } from './cell.js';
import { startCallers, type Finished } from './callers.js';
import { jain, quantile, shares, type Share } from './figures.js';
import { Loop } from './loop.js';
import { purposes, streams, type Purpose, type Stream } from './nats.js';
import { checked, slotsOf, type Scenario } from './scenario.js';

export interface Result {
  readonly scenario: Scenario;
  readonly requests: number;
  /** In verdicts, and drawn. */
  readonly samples: number;
  readonly samplesStored: number;
  readonly samplesSaved: number;
  readonly makespanS: number;
  /** From 99% of the samples to the last verdict. */
  readonly tailS: number;
  readonly samplesPerSecond: number;
  readonly tokensPerSecond: number;
  /** Of all slots: sequences that ran; slots that a worker had given away. */
  readonly busyRatio: number;
  readonly takenRatio: number;
  readonly latencyMs: { readonly p50: number; readonly p99: number };
  readonly latencyOfClassMs: Readonly<Record<string, { readonly p50: number; readonly p99: number }>>;
  /** Of the first sample of a request, from its plan to the engine. */
  readonly queueMs: { readonly mean: number; readonly p50: number; readonly p99: number };
  readonly flows: readonly Share[];
  readonly jainOfTenants: number;
  readonly jainOfFlows: number;
  /** Per sample that was drawn. */
  readonly nats: Readonly<Record<Purpose, { readonly messages: number; readonly bytes: number }>>;
  readonly storedBytes: Readonly<Record<Stream, number>>;
  /** Share of the time that each is busy, the busiest of its kind. */
  readonly utilisation: Readonly<Record<string, number>>;
  /** Most deliveries out at one consumer, over its bound. */
  readonly deliveriesOutRatio: number;
  readonly redelivered: number;
  readonly duplicates: number;
  readonly crashes: number;
  readonly refused: number;
  readonly troubles: readonly string[];
  readonly events: number;
}

interface Snapshot {
  readonly timeMs: number;
  readonly stored: number;
  readonly tokens: number;
  readonly busySlotMs: number;
  readonly takenSlotMs: number;
  readonly metaBookedMs: number;
  readonly ofFlow: readonly number[];
  readonly traffic: Readonly<Record<Purpose, { readonly messages: number; readonly bytes: number }>>;
  readonly storedBytes: Readonly<Record<Stream, number>>;
  readonly stations: readonly (readonly [name: string, lanes: number, bookedMs: number])[];
}

export interface Progress {
  readonly done: number;
  readonly total: number;
  readonly timeMs: number;
}

/** `onProgress` may end the run early: with 'stop' nothing more is sent, and what was sent is all. */
export async function simulate(
  wanted: Scenario,
  onProgress: (progress: Progress) => 'stop' | undefined = () => undefined,
): Promise<Result> {
  const scenario = checked(wanted);
  const loop = new Loop();
  const cells = Array.from({ length: scenario.partitions }, (_, number) => openCell(loop, scenario, number));
  const ofFlow = scenario.flows.map(() => 0);
  const latencies: { readonly ms: number; readonly flow: number }[] = [];
  const queueMs: number[] = [];
  let redelivered = 0;
  let samples = 0;
  let samplesSaved = 0;
  let from: Snapshot | undefined;
  let to: Snapshot | undefined;
  let nearlyAtMs = 0;
  for (const { events } of cells) {
    events.on('delivery.redelivered', () => redelivered++);
    events.on('sample.finished', (sample) => {
      if (sample.index === 0) queueMs.push(sample.queueMs);
    });
  }

  const onFinished = ({ flow, latencyMs, verdict }: Finished): void => {
    samples += verdict.samples.length;
    samplesSaved += verdict.stopping?.samplesSaved ?? 0;
    ofFlow[flow]! += verdict.samples.length;
    latencies.push({ ms: latencyMs, flow });
    const total = callers.total();
    if (from === undefined && callers.ended() * 4 >= total) from = snapshot(loop, cells, ofFlow);
    const last = scenario.arrivals.kind === 'backlog' ? callers.sent() >= total : callers.ended() * 4 >= total * 3;
    if (from !== undefined && to === undefined && last) to = snapshot(loop, cells, ofFlow);
    if (nearlyAtMs === 0 && callers.ended() >= 0.99 * total) nearlyAtMs = loop.timeMs;
    if (callers.ended() % 64 !== 0) return;
    if (onProgress({ done: callers.ended(), total, timeMs: loop.timeMs }) === 'stop') callers.stop();
  };
  const callers = startCallers(loop, cells, scenario, onFinished);
  await loop.run(() => callers.ended() >= callers.total());
  if (callers.ended() < callers.total())
    throw new Error(`scale: ${callers.total() - callers.ended()} requests never ended (M1)`);
  const end = snapshot(loop, cells, ofFlow);
  const start = from ?? end;
  const stop = to !== undefined && to.timeMs > start.timeMs ? to : end;
  const samplesStored = end.stored;

  const spanMs = stop.timeMs - start.timeMs;
  const drawn = stop.stored - start.stored;
  const slots = slotsOf(scenario);
  const flowWeights = scenario.flows.map(
    ({ tenant, class: cls }) => scenario.classWeights[cls] * (scenario.tenantWeights[tenant] ?? 1),
  );
  const flows = shares(
    scenario.flows.map(({ tenant, class: cls }, at) => ({
      name: `${cls}/${tenant}`,
      count: stop.ofFlow[at]! - start.ofFlow[at]!,
      weight: flowWeights[at]!,
    })),
  );
  const tenants = [...new Set(scenario.flows.map(({ tenant }) => tenant))];
  const perTenant = tenants.map((tenant) => {
    const own = flows.filter((_, at) => scenario.flows[at]!.tenant === tenant);
    return own.reduce((sum, { share }) => sum + share, 0) / own.reduce((sum, { due }) => sum + due, 0);
  });
  const sorted = (list: readonly number[]): Float64Array => Float64Array.from(list).sort();
  const p = (list: readonly number[]): { p50: number; p99: number } => {
    const all = sorted(list);
    return { p50: quantile(all, 0.5), p99: quantile(all, 0.99) };
  };
  const ofClass = (cls: string): number[] =>
    latencies.filter(({ flow }) => scenario.flows[flow]!.class === cls).map(({ ms }) => ms);
  const perSample = (part: 'messages' | 'bytes', purpose: Purpose): number =>
    (stop.traffic[purpose][part] - start.traffic[purpose][part]) / drawn;

  return {
    scenario,
    requests: callers.total(),
    samples,
    samplesStored,
    samplesSaved,
    makespanS: loop.timeMs / 1e3,
    tailS: (loop.timeMs - nearlyAtMs) / 1e3,
    samplesPerSecond: (1e3 * drawn) / spanMs,
    tokensPerSecond: (1e3 * (stop.tokens - start.tokens)) / spanMs,
    busyRatio: (stop.busySlotMs - start.busySlotMs) / (slots * spanMs),
    takenRatio: (stop.takenSlotMs - start.takenSlotMs) / (slots * spanMs),
    latencyMs: p(latencies.map(({ ms }) => ms)),
    latencyOfClassMs: Object.fromEntries(
      [...new Set(scenario.flows.map((flow) => flow.class))].map((cls) => [cls, p(ofClass(cls))]),
    ),
    queueMs: { mean: queueMs.reduce((sum, ms) => sum + ms, 0) / queueMs.length, ...p(queueMs) },
    flows,
    jainOfTenants: jain(perTenant),
    jainOfFlows: jain(flows.map(({ share, due }) => share / due)),
    nats: Object.fromEntries(
      purposes.map((each) => [each, { messages: perSample('messages', each), bytes: perSample('bytes', each) }]),
    ) as Result['nats'],
    storedBytes: Object.fromEntries(
      streams.map((each) => [each, (stop.storedBytes[each] - start.storedBytes[each]) / drawn]),
    ) as Result['storedBytes'],
    utilisation: utilisations(start, stop, scenario),
    deliveriesOutRatio:
      Math.max(...cells.map(({ queue }) => Math.max(queue.shards.outMax, queue.metaTasks.outMax))) /
      limits.ackPendingMax,
    redelivered,
    duplicates: cells.reduce((sum, { queue }) => sum + queue.counts.duplicates, 0),
    crashes: cells.reduce((sum, cell) => sum + cell.crashes(), 0),
    refused: callers.refused(),
    troubles: cells.flatMap(({ troubles }) => troubles),
    events: loop.events,
  };
}

function snapshot(loop: Loop, cells: readonly Cell[], ofFlow: readonly number[]): Snapshot {
  const sum = (of: (cell: Cell) => number): number => cells.reduce((total, cell) => total + of(cell), 0);
  return {
    timeMs: loop.timeMs,
    stored: sum(({ queue }) => queue.counts.samplesStored),
    tokens: sum((cell) => cell.tokens()),
    busySlotMs: sum((cell) => cell.busySlotMs()),
    takenSlotMs: sum((cell) => cell.takenSlotMs()),
    metaBookedMs: sum((cell) => cell.metaBookedMs()),
    ofFlow: [...ofFlow],
    traffic: Object.fromEntries(
      purposes.map((each) => [
        each,
        {
          messages: sum(({ nats }) => nats.traffic[each].messages),
          bytes: sum(({ nats }) => nats.traffic[each].bytes),
        },
      ]),
    ) as Snapshot['traffic'],
    storedBytes: Object.fromEntries(
      streams.map((each) => [each, sum(({ nats }) => nats.storedBytes[each])]),
    ) as Snapshot['storedBytes'],
    stations: cells.flatMap(({ nats, coordinators }) => [
      [nats.cpu.name, nats.cpu.lanes, nats.cpu.bookedMs()] as const,
      ...streams.map((each) => [each, 1, nats.streams[each].bookedMs()] as const),
      ...coordinators.map(({ cpu }) => ['coordinator CPU', 1, cpu.bookedMs()] as const),
    ]),
  };
}

/** Of each kind the busiest one; the engines by their running sequences. Booked work above 1 is work that waits. */
function utilisations(start: Snapshot, stop: Snapshot, scenario: Scenario): Readonly<Record<string, number>> {
  const spanMs = stop.timeMs - start.timeMs;
  const busiest = new Map<string, number>();
  for (const [at, [name, lanes, bookedMs]] of stop.stations.entries()) {
    const ratio = (bookedMs - start.stations[at]![2]) / lanes / spanMs;
    busiest.set(name, Math.max(busiest.get(name) ?? 0, ratio));
  }
  const metaEngines = scenario.meta ? scenario.metaWorkers : 0;
  return {
    ...Object.fromEntries(busiest),
    engines: (stop.busySlotMs - start.busySlotMs) / (slotsOf(scenario) * spanMs),
    ...(metaEngines > 0 && { 'meta engines': (stop.metaBookedMs - start.metaBookedMs) / (metaEngines * spanMs) }),
  };
}
