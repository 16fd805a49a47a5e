// Scenario: what one seed stands for. Requests and their callers, the fleet, how bad the network is, and which node fails when. Every kind of
// fault is off in half of the seeds (Groce et al., "Swarm testing", 2012): a fault that is always there hides what happens without it.

import { classes, type Class, type StopRule } from '../../src/grm/query.js';
import type { WaveSizes } from '../../src/grm/stop.js';
import { chanceOf, type Chance } from './chance.js';

/** What a caller does about an answer that does not come. */
export type Manner =
  /** Asks until it has a verdict. */
  | 'steady'
  /** The same, with a deadline of `patienceMs` for each call. */
  | 'hasty'
  /** Goes away after `patienceMs` and never comes back. */
  | 'leaves'
  /** Goes away after `patienceMs` and asks again, steadily, after `pauseMs`. */
  | 'returns'
  /** Asks once; when its coordinator dies it never learns the answer. */
  | 'lost';

export interface CallerPlan {
  readonly atMs: number;
  readonly manner: Manner;
  readonly patienceMs: number;
  readonly pauseMs: number;
}

export interface RequestPlan {
  readonly name: string;
  readonly tenant: string;
  readonly class: Class;
  readonly key: boolean;
  readonly responses: number;
  readonly k: number;
  readonly meta: boolean;
  readonly timeBudgetMs: number;
  /** Adaptive k. */
  readonly stop: StopRule;
  /** Indexes of samples that kill the worker which draws them, the first so many times. */
  readonly poison?: { readonly index: number; readonly times: number };
  /** So many times each, some of its samples kill the meta worker that ranks them. */
  readonly metaPoison?: number;
  /** Somebody cancels it by its id. */
  readonly cancelAtMs?: number;
  readonly callers: readonly CallerPlan[];
}

export interface NetworkPlan {
  /** Shares of the calls to the server. */
  readonly refused: number;
  readonly unanswered: number;
  readonly slow: number;
  readonly slowMsMax: number;
  /** Share of the reads of samples and meta rewards that come to a replica which lags. */
  readonly stale: number;
  /** Shares of the notices. */
  readonly noticeLost: number;
  readonly noticeTwice: number;
  readonly noticeLate: number;
  /** Shares of acks, naks and renewals. */
  readonly settleLost: number;
  readonly settleLate: number;
  /** Share of the answers that their caller never sees: its connection breaks. */
  readonly replyLost: number;
}

export interface EnginePlan {
  /** Shares of the tries. */
  readonly retryable: number;
  readonly untaken: number;
  readonly closed: number;
  readonly hangs: number;
  readonly slow: number;
  readonly slowMsMax: number;
}

export type FaultPlan = { readonly atMs: number } & (
  | { readonly kind: 'kill' | 'drain'; readonly node: number; readonly backAfterMs: number }
  | { readonly kind: 'stall'; readonly node: number; readonly forMs: number }
  /** `crash`: the server was killed, and has forgotten the last removals from its work queues. */
  | { readonly kind: 'server away'; readonly forMs: number; readonly crash: boolean }
  | { readonly kind: 'membership unknown'; readonly forMs: number }
);

export interface Scenario {
  readonly seed: number;
  readonly requests: readonly RequestPlan[];
  readonly coordinators: number;
  readonly workers: number;
  readonly metaWorkers: number;
  readonly slots: number;
  /** Adaptive k: undisturbed they are small, and a verdict must be the same with any. */
  readonly waves: WaveSizes;
  /** Late samples are asked for twice, early and often. */
  readonly hedges: boolean;
  /** The clocks of the machines are as far off as that, ... */
  readonly skewMsMax: number;
  /** ... and some are set while they run. */
  readonly clockSets: readonly { readonly atMs: number; readonly node: number; readonly skewMs: number }[];
  readonly network: NetworkPlan;
  readonly engine: EnginePlan;
  readonly faults: readonly FaultPlan[];
  /** All faults are over then. */
  readonly healAtMs: number;
  /** Small ones make callers wait or be shed. */
  readonly windowSamples: number;
  readonly requestsMax: number;
  readonly workMessagesMax: number;
}

