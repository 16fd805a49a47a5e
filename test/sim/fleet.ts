// Fleet: the nodes of a simulation by number. A node that ends comes back as a new process under a new name, as a pod does.

import { FaultError } from '../../src/fault.js';
import { sleep } from '../../src/process/clock.js';
import { limits } from '../../src/limits.js';
import type { Engine, MetaEngine } from '../../src/engine/engine.js';
import type { VirtualCluster, VirtualCoordinator, VirtualWorker } from '../support/virtual-cluster.js';
import type { Door } from './callers.js';
import type { Chance } from './chance.js';
import { simulatedEngine, simulatedMetaEngine, type EngineWorld } from './engines.js';
import type { History } from './history.js';
import type { Scenario } from './scenario.js';

export interface FleetWorld {
  readonly scenario: Scenario;
  readonly cluster: VirtualCluster;
  readonly history: History;
  readonly chance: Chance;
  /** An engine of that worker begins with a sample; true when that kills the worker. */
  readonly engine: (worker: string) => EngineWorld;
}

type Node =
  | {
      readonly role: 'coordinator';
      readonly handle: VirtualCoordinator;
      readonly break: () => void;
      readonly broken: Promise<void>;
    }
  | { readonly role: 'grm'; readonly handle: VirtualWorker<Engine> }
  | { readonly role: 'meta'; readonly handle: VirtualWorker<MetaEngine> };

export const ackWaitMs = 6_000;
const drainGraceMs = 1_500;
const breakMs = 50;

interface Place {
  readonly role: Node['role'];
  readonly name: string;
  processes: number;
  node: Node | undefined;
  state: 'serves' | 'drains' | 'gone';
}

export class Fleet {
  readonly #places: Place[];
  readonly #workers: VirtualWorker<unknown>[] = [];

