// The simulated cluster against closed forms, against itself, and its books.

import { describe, expect, it } from 'vitest';
import { inputsDefault } from '../../../bench/scale/inputs.js';
import { simulate, type Result } from '../../../bench/scale/simulate.js';
import { smallScenario } from '../../support/scale.js';

const { outputSigma, promptSigma } = inputsDefault.sizes;
const varied = { ...smallScenario().inputs.sizes, outputSigma, promptSigma };

function expectConserved(result: Result): void {
  const { scenario, requests, samples, samplesStored, samplesSaved, troubles } = result;
  expect(troubles).toEqual([]);
  expect(samples + samplesSaved).toBe(requests * scenario.k);
  expect(samplesStored).toBe(samples);
}

describe('closed forms', () => {
  it('a saturated cluster draws slots / service time, within 2%', async () => {
    const result = await simulate(smallScenario({ samples: 12_000 }));
    const { slots, stepBaseMs, stepPerSequenceMs } = result.scenario.inputs.engine;
    const serviceMs = 100 * (stepBaseMs + stepPerSequenceMs * slots);
    const expected = (1e3 * 4 * slots) / serviceMs;
    expect(Math.abs(result.samplesPerSecond / expected - 1)).toBeLessThan(0.02);
    expect(result.busyRatio).toBeGreaterThan(0.98);
    expectConserved(result);
  });

  it('M/D/c: utilisation is the load, the wait is that of Cosmetatos', async () => {
    const slots = 8;
    const load = 0.8;
    // 100 tokens of 10 ms: every sample takes a second.
    const engine = { slots, stepBaseMs: 10, stepPerSequenceMs: 0, prefillTokensPerSecond: 1e12 };
    const result = await simulate(
      smallScenario(
        {
          workers: 1,
          k: 1,
          samples: 12_000,
          shardSamplesMax: 1,
          arrivals: { kind: 'poisson', requestsPerSecond: load * slots },
        },
        { engine },
      ),
    );
    expect(Math.abs(result.busyRatio - load)).toBeLessThan(0.03);
    expect(Math.abs(result.queueMs.mean / (1e3 * waitOfMDc(slots, load)) - 1)).toBeLessThan(0.2);
    expectConserved(result);
  });
});

/**
 * Mean wait in an M/D/c queue, service times: half of M/M/c's (Erlang C) with the correction of Cosmetatos (Approximate explicit formulae for
 * the average queueing time in the processes (M/D/r) and (D/M/r), INFOR 13, 1975).
 */
function waitOfMDc(c: number, load: number): number {
  const offered = c * load;
  let term = 1;
  let sum = 1;
  for (let n = 1; n < c; n++) {
    term *= offered / n;
    sum += term;
  }
  const last = (term * offered) / c / (1 - load);
  const waitOfMMc = last / (sum + last) / (c * (1 - load));
  return (waitOfMMc / 2) * (1 + ((1 - load) * (c - 1) * (Math.sqrt(4 + 5 * c) - 2)) / (16 * load * c));
}

describe('books', () => {
  it('M1: every sample is drawn and counted once, while workers crash', async () => {
    const result = await simulate(smallScenario({ crashEveryHours: 0.02, samples: 3_200 }, { sizes: varied }));
    expect(result.crashes).toBeGreaterThan(0);
    expect(result.redelivered).toBeGreaterThan(0);
    expectConserved(result);
  });

  it('M1: with adaptive k and a meta RM, over two partitions, what is saved and what is drawn make k', async () => {
    const result = await simulate(
      smallScenario(
        { stop: 'confident', k: 16, meta: true, metaWorkers: 2, coordinators: 2, partitions: 2, samples: 1_600 },
        { sizes: varied, nats: inputsDefault.nats, coordinator: inputsDefault.coordinator },
      ),
    );
    expect(result.samplesSaved).toBeGreaterThan(0);
    expectConserved(result);
  });

  it('E1: the same seed gives the same run, another one another', async () => {
    const run = (seed: number) => simulate(smallScenario({ seed, samples: 800 }, { sizes: varied }));
    const [first, again, other] = [await run(7), await run(7), await run(8)];
    expect(again).toEqual(first);
    expect(other.makespanS).not.toBe(first.makespanS);
  });
});

describe('fairness', () => {
  it('F1: backlogged flows share the slots by class and tenant weight', async () => {
    const flows = [
      { tenant: 'a', class: 'rl' },
      { tenant: 'b', class: 'rl' },
      { tenant: 'a', class: 'batch' },
    ] as const;
    const result = await simulate(
      smallScenario({ flows, tenantWeights: { a: 2 }, samples: 8_000, arrivals: { kind: 'backlog', perSlot: 12 } }),
    );
    expect(result.flows.map(({ due }) => Math.round(14 * due))).toEqual([8, 4, 2]);
    expect(result.jainOfFlows).toBeGreaterThan(0.98);
  });
});
