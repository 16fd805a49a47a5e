// Small scenarios for the simulator of bench/scale: what costs nothing but time in engines, so that closed forms hold.

import { inputsDefault, type Inputs } from '../../bench/scale/inputs.js';
import type { Scenario } from '../../bench/scale/scenario.js';

const free: Inputs = {
  ...inputsDefault,
  nats: { ...inputsDefault.nats, message: 0, store: 0, storeKiB: 0, consume: 0, read: 0, rttMs: 0 },
  coordinator: { request: 0, shard: 0, sample: 0, meta: 0, lease: 0, listed: 0 },
  engine: { slots: 16, stepBaseMs: 20, stepPerSequenceMs: 0.5, prefillTokensPerSecond: 1e12 },
  sizes: { ...inputsDefault.sizes, promptSigma: 0, outputTokens: 100, outputSigma: 0 },
};

/** Four workers of 16 slots; queue and coordinator are free, every sample has 100 tokens, prompts take no time. */
export function smallScenario(change: Partial<Omit<Scenario, 'inputs'>> = {}, inputs: Partial<Inputs> = {}): Scenario {
  return {
    seed: 1,
    inputs: { ...free, ...inputs },
    workers: 4,
    metaWorkers: 0,
    coordinators: 1,
    partitions: 1,
    samples: 4_000,
    k: 8,
    responses: 2,
    stop: 'none',
    meta: false,
    judge: { accuracy: 0.75, metaAccuracy: 0.85 },
    flows: [{ tenant: 'a', class: 'rl' }],
    tenantWeights: {},
    classWeights: { interactive: 8, rl: 4, batch: 1 },
    windowSamples: 'fit',
    shardSamplesMax: 8,
    arrivals: { kind: 'backlog', perSlot: 3 },
    crashEveryHours: Infinity,
    restartMs: 20_000,
    ...change,
  };
}
