// Scenario: what is simulated, besides the inputs: the cluster, the callers, what goes wrong.

import { classes, type Class, type StopRule } from '../../src/grm/query.js';
import type { Inputs } from './inputs.js';
import type { Judge } from './engine.js';

/** One tenant's requests of one class. */
export interface FlowSpec {
  readonly tenant: string;
  readonly class: Class;
}

export interface Scenario {
  readonly seed: number;
  readonly inputs: Inputs;
  /** One engine each. */
  readonly workers: number;
  readonly metaWorkers: number;
  readonly coordinators: number;
  /** Clusters side by side, each with a nats-server, and its part of workers and coordinators. */
  readonly partitions: number;
  /** Samples of all requests, all k of each drawn. */
  readonly samples: number;
  readonly k: number;
  /** Responses in a request. */
  readonly responses: number;
  readonly stop: StopRule;
  readonly meta: boolean;
  readonly judge: Judge;
  readonly flows: readonly FlowSpec[];
  readonly tenantWeights: Readonly<Record<string, number>>;
  readonly classWeights: Readonly<Record<Class, number>>;
  /** Of one coordinator; 'auto': as the product chooses; 'fit': the same without its lower bound. */
  readonly windowSamples: number | 'auto' | 'fit';
  readonly shardSamplesMax: number;
  readonly arrivals: Arrivals;
  /** Mean time between two crashes of one worker, hours; Infinity: none. */
  readonly crashEveryHours: number;
  /** From a crash until the engine serves again. */
  readonly restartMs: number;
}

export type Arrivals =
  /** Callers keep samples open, so many per slot over all coordinators and flows: what a training job or a scoring run does. */
  | { readonly kind: 'backlog'; readonly perSlot: number }
  /** Requests come by themselves, exponentially spaced. */
  | { readonly kind: 'poisson'; readonly requestsPerSecond: number };

export const flowsDefault: readonly FlowSpec[] = ['a', 'b', 'c'].flatMap((tenant) =>
  classes.map((cls) => ({ tenant, class: cls })),
);

export function slotsOf({ workers, inputs }: Scenario): number {
  return workers * inputs.engine.slots;
}

/** Samples that one coordinator may have in flight: with room for all that callers keep open, twice, as one of the smallest weight has half of it; so nothing is refused. */
export function inFlightMax(scenario: Scenario): number {
  const { arrivals, coordinators, flows, k } = scenario;
  const perSlot = arrivals.kind === 'backlog' ? arrivals.perSlot : 8;
  return 2 * Math.max(20_000, Math.ceil((1.5 * perSlot * slotsOf(scenario)) / coordinators) + flows.length * k);
}

/** Throws when the parts do not divide. */
export function checked(scenario: Scenario): Scenario {
  const { partitions, workers, coordinators, metaWorkers, meta, samples, k } = scenario;
  const refuse = (words: string): never => {
    throw new RangeError(`scale: ${words}`);
  };
  if (workers % partitions !== 0) refuse(`workers: ${workers} do not divide over ${partitions} partitions`);
  if (coordinators % partitions !== 0)
    refuse(`coordinators: ${coordinators} do not divide over ${partitions} partitions`);
  if (meta && metaWorkers < partitions) refuse(`meta-workers: ${metaWorkers}, expected at least ${partitions}`);
  if (samples < k) refuse(`samples: ${samples}, expected at least k = ${k}`);
  return scenario;
}
