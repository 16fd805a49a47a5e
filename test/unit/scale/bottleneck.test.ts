// What is full first, and when.

import { describe, expect, it } from 'vitest';
import { bottlenecks, fullAfterS } from '../../../bench/scale/bottleneck.js';
import type { Result } from '../../../bench/scale/simulate.js';
import { smallScenario } from '../../support/scale.js';

const measured: Pick<Result, 'scenario' | 'utilisation' | 'deliveriesOutRatio' | 'storedBytes' | 'samplesPerSecond'> = {
  scenario: smallScenario({ workers: 100, partitions: 2, coordinators: 2 }),
  utilisation: { 'nats CPU': 0.1, 'coordinator CPU': 0.5, GRM_META: 0, engines: 0.99 },
  deliveriesOutRatio: 0.2,
  storedBytes: { GRM_REQ: 100, GRM_WORK: 0, GRM_META: 0, GRM_RES: 1_000, GRM_FIN: 0, KV_GRM_CLUSTER: 0 },
  samplesPerSecond: 400,
};

describe('bottlenecks', () => {
  it('come with the size at which they are full, the fullest first; engines and idle parts are none', () => {
    expect(bottlenecks(measured as Result)).toEqual([
      { name: 'coordinator CPU', utilisation: 0.5, fullAtWorkers: 200 },
      { name: 'deliveries out', utilisation: 0.2, fullAtWorkers: 500 },
      { name: 'nats CPU', utilisation: 0.1, fullAtWorkers: 1_000 },
    ]);
  });

  it("a stream's share is full after its bytes at the rate of one partition", () => {
    expect(fullAfterS(measured as Result, 'GRM_RES', 4_000_000)).toBe(5);
  });
});
