// Overload (promise P4): ten times what the fleet can do is offered, in virtual time. What is accepted is answered, what is not is told when to come
// again, nothing grows, and no class or tenant lives at the cost of another.

import { expect, test } from 'vitest';
import type { ScoreInput, ScoreOutcome } from '../../../src/coordinator/coordinator.js';
import type { Class } from '../../../src/grm/query.js';
import { scriptedEngine, seededScores } from '../../support/scripted-engine.js';
import { ask, virtualCluster, type VirtualCluster, type VirtualCoordinator } from '../../support/virtual-cluster.js';

/** Sixteen samples at once, each a second: four requests of four samples a second. */
const slots = 16;
const k = 4;
const perSecond = slots / k;
/** Enough for every flow to have a backlog before the window. */
const bounds = { requestsMax: 130, samplesMax: 8_000, bytesMax: 1_000_000 };
const windowSamples = slots;
const options = { k, vote: 'sum', timeBudgetMs: 600_000 } as const;

async function overloaded(
  tenantWeights: Readonly<Record<string, number>> = {},
): Promise<{ cluster: VirtualCluster; a: VirtualCoordinator; peak: () => Peak }> {
  const cluster = await virtualCluster({ bounds, windowSamples, tenantWeights });
  const a = cluster.coordinator('a');
  const engine = scriptedEngine({
    clock: cluster.clock,
    answer: (spec, job, n) => ({ kind: 'scores', shown: seededScores(spec, job, n), afterMs: 1_000 }),
  });
  await cluster.worker('w', { engine, slots });
  const most = { requests: 0, waiting: 0, tasks: 0 };
  const look = (): void => {
    const { requestsInFlight, waiting } = a.service.load();
    most.requests = Math.max(most.requests, requestsInFlight);
    most.waiting = Math.max(most.waiting, waiting);
    most.tasks = Math.max(most.tasks, cluster.nats.tasks());
    cluster.clock.after(50, look);
  };
  look();
  return { cluster, a, peak: () => most };
}

interface Peak {
  readonly requests: number;
  readonly waiting: number;
  readonly tasks: number;
}

interface Tally {
  valid: number;
  shed: number;
  readonly delaysMs: number[];
}

function count(tally: Tally, outcome: ScoreOutcome): void {
  if (outcome.kind === 'verdict') {
    expect(outcome.verdict).toMatchObject({ kind: 'valid', kValid: k, degraded: [] });
    tally.valid++;
    return;
  }
  expect(outcome.fault.kind).toBe('overloaded');
  tally.shed++;
  tally.delaysMs.push(outcome.fault.retryAfterMs ?? 0);
}

test('P4: ten times the capacity: what is accepted is answered in full, the rest is shed with a delay, and nothing grows', async () => {
  const { cluster, a, peak } = await overloaded();
  const tally: Tally = { valid: 0, shed: 0, delaysMs: [] };
  const seconds = 20;
  const answers: Promise<void>[] = [];
  for (let each = 0; each < seconds * perSecond * 10; each++) {
    answers.push(a.score(ask(options)).then((outcome) => count(tally, outcome)));
    await cluster.clock.advance(1_000 / (perSecond * 10));
  }
  await cluster.clock.until(Promise.all(answers), 120_000);
  // As much is done as the fleet can do: overload costs no throughput.
  expect(tally.valid).toBeGreaterThanOrEqual(seconds * perSecond * 0.9);
  expect(tally.valid + tally.shed).toBe(seconds * perSecond * 10);
  expect(Math.min(...tally.delaysMs)).toBeGreaterThanOrEqual(50);
  expect(peak().requests).toBeLessThanOrEqual(bounds.requestsMax);
  // Every shard that waits is of an admitted request.
  expect(peak().waiting).toBeLessThanOrEqual(bounds.requestsMax * k);
  expect(peak().tasks).toBeLessThan(windowSamples + k);
  await cluster.clock.advance(1_000);
  expect(a.service.load()).toEqual({ requestsInFlight: 0, samplesInFlight: 0, bytesInFlight: 0, waiting: 0 });
  expect(cluster.nats.tasks()).toBe(0);
});