  constructor(private readonly world: FleetWorld) {
    const { coordinators, workers, metaWorkers } = world.scenario;
    const places = (role: Node['role'], letter: string, count: number): Place[] =>
      Array.from({ length: count }, (_, i) => ({
        role,
        name: `${letter}${i}`,
        processes: 0,
        node: undefined,
        state: 'gone',
      }));
    this.#places = [
      ...places('coordinator', 'c', coordinators),
      ...places('grm', 'w', workers),
      ...places('meta', 'm', metaWorkers),
    ];
  }

  async start(): Promise<void> {
    for (const place of this.#places) await this.#open(place);
  }

  /** Some coordinator that takes connections. */
  door(): Door | undefined {
    const open = this.#places.flatMap(({ node, state }) =>
      node?.role === 'coordinator' && state === 'serves' ? [node] : [],
    );
    if (open.length === 0) return undefined;
    const { handle, broken } = this.world.chance.of(open);
    const { enter } = handle.process;
    return {
      id: handle.id,
      broken,
      // What a caller does reaches a process that stands still when it goes on.
      score: (input, { signal, onSample }, deadlineMs) =>
        new Promise((resolve) => {
          const gone = new AbortController();
          signal.addEventListener('abort', () => enter(() => gone.abort()));
          enter(() => {
            const deadlineAtMs = handle.process.now() + deadlineMs;
            void handle
              .score(input, { deadlineAtMs, signal: gone.signal, ...(onSample && { onSample }) })
              .then(resolve);
          });
        }),
    };
  }

  /** Every coordinator hears of it, as an operator's cancel is passed on. */
  cancel(requestId: string): void {
    for (const { node } of this.#places) {
      if (node?.role === 'coordinator') node.handle.process.enter(() => void node.handle.service.cancel(requestId));
    }
  }

  kill(number: number, backAfterMs: number): void {
    const place = this.#places[number];
    if (place?.node) this.#kill(place, backAfterMs, 'is killed');
  }

  /** What it draws or ranks kills it. */
  poisoned(worker: string): void {
    const place = this.#places.find(({ node }) => node?.handle.id === worker);
    if (place) this.#kill(place, 500, 'dies of what it works on');
  }

  stall(number: number, forMs: number): void {
    const place = this.#places[number];
    if (place?.node?.handle.process.state !== 'runs') return;
    const { handle } = place.node;
    this.world.history.add({ kind: 'fault', what: `${handle.id} stands still for ${forMs} ms` });
    handle.stall();
    this.world.cluster.clock.after(forMs, () => this.#resume(handle));
  }

  /** Somebody sets the clock of its machine. */
  setClock(number: number, skewMs: number): void {
    const { node } = this.#places[number] ?? {};
    if (!node) return;
    this.world.history.add({ kind: 'fault', what: `the clock of ${node.handle.id} is set to be ${skewMs} ms ahead` });
    node.handle.process.skewMs = skewMs;
  }

  drain(number: number, backAfterMs: number): void {
    const { cluster, history } = this.world;
    const place = this.#places[number];
    const node = place?.node;
    if (!place || place.state !== 'serves' || node?.handle.process.state !== 'runs') return;
    history.add({ kind: 'fault', what: `${node.handle.id} drains` });
    place.state = 'drains';
    cluster.clock.after(backAfterMs, () => void this.#reopen(place));
    void node.handle.drain(drainGraceMs).then(() => {
      history.add({ kind: 'said', node: node.handle.id, what: 'has drained' });
      this.#inspect(node, true);
      node.handle.kill();
      if (node.role === 'coordinator') node.break();
    });
  }

  /** Every node runs again. */
  async heal(): Promise<void> {
    for (const place of this.#places) {
      if (place.node?.handle.process.state === 'stalled') this.#resume(place.node.handle);
      if (place.state !== 'serves') await this.#reopen(place);
    }
  }

  /** What is under way, in words; empty when nothing is. */
  busy(): string {
    return this.#places
      .flatMap(({ node }) => {
        if (!node) return [];
        const { handle } = node;
        const held =
          node.role === 'coordinator'
            ? node.handle.service.busy().requestIds.length + node.handle.service.load().requestsInFlight
            : node.handle.loop.running();
        return held > 0 ? [`${handle.id} holds ${held}`] : [];
      })
      .join(', ');
  }

  /** Tells what every node still holds. */
  inspect(): void {
    for (const { node } of this.#places) if (node) this.#inspect(node, false);
  }

  /**
   * Frees what dead workers still wait for. Node keeps a signal made of others alive for as long as somebody listens to it, and a dead
   * process listens for ever. Call it when the history is taken: what it sets off is of no world.
   */
  bury(): void {
    for (const { cancellations } of this.#workers) {
      for (const requestId of [...cancellations.running()]) cancellations.cancel(requestId);
    }
  }

  /** Never more than its bounds, and one that is taken up again (A1). */
  weigh(coordinator: string): void {
    const node = this.#places.find((place) => place.node?.handle.id === coordinator)?.node;
    if (node?.role !== 'coordinator') return;
    const { requestsInFlight } = node.handle.service.load();
    const max = this.world.scenario.requestsMax + 1;
    if (requestsInFlight > max) {
      this.world.history.add({ kind: 'held', what: `${coordinator} requests`, count: requestsInFlight, max });
    }
  }

  #inspect(node: Node, drained: boolean): void {
    const { history } = this.world;
    const { id, process } = node.handle;
    const held = (what: string, count: number, max = 0): void => {
      if (count > 0) history.add({ kind: 'held', what: `${id} ${what}`, count, max });
    };
    if (node.role === 'coordinator') {
      const { service } = node.handle;
      const { requestsInFlight, samplesInFlight, bytesInFlight, waiting } = service.load();
      held('requests', requestsInFlight);
      held('samples', samplesInFlight);
      held('bytes', bytesInFlight);
      held('waiting shards', waiting);
      held('running requests', service.busy().requestIds.length);
      // One for the ticks and one for the look for unfinished requests.
      held('timers', process.timers, drained ? 0 : 2);
      return;
    }
    const { credit, loop, cancellations } = node.handle;
    held('samples', credit.taken);
    held('deliveries', loop.running());
    held('watched requests', [...cancellations.running()].length);
    // One for the pause after a pull that failed.
    held('timers', process.timers, 1);
  }

  #kill(place: Place, backAfterMs: number, how: string): void {
    const { cluster, history } = this.world;
    const { node } = place;
    if (!node || node.handle.process.state === 'dead') return;
    history.add({ kind: 'fault', what: `${node.handle.id} ${how}` });
    node.handle.kill();
    if (node.role === 'coordinator') cluster.clock.after(breakMs, node.break);
    // A drained one has its successor on the way.
    if (place.state !== 'serves') return;
    place.state = 'gone';
    cluster.clock.after(backAfterMs, () => void this.#reopen(place));
  }

  #resume(handle: Node['handle']): void {
    if (handle.process.state !== 'stalled') return;
    this.world.history.add({ kind: 'fault', what: `${handle.id} goes on` });
    handle.resume();
  }

  async #reopen(place: Place): Promise<void> {
    if (place.state === 'serves') return;
    await this.#open(place);
    this.world.history.add({ kind: 'fault', what: `${place.node?.handle.id ?? ''} starts` });
  }

  /** A worker that cannot reach the server ends and is started again, as its pod is. */
  async #open(place: Place): Promise<void> {
    place.state = 'serves';
    for (;;) {
      try {
        return await this.#launch(place);
      } catch (error) {
        if (!(error instanceof FaultError)) throw error;
        await sleep(this.world.cluster.clock, 500);
      }
    }
  }

  async #launch(place: Place): Promise<void> {
    const { cluster, scenario, engine } = this.world;
    const id = `${place.name}-${place.processes++}`;
    const options = { slots: scenario.slots, renewEveryMs: ackWaitMs / 3, cautionMs: limits.workerCautionMs };
    switch (place.role) {
      case 'coordinator': {
        let cut: () => void = () => undefined;
        const broken = new Promise<void>((resolve) => (cut = resolve));
        const handle = cluster.coordinator(id, {}, await cluster.enter(id));
        place.node = { role: 'coordinator', handle, break: cut, broken };
        return;
      }
      case 'grm': {
        const make = (clock: Parameters<typeof simulatedEngine>[0]) => simulatedEngine(clock, engine(id));
        place.node = { role: 'grm', handle: await cluster.worker(id, { ...options, engine: make }) };
        this.#workers.push(place.node.handle);
        return;
      }
      case 'meta': {
        const make = (clock: Parameters<typeof simulatedMetaEngine>[0]) => simulatedMetaEngine(clock, engine(id));
        place.node = { role: 'meta', handle: await cluster.metaWorker(id, { ...options, engine: make }) };
        this.#workers.push(place.node.handle);
        return;
      }
    }
  }
}
