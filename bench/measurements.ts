// All that make bench measures, in the order of a run: what is quick first.

import type { Measurement } from './figure.js';
import { adaptive } from './figures/adaptive.js';
import { latency } from './figures/latency.js';
import { nano } from './figures/nano.js';
import { overload } from './figures/overload.js';
import { prefix } from './figures/prefix.js';
import { saturation } from './figures/saturation.js';
import { scale } from './figures/scale.js';
import { takeover } from './figures/takeover.js';
import { throughput } from './figures/throughput.js';

export const measurements: readonly Measurement[] = [
  takeover,
  adaptive,
  latency,
  throughput,
  prefix,
  overload,
  scale,
  nano,
  saturation,
];
