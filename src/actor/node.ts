// Node: this process in the cluster. It keeps a lease alive, supervises its actors, and answers control messages.
//
//   D1. While the node is open and NATS answers, its lease is renewed every heartbeat, and at once when its actors, their service, its drain or its
//       standing (`tell`) change.
//   D2. A renewal that fails is trouble, told once per outage; the node and its work go on.
//   D3. The lease outlives the actors: it is dropped when they are closed, and no renewal follows the drop.
//   D4. A drain is taken at once and idempotent: the worker's handler hears of it first, then the actors; `finished` is told when the work is done.
//   D5. An order that cannot be read, or that fails, is refused with a reason; it never takes the node down.

import { randomBytes } from 'node:crypto';
import { limits } from '../limits.js';
import type { Events } from '../observe/events.js';
import { sleep, type Clock } from '../process/clock.js';
import type { ControlPlane } from '../queue/queue.js';
import type { Node as WireNode } from '../wire/gen/grm/v1/cluster.js';
import { openActor, type Actor, type ActorSpec, type ActorTiming, type Running } from './actor.js';
import { decodeMessage, encodeReply, isToken, type Message, type Reply } from './control.js';
import { describeActor } from './describe.js';
import { encodeLease, type Busy } from './lease.js';

export interface NodeLoad {
  /** Samples (or meta rewards) that it may run at once. */
  readonly slots: number;
  readonly running: number;
  /** Finished since it started. */
  readonly done: number;
  /** Finished per second over the last ten seconds. */
  readonly ratePerSecond: number;
}

/** What others should know before they count on the node. */
export interface NodeStanding {
  /** This machine's clock less NATS's; absent while that is not known. */
  readonly clockSkewMs?: number;
  /** Why it takes no work; empty: it does. */
  readonly refuses: string;
  /** Tasks that it dropped because their time was over. */
  readonly expired: number;
}

/** The node's owner carries the orders out. One that rejects is answered `refused` with its message. */
export interface NodeHandlers {
  /** Stops taking work; resolves when what runs is finished or handed back. The order is answered before that. */
  drain(): Promise<void>;
  resume(): Promise<void>;
  /** True when the request was worked on here and is now stopped. */
  cancel(requestId: string): Promise<boolean>;
  /** The slots now in force, or why not. */
  setSlots(
    slots: number,
  ): Promise<
    { readonly kind: 'slots'; readonly slots: number } | { readonly kind: 'refused'; readonly reason: string }
  >;
}

export interface NodeOptions {
  /** "coordinator", "grm-worker" or "meta-worker". */
  readonly role: string;
  readonly pool: string;
  readonly host: string;
  readonly pid: number;
  readonly version: string;
  /** Address of its gRPC door, if it has one. */
  readonly address?: string;
  /** GPUs found on it. */
  readonly gpus: number;
  /** It serves the fake engine outside its actors. */
  readonly fake?: boolean;
  readonly control: ControlPlane;
  readonly events: Events;
  readonly clock: Clock;
  load(): NodeLoad;
  /** Absent: it holds no requests. */
  busy?(): Busy;
  readonly handlers: NodeHandlers;
  /** Absent: it takes whatever work comes. */
  standing?(): NodeStanding;
  /** Given: orders to drain and to resume are refused with this reason. The node's owner may still drain it. */
  readonly refusesDrain?: string;
  /** Default limits.heartbeatMs. */
  readonly heartbeatMs?: number;
  readonly actorTiming?: Partial<ActorTiming>;
}

export interface Node {
  /** "<role>-<10 characters>": unique to this process's life. */
  readonly id: string;
  /** Throws when the name is taken, or no subject token, or there are limits.actorsMax actors. */
  spawn<R extends Running>(spec: ActorSpec<R>): Actor<R>;
  actors(): readonly Actor<Running>[];
  draining(): boolean;
  /** The same as the control message. Resolves when the work is done. */
  drain(): Promise<void>;
  resume(): Promise<void>;
  /** Something that others should know has changed: the lease is renewed before its time. */
  tell(): void;
  /** What the lease says now. */
  describe(): WireNode;
  /** Renewals that failed in a row: 0 while NATS answers. */
  heartbeatsMissed(): number;
  /** Closes the actors, then drops the lease. */
  close(): Promise<void>;
}