const manners: readonly Manner[] = ['steady', 'steady', 'steady', 'hasty', 'hasty', 'leaves', 'returns', 'lost'];

export function scenarioOf(seed: number): Scenario {
  const chance = chanceOf(seed, 'scenario');
  const coordinators = chance.whole(1, 3);
  const workers = chance.whole(1, 3);
  const withMeta = chance.is(0.5);
  const metaWorkers = withMeta ? chance.whole(1, 2) : 0;
  const healAtMs = chance.whole(8_000, 25_000);
  const crowded = chance.is(0.25);
  const poison = chance.is(0.15);
  const engine = engineOf(chance);
  const requests = Array.from({ length: chance.whole(1, crowded ? 6 : 3) }, (_, i) =>
    requestOf(`r${i}`, { withMeta, poison, hangs: engine.hangs > 0, healAtMs }, chance),
  )
    .map((plan) => adaptive(plan, chanceOf(seed, `adaptive ${plan.name}`)))
    .map((plan) => metaPoisoned(plan, chanceOf(seed, `meta poison ${plan.name}`)));
  return {
    seed,
    requests,
    coordinators,
    workers,
    metaWorkers,
    slots: chance.whole(1, 8),
    hedges: chanceOf(seed, 'hedges').is(0.5),
    waves: chanceOf(seed, 'waves').is(0.75) ? 'by_load' : 'small',
    ...clocksOf(chance.is(0.5), chanceOf(seed, 'clocks'), coordinators + workers + metaWorkers, healAtMs),
    network: networkOf(chance),
    engine,
    faults: faultsOf(coordinators + workers + metaWorkers, healAtMs, chance),
    healAtMs,
    windowSamples: crowded ? chance.whole(1, 6) : 4_096,
    requestsMax: crowded && chance.is(0.5) ? chance.whole(1, 3) : 1_000,
    // One request alone always fits.
    workMessagesMax: crowded && chance.is(0.3) ? chance.whole(4, 8) : 1_000_000,
  };
}

function clocksOf(skewed: boolean, chance: Chance, nodes: number, healAtMs: number) {
  const skewMsMax = skewed ? chance.of([5_000, 30_000, 3_600_000, 3_600_000]) : 0;
  const sets = skewed && chance.is(0.5) ? chance.whole(1, 4) : 0;
  const clockSets = Array.from({ length: sets }, () => ({
    atMs: chance.whole(0, healAtMs),
    node: chance.whole(0, nodes - 1),
    skewMs: chance.whole(-600_000, 600_000),
  }));
  return { skewMsMax, clockSets };
}

/** The same requests, one healthy node of each kind, and nothing goes wrong. */
export function undisturbed(scenario: Scenario): Scenario {
  return {
    ...scenario,
    requests: scenario.requests.map(({ name, tenant, class: klass, key, responses, k, meta, timeBudgetMs, stop }) => ({
      name,
      tenant,
      class: klass,
      key,
      responses,
      k,
      meta,
      timeBudgetMs,
      stop,
      callers: [{ atMs: 0, manner: 'steady', patienceMs: 0, pauseMs: 0 }],
    })),
    coordinators: 1,
    workers: 1,
    metaWorkers: Math.min(1, scenario.metaWorkers),
    slots: 64,
    waves: 'small',
    hedges: false,
    skewMsMax: 0,
    clockSets: [],
    network: calmNetwork,
    engine: calmEngine,
    faults: [],
    healAtMs: 0,
    windowSamples: 4_096,
    requestsMax: 1_000,
    workMessagesMax: 1_000_000,
  };
}

export const calmNetwork: NetworkPlan = {
  refused: 0,
  unanswered: 0,
  slow: 0,
  slowMsMax: 0,
  noticeLost: 0,
  noticeTwice: 0,
  noticeLate: 0,
  settleLost: 0,
  settleLate: 0,
  replyLost: 0,
  stale: 0,
};

export const calmEngine: EnginePlan = { retryable: 0, untaken: 0, closed: 0, hangs: 0, slow: 0, slowMsMax: 0 };