test('callers who come again after the delay that they are told all get their verdict', async () => {
  const { cluster, a } = await overloaded();
  let calls = 0;
  const insist = async (input: ScoreInput): Promise<void> => {
    for (;;) {
      calls++;
      const outcome = await a.score(input);
      if (outcome.kind === 'verdict') return;
      const delayMs = outcome.fault.retryAfterMs ?? 0;
      await new Promise<void>((resolve) => void cluster.clock.after(delayMs, resolve));
    }
  };
  const requests = 200;
  await cluster.clock.until(Promise.all(Array.from({ length: requests }, () => insist(ask(options)))), 300_000);
  // The delay follows the pace of the fleet, so they do not hammer: in the fifty seconds that it takes, some calls each.
  expect(calls).toBeLessThan(requests * 60);
  expect(a.service.load().requestsInFlight).toBe(0);
});

/** Every flow keeps more waiting than it can get; says how many requests of each were answered in the time. */
async function contend(
  flows: readonly { readonly class: Class; readonly tenant: string; readonly callers: number }[],
  seconds: number,
): Promise<number[]> {
  const { cluster, a } = await overloaded();
  const answered = flows.map(() => 0);
  const startedAtMs = cluster.clock.now();
  let open = true;
  const want = async (at: number): Promise<void> => {
    while (open) {
      const { tenant, class: klass } = flows[at]!;
      const outcome = await a.score(ask(options, { tenant, class: klass }));
      if (outcome.kind === 'fault') await new Promise<void>((resolve) => void cluster.clock.after(500, resolve));
      else if (cluster.clock.now() - startedAtMs <= seconds * 1_000) answered[at]!++;
    }
  };
  const callers = flows.flatMap((flow, at) => Array.from({ length: flow.callers }, () => want(at)));
  await cluster.clock.advance(seconds * 1_000);
  open = false;
  await cluster.clock.until(Promise.all(callers), 120_000);
  return answered;
}

test('a flood of batch does not starve rl: it gets at least its share by weight', async () => {
  const flows = [
    { class: 'batch', tenant: 'a', callers: 100 },
    { class: 'rl', tenant: 'a', callers: 30 },
  ] as const;
  const [batch = 0, rl = 0] = await contend(flows, 60);
  // Four to one by weight, in whole requests of a minute.
  expect(rl).toBeGreaterThan(2 * batch);
  expect(batch).toBeGreaterThan(0);
  expect(batch + rl).toBeGreaterThanOrEqual(60 * perSecond * 0.8);
});

test('two tenants of one class share alike, and both get on', async () => {
  const flows = [
    { class: 'rl', tenant: 'a', callers: 40 },
    { class: 'rl', tenant: 'b', callers: 40 },
  ] as const;
  const [a = 0, b = 0] = await contend(flows, 60);
  expect(Math.min(a, b) / Math.max(a, b)).toBeGreaterThan(0.7);
});

interface Stream {
  readonly class: Class;
  readonly tenant: string;
  /** Requests offered each second, whatever becomes of those before. */
  readonly perSecond: number;
}