/** Resolves when the node answers control messages; the first renewal is on its way. Rejects when NATS is away (FaultError). */
export async function openNode(options: NodeOptions): Promise<Node> {
  if (!isToken(options.role) || options.role.length > limits.tokenCharsMax / 2)
    throw new Error(`node: the role ${JSON.stringify(options.role)} is no short token`);
  const node = new LiveNode(options);
  await node.open();
  return node;
}

class LiveNode implements Node {
  readonly id: string;
  readonly #options: NodeOptions;
  readonly #startedAtMs: number;
  readonly #actors = new Map<string, Actor<Running>>();
  readonly #closing = new AbortController();
  #unserve = (): void => undefined;
  #unhear = (): void => undefined;
  #heartbeats = Promise.resolve();
  /** Aborts when the lease should be renewed before its time. */
  #wake = new AbortController();
  #missed = 0;
  #drained: Promise<void> | undefined;
  #closed: Promise<void> | undefined;

  constructor(options: NodeOptions) {
    this.#options = options;
    this.#startedAtMs = options.clock.now();
    this.id = `${options.role}-${randomBytes(5).toString('hex')}`;
  }

  async open(): Promise<void> {
    this.#unserve = await this.#options.control.serve(this.id, (body) => this.#answer(body));
    const unhears = (['actor.changed', 'engine.service'] as const).map((name) =>
      this.#options.events.on(name, () => this.#wake.abort()),
    );
    this.#unhear = () => {
      for (const unhear of unhears) unhear();
    };
    this.#heartbeats = this.#beat();
  }

  spawn<R extends Running>(spec: ActorSpec<R>): Actor<R> {
    if (this.#closed) throw new Error('node: closed');
    if (!isToken(spec.name)) throw new Error(`node: the actor name ${JSON.stringify(spec.name)} is no token`);
    if (this.#actors.has(spec.name)) throw new Error(`node: there is an actor ${spec.name} already`);
    if (this.#actors.size >= limits.actorsMax) throw new Error(`node: more than ${limits.actorsMax} actors`);
    const { clock, events, actorTiming } = this.#options;
    const actor = openActor(spec, { node: this.id, clock, events, ...(actorTiming ? { timing: actorTiming } : {}) });
    if (this.draining()) actor.drain();
    this.#actors.set(spec.name, actor);
    return actor;
  }

  actors(): readonly Actor<Running>[] {
    return [...this.#actors.values()];
  }

  draining(): boolean {
    return this.#drained !== undefined;
  }

  drain(): Promise<void> {
    if (this.#drained) return this.#drained;
    const drained = this.#options.handlers.drain();
    this.#drained = drained;
    this.#emitDrain('started');
    for (const actor of this.#actors.values()) actor.drain();
    this.#wake.abort();
    void drained.then(
      () => {
        if (this.#drained === drained) this.#emitDrain('finished');
        this.#wake.abort();
      },
      (error: unknown) => this.#trouble('drain', error),
    );
    return drained;
  }

  async resume(): Promise<void> {
    if (!this.#drained) return;
    this.#drained = undefined;
    for (const actor of this.#actors.values()) actor.resume();
    this.#wake.abort();
    await this.#options.handlers.resume();
    this.#emitDrain('resumed');
  }

  tell(): void {
    this.#wake.abort();
  }

  describe(): WireNode {
    const { role, host, pid, version, pool, gpus, address } = this.#options;
    const { slots, running, done, ratePerSecond } = this.#options.load();
    const { clockSkewMs, refuses, expired } = this.#options.standing?.() ?? { refuses: '', expired: 0 };
    return {
      id: this.id,
      role,
      host,
      pid,
      version,
      pool,
      gpus,
      slots,
      running,
      done,
      ratePerSecond,
      actors: this.actors().map((actor) => describeActor(actor, this.#options.clock)),
      startedAtMs: this.#startedAtMs,
      heartbeatAgeMs: 0,
      address: address ?? '',
      fake: this.#options.fake === true || this.actors().some((actor) => actor.held()?.fake === true),
      draining: this.draining(),
      clockSkewMs,
      refuses: refuses.slice(0, limits.actorReasonCharsMax),
      expired,
    };
  }

  heartbeatsMissed(): number {
    return this.#missed;
  }

  close(): Promise<void> {
    this.#closed ??= this.#close();
    return this.#closed;
  }

  async #close(): Promise<void> {
    await Promise.all(this.actors().map((actor) => actor.close()));
    this.#closing.abort();
    this.#wake.abort();
    await this.#heartbeats;
    this.#unhear();
    this.#unserve();
    try {
      await this.#options.control.dropLease(this.id);
    } catch (error) {
      this.#trouble('lease not dropped; it runs out', error);
    }
  }

  /** D1-D3: the heartbeat, until close. One renewal at a time. */
  async #beat(): Promise<void> {
    const { clock, heartbeatMs = limits.heartbeatMs } = this.#options;
    while (!this.#closing.signal.aborted) {
      // `close` aborts it too.
      this.#wake = new AbortController();
      const dueAtMs = clock.steadyNow() + heartbeatMs;
      await this.#renew();
      // Changes come in bursts (eight engines start at once): they share a renewal.
      await sleep(clock, Math.min(limits.heartbeatMsMin, heartbeatMs), this.#closing.signal);
      await sleep(clock, dueAtMs - clock.steadyNow(), this.#wake.signal);
    }
  }

  async #renew(): Promise<void> {
    try {
      const busy = this.#options.busy?.() ?? { requests: [] };
      await this.#options.control.renewLease(this.id, encodeLease(this.describe(), busy));
      this.#missed = 0;
    } catch (error) {
      this.#missed += 1;
      if (this.#missed === 1) this.#trouble('lease not renewed', error);
    }
  }

  async #answer(body: Uint8Array): Promise<Uint8Array> {
    const message = decodeMessage(body);
    if (message === undefined)
      return encodeReply({ kind: 'refused', reason: 'the order cannot be read by this version' });
    try {
      return encodeReply(await this.#obey(message));
    } catch (error) {
      this.#trouble(`order ${message.kind}`, error);
      return encodeReply({ kind: 'refused', reason: error instanceof Error ? error.message : String(error) });
    }
  }

  async #obey(message: Message): Promise<Reply> {
    const { refusesDrain } = this.#options;
    if (refusesDrain !== undefined && (message.kind === 'drain' || message.kind === 'resume')) {
      return { kind: 'refused', reason: refusesDrain };
    }
    switch (message.kind) {
      case 'status':
        return { kind: 'status', node: this.describe() };
      case 'drain':
        // Its end is told by the event and by the lease: a drain may take longer than an answer.
        this.drain().catch(() => undefined);
        return { kind: 'done' };
      case 'resume':
        await this.resume();
        return { kind: 'done' };
      case 'cancel':
        return { kind: 'cancelled', cancelled: await this.#options.handlers.cancel(message.requestId) };
      case 'set_slots':
        return this.#options.handlers.setSlots(message.slots);
    }
  }

  #emitDrain(phase: 'started' | 'finished' | 'resumed'): void {
    this.#options.events.emit('node.drain', { node: this.id, phase, running: this.#options.load().running });
  }

  #trouble(what: string, error: unknown): void {
    this.#options.events.emit('trouble', { where: `node ${this.id}: ${what}`, error });
  }
}