function requestOf(
  name: string,
  how: { readonly withMeta: boolean; readonly poison: boolean; readonly hangs: boolean; readonly healAtMs: number },
  chance: Chance,
): RequestPlan {
  const { withMeta, poison, hangs, healAtMs } = how;
  const k = chance.whole(1, 4);
  const atMs = chance.whole(0, healAtMs / 2);
  const callers = Array.from({ length: chance.is(0.25) ? 2 : 1 }, (): CallerPlan => ({
    atMs: atMs + (chance.is(0.5) ? 0 : chance.whole(0, 4_000)),
    manner: chance.of(manners),
    patienceMs: chance.whole(500, 6_000),
    pauseMs: chance.is(0.5) ? chance.whole(0, 50) : chance.whole(0, 4_000),
  }));
  return {
    name,
    tenant: chance.of(['anna', 'bert']),
    class: chance.of(classes),
    key: chance.is(0.5),
    responses: chance.whole(2, 3),
    k,
    meta: withMeta && chance.is(0.7),
    // An engine that never answers holds a sample until the budget ends; without one, no budget may end.
    stop: 'none',
    timeBudgetMs: hangs ? chance.whole(20_000, 60_000) : 1_200_000,
    ...(poison && chance.is(0.5) && { poison: { index: chance.whole(0, k - 1), times: chance.whole(1, 8) } }),
    ...(chance.is(0.12) && { cancelAtMs: atMs + chance.whole(0, 5_000) }),
    callers,
  };
}

/** Some requests stop drawing early: so early that there are waves to tell apart. */
function adaptive(plan: RequestPlan, chance: Chance): RequestPlan {
  if (!chance.is(0.2)) return plan;
  return { ...plan, k: chance.whole(4, 8), stop: chance.of(['outcome_fixed', 'confident'] as const) };
}

function metaPoisoned(plan: RequestPlan, chance: Chance): RequestPlan {
  if (!plan.meta || !chance.is(0.15)) return plan;
  return { ...plan, metaPoison: chance.whole(1, 8) };
}

function networkOf(chance: Chance): NetworkPlan {
  const share = (max: number): number => (chance.is(0.5) ? chance.ratio() * max : 0);
  return {
    refused: share(0.1),
    unanswered: share(0.1),
    slow: share(0.6),
    slowMsMax: chance.of([20, 200, 2_000]),
    noticeLost: share(0.5),
    noticeTwice: share(0.3),
    noticeLate: share(0.5),
    settleLost: share(0.3),
    settleLate: share(0.3),
    replyLost: share(0.3),
    stale: share(0.2),
  };
}

function engineOf(chance: Chance): EnginePlan {
  const share = (max: number): number => (chance.is(0.5) ? chance.ratio() * max : 0);
  return {
    retryable: share(0.3),
    untaken: share(0.3),
    closed: share(0.1),
    hangs: share(0.1),
    slow: share(0.5),
    slowMsMax: chance.of([500, 3_000, 9_000]),
  };
}

function faultsOf(nodes: number, healAtMs: number, chance: Chance): readonly FaultPlan[] {
  const kinds: FaultPlan['kind'][] = ['kill', 'kill', 'stall', 'drain', 'server away', 'membership unknown'];
  const possible = kinds.filter(() => chance.is(0.5));
  if (possible.length === 0) return [];
  return Array.from({ length: chance.whole(0, 6) }, (): FaultPlan => {
    const kind = chance.of(possible);
    const atMs = chance.whole(0, healAtMs);
    switch (kind) {
      case 'kill':
      case 'drain':
        return { kind, atMs, node: chance.whole(0, nodes - 1), backAfterMs: chance.whole(100, 6_000) };
      case 'stall':
        return { kind, atMs, node: chance.whole(0, nodes - 1), forMs: chance.whole(100, 12_000) };
      case 'server away': {
        const forMs = chance.whole(100, 8_000);
        return { kind, atMs, forMs, crash: forMs % 2 === 0 };
      }
      case 'membership unknown':
        return { kind, atMs, forMs: chance.whole(100, 8_000) };
    }
  }).sort((a, b) => a.atMs - b.atMs);
}