/** Offers the streams for so long; says how many requests of each were answered within it, without the first third, and shed. */
async function flooded(streams: readonly Stream[], seconds: number, tenantWeights: Readonly<Record<string, number>>) {
  const { cluster, a } = await overloaded(tenantWeights);
  const startMs = cluster.clock.now();
  const countedFromMs = startMs + (seconds * 1_000) / 3;
  const endMs = startMs + seconds * 1_000;
  const tallies = streams.map(() => ({ answered: 0, shed: 0, heldMs: [] as number[] }));
  const open: Promise<void>[] = [];
  streams.forEach(({ tenant, class: klass, perSecond: rate }, at) => {
    const tally = tallies[at]!;
    const offer = (): void => {
      if (cluster.clock.now() >= endMs) return;
      const offeredAtMs = cluster.clock.now();
      const call = a.score(ask(options, { tenant, class: klass })).then((outcome) => {
        const now = cluster.clock.now();
        if (outcome.kind === 'fault') expect(outcome.fault.kind).toBe('overloaded');
        // What came before every flow held its part found more room, and waits for it.
        if (outcome.kind === 'verdict' && offeredAtMs >= countedFromMs) tally.heldMs.push(outcome.verdict.durationMs);
        if (now < countedFromMs || now > endMs) return;
        if (outcome.kind === 'fault') tally.shed++;
        else tally.answered++;
      });
      open.push(call);
      // Whole milliseconds, as clocks tell them.
      cluster.clock.after(Math.round(1_000 / rate), offer);
    };
    // None of them is always the first.
    cluster.clock.after(Math.round((at * 1_000) / rate / streams.length), offer);
  });
  await cluster.clock.advance(endMs - startMs);
  await cluster.clock.until(Promise.all(open), 300_000);
  return tallies;
}

test('two tenants offer ten times what there is: each gets its weight, and not what it is loud enough for', async () => {
  const flood = [
    { class: 'rl', tenant: 'heavy', perSecond: 10 * perSecond },
    { class: 'rl', tenant: 'light', perSecond: 30 * perSecond },
  ] as const;
  const [heavy, light] = await flooded(flood, 60, { heavy: 3 });
  const share = heavy!.answered / (heavy!.answered + light!.answered);
  expect(share).toBeGreaterThan(0.65);
  expect(share).toBeLessThan(0.85);
  expect(heavy!.answered + light!.answered).toBeGreaterThanOrEqual(40 * perSecond * 0.9);
});

test('a tenant that asks for less than its part is not shed because another floods', async () => {
  const flood = [
    { class: 'rl', tenant: 'quiet', perSecond: perSecond / 4 },
    { class: 'rl', tenant: 'loud', perSecond: 20 * perSecond },
  ] as const;
  const [quiet, loud] = await flooded(flood, 30, {});
  expect(quiet!.shed).toBe(0);
  expect(quiet!.answered).toBeGreaterThanOrEqual((20 * perSecond) / 4 - 2);
  expect(loud!.shed).toBeGreaterThan(loud!.answered);
});

test('in a flood that lasts nobody waits long for its small weight: each flow holds by it, and no more', async () => {
  const rates = [
    { class: 'rl', tenant: 'heavy', perSecond: 10 * perSecond },
    { class: 'rl', tenant: 'light', perSecond: 20 * perSecond },
    { class: 'batch', tenant: 'light', perSecond: 10 * perSecond },
  ] as const;
  const tallies = await flooded(rates, 150, { heavy: 3 });
  // Little's law: what a coordinator holds is the rate at which it answers times the time that each takes.
  const littleMs = (bounds.requestsMax / perSecond) * 1_000;
  for (const { heldMs } of tallies) {
    expect(heldMs.length).toBeGreaterThan(5);
    expect(Math.max(...heldMs)).toBeLessThan(1.5 * littleMs);
  }
});

test('three classes flood at once: each gets its weight', async () => {
  const flood = (['interactive', 'rl', 'batch'] as const).map((klass) => ({
    class: klass,
    tenant: 'a',
    perSecond: 10 * perSecond,
  }));
  const answered = (await flooded(flood, 60, {})).map((each) => each.answered);
  const all = answered.reduce((sum, each) => sum + each, 0);
  for (const [at, weight] of [8, 4, 1].entries()) {
    expect(answered[at]! / all).toBeGreaterThan((weight / 13) * 0.7);
    expect(answered[at]! / all).toBeLessThan((weight / 13) * 1.3);
  }
});
