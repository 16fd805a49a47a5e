// Registry: who is in the cluster, as the leases tell. It reads all leases every heartbeat and keeps what it read.
//
//   R1. `alive` never guesses: with knowledge older than a lease it is `unknown`, so nobody takes over work on stale knowledge.
//   R2. A node is dead (`false`) only after a lease's time of reading without it, and only when the reading was unbroken for two leases'
//       time. A gap (NATS away, this process stopped) starts that time again: after a server that was down, or lost its leases, every node
//       has the time to reconnect and renew.
//   R3. A node whose lease is there is alive, at once.
//   R4. A lease that cannot be read is left out of `nodes` and told once; it hides nobody else, and its node is alive.
//   R5. What a coordinator asks at every request (`pool`, `taking`) is counted once per reading, however many nodes there are.

import { limits } from '../limits.js';
import type { Events } from '../observe/events.js';
import { sleep, type Clock } from '../process/clock.js';
import type { ControlPlane } from '../queue/queue.js';
import { ActorState } from '../wire/gen/grm/v1/cluster.js';
import { actorStates } from './describe.js';
import { decodeLease, type NodeInfo } from './lease.js';

export interface RegistryOptions {
  readonly control: ControlPlane;
  readonly clock: Clock;
  readonly events: Events;
  /** Default limits.heartbeatMs. */
  readonly refreshMs?: number;
  /** Default limits.leaseMs. */
  readonly leaseMs?: number;
}

/** What live nodes have in their hands, for the janitor. */
export interface ClusterWork {
  readonly busy: ReadonlySet<string>;
  /** False when a node had more than it could list, or when not every live node is known for sure (R1, R2): then `busy` is not all. */
  readonly complete: boolean;
  /** Of the live nodes' open requests; absent when they have none. */
  readonly oldestOpenAtMs?: number;
}

/** A pool as its nodes' leases add up. */
export interface PoolCount {
  /** At least one a node: one that has just begun has not made its engines yet. */
  readonly engines: number;
  readonly slots: number;
  /** Slots in use. */
  readonly running: number;
  readonly serving: number;
  readonly expected: number;
}

export interface Registry {
  /** Live nodes of the last reading, ordered by id. `heartbeatAgeMs` is up to date. */
  nodes(): readonly NodeInfo[];
  alive(nodeId: string): boolean | 'unknown';
  /** The reading is unbroken for long enough that a node which is not there is not there (R2). */
  known(): boolean;
  /** Nodes of that role and pool that take work: neither draining nor refusing, with an engine alive. The last known number while NATS is away. */
  serving(role: string, pool: string): number;
  /** The same, and those that are about to: their engine loads, or is started again. Not those that drain, refuse work or have given up. */
  expected(role: string, pool: string): number;
  /** Of that role and pool's nodes that take work. */
  pool(role: string, pool: string): PoolCount;
  /** Why none of them serves, in their own words; undefined while one does, and while the leases cannot be read. */
  outage(role: string, pool: string): string | undefined;
  /** Names of that role's nodes that take work. */
  taking(role: string): readonly string[];
  work(): ClusterWork;
  /** Called when nodes come, go, drain or resume, or their actors change state. The returned function ends it. */
  onChange(hear: () => void): () => void;
  /** Reads now; resolves when read, or when it could not be. */
  refresh(): Promise<void>;
  close(): Promise<void>;
}

/** Resolves after the first reading, also when it failed: then everything is unknown until one succeeds. */
export async function openRegistry(options: RegistryOptions): Promise<Registry> {
  const registry = new LeaseRegistry(options);
  await registry.open();
  return registry;
}

class LeaseRegistry implements Registry {
  readonly #control: ControlPlane;
  readonly #clock: Clock;
  readonly #events: Events;
  readonly #refreshMs: number;
  readonly #leaseMs: number;
  readonly #closing = new AbortController();
  readonly #hearers = new Set<() => void>();
  #loop = Promise.resolve();
  #reading: Promise<void> | undefined;
  #nodes: ReadonlyMap<string, NodeInfo> = new Map();
  /** R5: of the last reading, by role and pool, and by role. */
  readonly #pools = new Map<string, PoolCount>();
  readonly #taking = new Map<string, readonly string[]>();
  /** Names of all leases of the last reading, the unreadable ones too (R3). */
  #present: ReadonlySet<string> = new Set();
  /** When each node was last read, kept for a lease's time after it went (R2). */
  #seenAtMs = new Map<string, number>();
  #readAtMs = -Infinity;
  /** Begin of the unbroken reading. */
  #unbrokenSinceMs = Infinity;
  #failing = false;
  #unreadable: ReadonlySet<string> = new Set();
  #print = '';

