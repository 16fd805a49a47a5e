// What the coordinators of a virtual cluster are told, unless a test says otherwise.

import type { CoordinatorSettings } from '../../src/coordinator/context.js';
import type { HedgeSettings } from '../../src/coordinator/hedging.js';
import { limits } from '../../src/limits.js';
import { planDefaults } from './judgement.js';

export const settingsDefault: Omit<CoordinatorSettings, 'nodeId'> = {
  pool: 'grm',
  metaPool: 'meta',
  defaults: planDefaults,
  defaultClass: 'rl',
  shardSamplesMax: limits.shardSamplesMax,
  waves: 'by_load',
  lingerMs: 2_000,
  metaPatienceMs: 5_000,
  silenceMs: 2_000,
  takeoverEveryMs: 10_000,
};

export const noHedging: HedgeSettings = { extraRatio: 0, percentile: 1, floorMs: 0, observedMin: 1 };
export const classWeights = { interactive: 8, rl: 4, batch: 1 } as const;
