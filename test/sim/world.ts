// World: runs one scenario to its end in virtual time, and writes down what happened.

import { FaultError } from '../../src/fault.js';
import type { ScoreInput } from '../../src/coordinator/coordinator.js';
import type { DispatchWeights } from '../../src/coordinator/dispatch.js';
import { deriveSeed } from '../../src/grm/seed.js';
import { decodeDeadLetter, decodeVerdict } from '../../src/queue/codec.js';
import type { Verdict } from '../../src/grm/verdict.js';
import type { Broken } from '../support/memory-queue.js';
import type { Seen } from '../support/memory-wire.js';
import { parseLane } from '../../src/queue/subjects.js';
import { laneNumber } from '../../src/work/lane.js';
import { resultsIn } from '../support/lanes.js';
import { virtualClock, type VirtualClock } from '../support/virtual-clock.js';
import { requestIdOf, virtualCluster, type Told, type VirtualCluster } from '../support/virtual-cluster.js';
import { call, summaryOf, valueOf } from './callers.js';
import { chanceOf } from './chance.js';
import { ackWaitMs, Fleet } from './fleet.js';
import { History, type Entry, type Happening } from './history.js';
import type { FaultPlan, RequestPlan, Scenario } from './scenario.js';
import { WatchedDispatcher } from './turns.js';
import { weatherOf } from './weather.js';

/** What is wrong with this world on purpose: the checker must find it. */
export interface Sabotage {
  readonly queue?: Broken;
  /** Nobody looks for what dead coordinators left behind. */
  readonly noTakeover?: boolean;
  /** Every process goes by the clock of its own machine. */
  readonly ownClocks?: boolean;
  /** Nobody reads the ledger when notices are lost. */
  readonly noReplay?: boolean;
}

export interface Ran {
  readonly scenario: Scenario;
  readonly entries: readonly Entry[];
  readonly startMs: number;
  /** As the ledger holds them at the end, by the request's name. */
  readonly verdicts: ReadonlyMap<string, Verdict>;
}

/** Everything must have come to rest so long after the last fault: several ack waits, back-offs and looks for unfinished requests. */
const restMs = 240_000;

export async function run(scenario: Scenario, sabotage: Sabotage = {}): Promise<Ran> {
  const clock = virtualClock();
  const world = new World(scenario, sabotage, clock);
  const fleet = await world.run();
  const entries = [...world.history.entries];
  fleet.bury();
  return {
    scenario,
    entries,
    startMs: world.startMs,
    verdicts: new Map([...world.verdicts].map(([name, bytes]) => [name, decodeVerdict(bytes)])),
  };
}

class World {
  readonly history: History;
  readonly startMs: number;
  readonly verdicts = new Map<string, Uint8Array>();
  readonly #inputs: ReadonlyMap<string, ScoreInput>;
  /** By request id. */
  readonly #plans = new Map<string, RequestPlan>();
  readonly #records = new Set<string>();
  /** When the server told a worker that a sample is not there; each is spent by one drawing of that sample. */
  readonly #looks = new Map<string, number[]>();
  /** Samples that the ledger holds. */
  readonly #stored = new Set<string>();
  /** Deaths, by the request of a poisonous sample or by a poisonous text. */
  readonly #poisoned = new Map<string, number>();
  #calm = false;

  constructor(
    private readonly scenario: Scenario,
    private readonly sabotage: Sabotage,
    private readonly clock: VirtualClock,
  ) {
    this.startMs = clock.now();
    this.history = new History(() => clock.now());
    this.#inputs = new Map(scenario.requests.map((plan) => [plan.name, inputOf(plan, scenario.seed)]));
    for (const plan of scenario.requests) this.#plans.set(this.#idOf(plan), plan);
  }