  constructor({ control, clock, events, refreshMs, leaseMs }: RegistryOptions) {
    this.#control = control;
    this.#clock = clock;
    this.#events = events;
    this.#refreshMs = refreshMs ?? limits.heartbeatMs;
    this.#leaseMs = leaseMs ?? limits.leaseMs;
  }

  async open(): Promise<void> {
    await this.refresh();
    this.#loop = this.#poll();
  }

  nodes(): readonly NodeInfo[] {
    const sinceMs = Math.max(0, this.#clock.steadyNow() - this.#readAtMs);
    return [...this.#nodes.values()].map((info) => ({
      ...info,
      node: { ...info.node, heartbeatAgeMs: info.node.heartbeatAgeMs + sinceMs },
    }));
  }

  alive(nodeId: string): boolean | 'unknown' {
    if (this.#stale()) return 'unknown';
    if (this.#present.has(nodeId)) return true;
    const absentMs = this.#readAtMs - (this.#seenAtMs.get(nodeId) ?? -Infinity);
    return this.known() && absentMs >= this.#leaseMs ? false : 'unknown';
  }

  known(): boolean {
    return !this.#stale() && this.#readAtMs - this.#unbrokenSinceMs >= 2 * this.#leaseMs;
  }

  serving(role: string, pool: string): number {
    return this.pool(role, pool).serving;
  }

  expected(role: string, pool: string): number {
    return this.pool(role, pool).expected;
  }

  pool(role: string, pool: string): PoolCount {
    const key = `${role} ${pool}`;
    let count = this.#pools.get(key);
    if (!count) this.#pools.set(key, (count = this.#count(role, pool)));
    return count;
  }

  outage(role: string, pool: string): string | undefined {
    if (this.#stale()) return undefined;
    const { serving } = this.pool(role, pool);
    if (serving > 0) return undefined;
    const nodes = [...this.#nodes.values()].filter(({ node }) => node.role === role && node.pool === pool);
    if (nodes.length === 0) return `no ${role} of pool ${pool} is in the cluster`;
    const told = nodes.flatMap(({ node }) => {
      const ours = node.actors.filter(({ kind }) => engineKinds.has(kind));
      if (node.draining || ours.length === 0) return [{ id: node.id, says: node.draining ? 'draining' : 'starting' }];
      return ours.map(({ id, state, stateReason }) => ({
        id,
        says: stateReason === '' ? (stateWords.get(state) ?? '') : stateReason,
      }));
    });
    const [first, ...more] = told;
    if (first === undefined) return undefined;
    return `no engine serves: ${first.id}: ${first.says}${more.length === 0 ? '' : ` (and ${more.length} more)`}`;
  }

  taking(role: string): readonly string[] {
    let ids = this.#taking.get(role);
    if (!ids) {
      ids = [...this.#nodes.values()].flatMap(({ node }) => (node.role === role && takes(node) ? [node.id] : []));
      this.#taking.set(role, ids);
    }
    return ids;
  }

  #count(role: string, pool: string): PoolCount {
    const count = { engines: 0, slots: 0, running: 0, serving: 0, expected: 0 };
    for (const { node } of this.#nodes.values()) {
      if (node.role !== role || node.pool !== pool || !takes(node)) continue;
      const engines = node.actors.filter(({ kind }) => engineKinds.has(kind));
      count.engines += Math.max(1, node.actors.length);
      count.slots += node.slots;
      count.running += node.running;
      if (engines.some(({ state }) => state === ActorState.ALIVE)) count.serving++;
      // A node that has just begun has not made its engines yet.
      if (engines.length === 0 || engines.some(({ state }) => state !== ActorState.DEAD)) count.expected++;
    }
    return count;
  }

  work(): ClusterWork {
    const infos = [...this.#nodes.values()];
    const openAtMs = infos.flatMap((info) => info.oldestOpenAtMs ?? []);
    return {
      busy: new Set(infos.flatMap((info) => info.busyRequests)),
      complete: this.known() && this.#unreadable.size === 0 && !infos.some((info) => info.busyCut),
      ...(openAtMs.length > 0 ? { oldestOpenAtMs: Math.min(...openAtMs) } : {}),
    };
  }

  onChange(hear: () => void): () => void {
    this.#hearers.add(hear);
    return () => void this.#hearers.delete(hear);
  }

  refresh(): Promise<void> {
    this.#reading ??= this.#read().finally(() => (this.#reading = undefined));
    return this.#reading;
  }

  async close(): Promise<void> {
    this.#closing.abort();
    await this.#loop;
  }

  async #poll(): Promise<void> {
    for (;;) {
      await sleep(this.#clock, this.#refreshMs, this.#closing.signal);
      if (this.#closing.signal.aborted) return;
      await this.refresh();
    }
  }

  #stale(): boolean {
    return this.#failing || this.#clock.steadyNow() - this.#readAtMs > this.#leaseMs;
  }

  async #read(): Promise<void> {
    try {
      this.#take(await this.#control.leases());
    } catch (error) {
      if (!this.#failing) this.#events.emit('trouble', { where: 'registry: leases not read', error });
      this.#failing = true;
    }
  }

  #take(leases: Awaited<ReturnType<ControlPlane['leases']>>): void {
    const now = this.#clock.steadyNow();
    if (this.#failing || now - this.#readAtMs > this.#leaseMs || now < this.#readAtMs) this.#unbrokenSinceMs = now;
    this.#failing = false;
    this.#readAtMs = now;

    const nodes = new Map<string, NodeInfo>();
    const unreadable = new Set<string>();
    for (const { name, body, ageMs } of leases) {
      const info = decodeLease(body, ageMs);
      // The role as well: a worker may write leases of workers only, and must not pass for a coordinator in one.
      const own = info?.node.id === name && name.startsWith(`${info.node.role}-`);
      if (own && nodes.size < limits.nodesMax) nodes.set(name, info);
      else if (unreadable.size < limits.nodesMax) unreadable.add(name);
    }
    this.#nodes = new Map([...nodes].sort(([a], [b]) => (a < b ? -1 : 1)));
    this.#pools.clear();
    this.#taking.clear();
    this.#present = new Set(leases.map(({ name }) => name));
    this.#remember(now);
    this.#tellUnreadable(unreadable);
    this.#tellChange();
  }

  #remember(now: number): void {
    for (const [nodeId, atMs] of this.#seenAtMs) if (now - atMs > this.#leaseMs) this.#seenAtMs.delete(nodeId);
    for (const nodeId of this.#present) this.#seenAtMs.set(nodeId, now);
  }

  #tellUnreadable(unreadable: ReadonlySet<string>): void {
    for (const name of unreadable)
      if (!this.#unreadable.has(name))
        this.#events.emit('trouble', { where: 'registry', error: new Error(`the lease ${name} cannot be read`) });
    this.#unreadable = unreadable;
  }

  #tellChange(): void {
    const print = JSON.stringify(
      [...this.#nodes.values()].map(({ node }) => [
        node.id,
        node.draining,
        node.refuses,
        node.actors.map((actor) => [actor.id, actor.state]),
      ]),
    );
    if (print === this.#print) return;
    this.#print = print;
    for (const hear of this.#hearers) {
      try {
        hear();
      } catch (error) {
        this.#events.emit('trouble', { where: 'listener of the registry', error });
      }
    }
  }
}

const stateWords: ReadonlyMap<ActorState, string> = new Map(
  Object.entries(actorStates).map(([word, state]) => [state, word]),
);
/** Whether work may be left to it. */
function takes(node: NodeInfo['node']): boolean {
  return !node.draining && node.refuses === '';
}

/** Kinds of actor that do a pool's work. */
const engineKinds: ReadonlySet<string> = new Set(['engine', 'meta-engine']);