  async run(): Promise<Fleet> {
    const { scenario, sabotage, clock, history } = this;
    const weather = weatherOf(scenario.network, chanceOf(scenario.seed, 'weather'), (what) =>
      history.add({ kind: 'network', what }),
    );
    const skews = new Map<string, number>();
    const skewing = chanceOf(scenario.seed, 'skew');
    const cluster = await virtualCluster({
      clock,
      weather,
      ackWaitMs,
      detectMs: 3_000,
      windowSamples: scenario.windowSamples,
      workMessagesMax: scenario.workMessagesMax,
      ...(scenario.hedges && { hedge: { extraRatio: 0.5, percentile: 0.5, floorMs: 500, observedMin: 2 } }),
      bounds: { requestsMax: scenario.requestsMax },
      settings: {
        takeoverEveryMs: sabotage.noTakeover ? Infinity : 5_000,
        silenceMs: sabotage.noReplay ? Infinity : 2_000,
        waves: scenario.waves,
      },
      ...(sabotage.ownClocks && { ownClocks: true }),
      ...(scenario.skewMsMax > 0 && {
        skewMs: (id: string) => {
          const known = skews.get(id) ?? skewing.whole(-scenario.skewMsMax, scenario.skewMsMax);
          skews.set(id, known);
          return known;
        },
      }),
      dispatcher: (id, windowSamples, weights: DispatchWeights) =>
        new WatchedDispatcher(windowSamples, weights, (turn) => history.add({ kind: 'turn', node: id, ...turn })),
      watch: (seen) => this.#see(seen),
      hear: (told) => this.#hear(told, fleet),
      ...(sabotage.queue && { broken: sabotage.queue }),
      // Whoever looks at the queues makes good what a queue forgets.
      looksAtStreams: sabotage.queue !== 'forgets',
    });
    const engines = chanceOf(scenario.seed, 'engines');
    const fleet: Fleet = new Fleet({
      scenario,
      cluster,
      history,
      chance: chanceOf(scenario.seed, 'fleet'),
      engine: (worker) => ({
        plan: scenario.engine,
        chance: engines,
        isCalm: () => this.#calm,
        drawn: (requestId, index) => this.#drawn(worker, requestId, index, fleet),
        ranked: (requestId, text) => this.#ranked(worker, requestId, text, fleet),
      }),
    });
    const starting = fleet.start();
    await clock.until(starting, 60_000);

    const callers = this.#call(() => weather.replyLost(), fleet);
    for (const fault of scenario.faults) {
      clock.after(fault.atMs, () => {
        if (!this.#calm) this.#fault(fault, fleet, cluster);
      });
    }
    for (const { atMs, node, skewMs } of scenario.clockSets) clock.after(atMs, () => fleet.setClock(node, skewMs));
    for (const plan of scenario.requests) {
      if (plan.cancelAtMs === undefined) continue;
      clock.after(plan.cancelAtMs, () => {
        history.add({ kind: 'fault', what: `an operator cancels ${plan.name}` });
        fleet.cancel(this.#idOf(plan));
      });
    }

    await clock.advance(scenario.healAtMs);
    this.#calm = true;
    weather.calm();
    cluster.nats.away(false);
    cluster.membershipKnown = true;
    await clock.until(fleet.heal(), 60_000);
    history.add({ kind: 'healed' });

    let open = 'callers';
    void callers.then(() => (open = ''));
    const underWay = (): string => [open, fleet.busy(), this.#unanswered(), tasks(cluster)].filter(Boolean).join('; ');
    for (const endMs = clock.now() + restMs; underWay() !== '' && clock.now() < endMs;) await clock.advance(500);
    history.add({ kind: 'rest', settled: underWay() === '', open: underWay() });
    fleet.inspect();
    const followers = cluster.nats.followers();
    if (followers > 0) history.add({ kind: 'held', what: 'subscriptions', count: followers, max: 0 });
    return fleet;
  }

  #call(replyLost: () => boolean, fleet: Fleet): Promise<unknown> {
    const { scenario, clock, history } = this;
    const world = {
      clock,
      history,
      chance: chanceOf(scenario.seed, 'callers'),
      door: () => fleet.door(),
      replyLost,
    };
    return Promise.all(
      scenario.requests.flatMap((plan) =>
        plan.callers.map((caller, i) =>
          call(`${plan.name}/${i}`, plan.name, this.#inputs.get(plan.name)!, caller, world),
        ),
      ),
    );
  }

  #fault(fault: FaultPlan, fleet: Fleet, cluster: VirtualCluster): void {
    const { clock, history } = this;
    switch (fault.kind) {
      case 'kill':
        return fleet.kill(fault.node, fault.backAfterMs);
      case 'drain':
        return fleet.drain(fault.node, fault.backAfterMs);
      case 'stall':
        return fleet.stall(fault.node, fault.forMs);
      case 'server away': {
        history.add({ kind: 'fault', what: `the server is away for ${fault.forMs} ms` });
        cluster.nats.away(true);
        cluster.membershipKnown = false;
        clock.after(fault.forMs, () => {
          const back = fault.crash ? cluster.nats.crash() : 0;
          history.add({ kind: 'fault', what: `the server is back${fault.crash ? `, and so are ${back} tasks` : ''}` });
          cluster.nats.away(false);
          cluster.membershipKnown = true;
        });
        return;
      }
      case 'membership unknown': {
        history.add({ kind: 'fault', what: `nobody knows who is alive for ${fault.forMs} ms` });
        cluster.membershipKnown = false;
        clock.after(fault.forMs, () => (cluster.membershipKnown = true));
      }
    }
  }

  /** The server stored, removed or read a message. */
  #see({ client, how, subject, bytes }: Seen): void {
    const [, stream, requestId = '', unit] = subject.split('.');
    const plan = this.#plans.get(requestId);
    if (!plan) return;
    const { name } = plan;
    if (how === 'read') {
      if (stream === 'res' && bytes === undefined && unit !== undefined) this.#looked(client, plan, unit, false);
      return;
    }
    if (how === 'missed') {
      if (stream === 'res' && unit !== undefined) this.#looked(client, plan, unit, true);
      return;
    }
    const add = (what: Extract<Happening, { kind: 'ledger' }>['what'], index?: number, value = bytes): void =>
      this.history.add({
        kind: 'ledger',
        how,
        what,
        request: name,
        ...(index !== undefined && { unit: index }),
        value: value ? valueOf(value) : '',
        by: client,
      });
    switch (stream) {
      case 'req':
        if (how === 'purged') this.#records.delete(name);
        else this.#records.add(name);
        return add('record');
      case 'res':
        for (const { index, bytes: each } of bytes ? resultsIn('res', bytes) : []) {
          this.#stored.add(`${name} ${index}`);
          add('sample', index, each);
        }
        return;
      case 'mres':
        for (const { index, bytes: each } of bytes ? resultsIn('mres', bytes) : []) add('meta', index, each);
        return;
      case 'fin':
        if (bytes) this.verdicts.set(name, bytes.slice());
        else this.verdicts.delete(name);
        return add('verdict');
      case 'dead': {
        if (!bytes) return;
        const { stage, unit: shard, samples, deliveries, reason } = decodeDeadLetter(bytes);
        const letter = { request: name, stage, unit: shard, samples, deliveries, reason };
        this.history.add({ kind: 'dead letter', ...letter });
        return;
      }
      default:
        return;
    }
  }

  /**
   * A miss on the next append of a lane says of each of its samples that is not stored that it is not there; a replica that lags may say so
   * of others too. Then they are drawn twice, and still count once.
   */
  #looked(client: string, { name, k }: RequestPlan, unit: string, stale: boolean): void {
    const lane = Number(parseLane(unit)?.split('_').at(-1));
    for (let index = 0; index < k; index++) {
      if (laneNumber(index) !== lane || (!stale && this.#stored.has(`${name} ${index}`))) continue;
      const look = `${client} ${name} ${index}`;
      this.#looks.set(look, [...(this.#looks.get(look) ?? []), this.clock.now()]);
    }
  }

  #drawn(worker: string, requestId: string, index: number, fleet: Fleet): boolean {
    const plan = this.#plans.get(requestId);
    if (!plan) return false;
    const look = `${worker} ${plan.name} ${index}`;
    this.history.add({ kind: 'drawn', request: plan.name, index, worker, lookedAtMs: this.#looks.get(look)?.shift() });
    if (plan.poison?.index !== index) return false;
    const deaths = this.#poisoned.get(plan.name) ?? 0;
    if (deaths >= plan.poison.times) return false;
    this.#poisoned.set(plan.name, deaths + 1);
    // It dies with the job in hand, not before its engine had it.
    this.clock.after(5, () => fleet.poisoned(worker));
    return true;
  }

  #ranked(worker: string, requestId: string, text: string, fleet: Fleet): boolean {
    const { metaPoison = 0 } = this.#plans.get(requestId) ?? {};
    // A third of the texts.
    if (metaPoison === 0 || deriveSeed('poison', text) % 3 > 0) return false;
    const deaths = this.#poisoned.get(text) ?? 0;
    if (deaths >= metaPoison) return false;
    this.#poisoned.set(text, deaths + 1);
    this.clock.after(2, () => fleet.poisoned(worker));
    return true;
  }

  #hear({ node, name, event }: Told, fleet: Fleet): void {
    if (name === 'trouble') {
      const { where, error } = event as { where: string; error: unknown };
      const message = error instanceof Error ? error.message : String(error);
      // A full meta queue is told as a plain error.
      const bug = !(error instanceof FaultError) && where !== 'meta queue';
      this.history.add({ kind: 'trouble', node, where, message, bug });
      return;
    }
    const { requestId, ...rest } = event as { requestId?: string };
    const plan = requestId === undefined ? undefined : this.#plans.get(requestId);
    const words = Object.entries(rest).flatMap(([key, value]) =>
      typeof value === 'string' || typeof value === 'number' ? [`${key} ${value}`] : [],
    );
    const what = `${name}: ${words.join(', ')}`;
    this.history.add({ kind: 'said', node, what, ...(plan && { request: plan.name }) });
    if (name === 'request.accepted') fleet.weigh(node);
  }

  /** Accepted, and without a verdict. */
  #unanswered(): string {
    const open = [...this.#records].filter((name) => !this.verdicts.has(name));
    return open.length === 0 ? '' : `no verdict for ${open.join(', ')}`;
  }

  #idOf(plan: RequestPlan): string {
    return requestIdOf(this.#inputs.get(plan.name)!);
  }
}

function inputOf(plan: RequestPlan, seed: number): ScoreInput {
  const { name, tenant, class: klass, k, meta, timeBudgetMs, stop } = plan;
  const content = {
    messages: [{ role: 'user', content: `What is ${name} of ${seed}?` }],
    responses: Array.from({ length: plan.responses }, (_, i) => `it is ${i}`),
    principles: [],
  } as const;
  return {
    ...(plan.key && { idempotencyKey: `${seed}-${name}` }),
    tenant,
    class: klass,
    content,
    contentBytes: 64,
    options: {
      k,
      meta,
      vote: meta ? 'meta_topk' : 'sum',
      timeBudgetMs,
      ...(stop !== 'none' && { stop, stopError: 0.2 }),
    },
  };
}

function tasks(cluster: VirtualCluster): string {
  const count = cluster.nats.tasks();
  return count === 0 ? '' : `${count} tasks in the queues`;
}

export function describe(verdict: Verdict | undefined): string {
  return verdict ? summaryOf(verdict) : 'none';
}
