// Actor: one supervised thing on this node, an engine most often. Starts it, watches it, starts it again, drains it, closes it.
//
//   A1. At most one start or resource exists at a time: a new start waits until the last resource is closed, so two engines never share a GPU.
//   A2. `current` is undefined from the moment a failure, a drain or a close is known: no new work reaches what is going down.
//   A3. A resource that came up is closed exactly once, also when its start was withdrawn meanwhile.
//   A4. Every wait ends: starts, health checks and closes have time-outs; one that ignores them is reported and left behind.
//   A5. A start that fails with UnfitModel is the last one, whatever the policy: no other try would help.

import { UnfitModel, type Health, type OutOfService } from '../engine/engine.js';
import { limits } from '../limits.js';
import type { Events } from '../observe/events.js';
import { sleep, type Clock } from '../process/clock.js';
import { pending, resourceOf, transition, type Lifecycle, type LifecycleEvent } from './lifecycle.js';
import { judge, restartDefaults, unharmed, type RestartPolicy } from './supervision.js';

/** What a start brings up. Engines satisfy it through engine/supervised.ts. */
export interface Running {
  readonly model: string;
  readonly description: string;
  /** True for the fake engine: its judgements mean nothing. */
  readonly fake: boolean;
  /** Names the model and every setting that changes what it says; absent where nobody has named them. */
  readonly judgeId?: string;
  /** Things it does now. */
  running(): number;
  /** Why it gets no work though it is up; undefined or absent: it does. */
  outOfService?(): OutOfService | undefined;
  health(signal: AbortSignal): Promise<Health>;
  /** Resolves with the reason when it goes down by itself; never rejects. */
  readonly died: Promise<string>;
  close(): Promise<void>;
}

export interface ActorSpec<R extends Running> {
  /** "engine", "meta-engine". */
  readonly kind: string;
  /** Unique on its node. */
  readonly name: string;
  /** Indexes that it holds. */
  readonly gpus: readonly number[];
  /** Things it may do at once. */
  readonly concurrencyMax: number;
  /** Connections that it opens for that; absent: none. */
  readonly connections?: number;
  /** Restarts after failures in a row; -1 for no end. */
  readonly restartsMax: number;
  /** Overrides the timing's, for what is known to load longer. */
  readonly startTimeoutMs?: number;
  /** Rejects with the reason when it cannot come up, with UnfitModel when it never will; frees what it took when `signal` aborts. */
  start(signal: AbortSignal): Promise<R>;
}

export interface ActorTiming extends Omit<RestartPolicy, 'restartsMax'> {
  /** From start to alive; big models load for minutes. */
  readonly startTimeoutMs: number;
  readonly healthPeriodMs: number;
  readonly healthTimeoutMs: number;
  /** Failed checks in a row that make it failed. */
  readonly healthFailuresMax: number;
  readonly closeTimeoutMs: number;
}

/** Health checks as in Ray Serve: every 10 s, 30 s each, three in a row. */
export const actorTimingDefaults: ActorTiming = {
  ...restartDefaults,
  startTimeoutMs: 30 * 60_000,
  healthPeriodMs: 10_000,
  healthTimeoutMs: 30_000,
  healthFailuresMax: 3,
  closeTimeoutMs: 30_000,
};

export interface ActorDependencies {
  /** Id of the node that it lives on. */
  readonly node: string;
  readonly clock: Clock;
  readonly events: Events;
  readonly timing?: Partial<ActorTiming>;
}

export interface Actor<R extends Running> {
  /** "<node>.<name>". */
  readonly id: string;
  readonly spec: ActorSpec<R>;
  state(): Lifecycle<R>;
  /** The resource while alive: for new work. */
  current(): R | undefined;
  /** The resource while alive and in service. */
  serving(): R | undefined;
  /** The resource while alive or draining: to finish work that was taken before a drain. */
  held(): R | undefined;
  /** Things it may do at once; starts at the spec's value. */
  concurrencyMax(): number;
  setConcurrencyMax(concurrencyMax: number): void;
  /** Takes no new work and does not start until a resume. */
  drain(): void;
  resume(): void;
  /** Closes the resource and ends the actor for good. */
  close(): Promise<void>;
}

/** Starts to start: the actor is pending when this returns. */
export function openActor<R extends Running>(spec: ActorSpec<R>, dependencies: ActorDependencies): Actor<R> {
  return new SupervisedActor(spec, dependencies);
}

type Start<R> =
  | { readonly kind: 'up'; readonly resource: R }
  | { readonly kind: 'failed'; readonly reason: string; readonly hopeless: boolean };

type End = { readonly kind: 'failed'; readonly reason: string } | { readonly kind: 'closing' };

class SupervisedActor<R extends Running> implements Actor<R> {
  readonly id: string;
  readonly #clock: Clock;
  readonly #events: Events;
  readonly #timing: ActorTiming;
  readonly #closing = new AbortController();
  readonly #done: Promise<void>;
  #state: Lifecycle<R>;
  #history = unharmed;
  #aliveAtMs = 0;
  #concurrencyMax: number;
  /** One start and what came of it. Aborts when it is not wanted any more. */
  #life = new AbortController();
  /** Aborts at the next change of state. */
  #change = new AbortController();

  constructor(
    readonly spec: ActorSpec<R>,
    { node, clock, events, timing }: ActorDependencies,
  ) {
    this.id = `${node}.${spec.name}`;
    this.#clock = clock;
    this.#events = events;
    this.#timing = {
      ...actorTimingDefaults,
      ...timing,
      ...(spec.startTimeoutMs === undefined ? {} : { startTimeoutMs: spec.startTimeoutMs }),
    };
    this.#concurrencyMax = spec.concurrencyMax;
    this.#state = pending(clock.steadyNow());
    this.#done = this.#supervise().catch((error: unknown) => {
      this.#trouble('supervisor', error);
      this.#end(`bug in its supervisor: ${words(error)}`);
    });
  }

  state(): Lifecycle<R> {
    return this.#state;
  }

  current(): R | undefined {
    return this.#state.kind === 'alive' ? this.#state.resource : undefined;
  }

  serving(): R | undefined {
    const resource = this.current();
    return resource?.outOfService?.() === undefined ? resource : undefined;
  }

  held(): R | undefined {
    return resourceOf(this.#state);
  }

  concurrencyMax(): number {
    return this.#concurrencyMax;
  }

  setConcurrencyMax(concurrencyMax: number): void {
    this.#concurrencyMax = concurrencyMax;
  }

  drain(): void {
    const { kind } = this.#state;
    if (kind === 'dead' || kind === 'draining') return;
    if (kind === 'starting') this.#life.abort();
    this.#apply({ kind: 'drain' });
  }

  resume(): void {
    if (this.#closing.signal.aborted) return;
    if (this.#state.kind === 'draining' || this.#state.kind === 'pending') this.#apply({ kind: 'resume' });
  }

  close(): Promise<void> {
    if (!this.#closing.signal.aborted) {
      this.#closing.abort();
      if (this.#state.kind === 'alive') this.#apply({ kind: 'drain' });
      this.#life.abort();
      this.#change.abort();
    }
    return this.#done;
  }

  /** The actor's whole life. */
  async #supervise(): Promise<void> {
    // The caller holds the actor before its first change is told.
    await Promise.resolve();
    while (await this.#start()) {
      const resource = this.#life.signal.aborted ? undefined : await this.#bringUp(this.#life);
      if (resource === undefined) continue;
      const end = await this.#watch(resource, this.#life.signal);
      if (end.kind === 'failed') this.#fail(end.reason, this.#clock.steadyNow() - this.#aliveAtMs);
      await this.#release(resource);
    }
    this.#end('closed');
  }

  /** Waits until it is time for a start and makes it; false when there will be none. The change of state and its own signal come in one step: no drain falls between them. */
  async #start(): Promise<boolean> {
    for (;;) {
      const state = this.#state;
      if (this.#closing.signal.aborted || state.kind === 'dead') return false;
      const waitMs =
        state.kind === 'restarting'
          ? state.retryAtMs - this.#clock.steadyNow()
          : state.kind === 'pending' && !state.held
            ? 0
            : Infinity;
      if (waitMs <= 0) {
        this.#life = new AbortController();
        this.#apply({ kind: 'start' });
        return true;
      }
      await sleep(this.#clock, waitMs, this.#change.signal);
    }
  }

  /** The resource, alive; undefined when the start failed or is not wanted any more. */
  async #bringUp(life: AbortController): Promise<R | undefined> {
    let late = false as boolean;
    const cancelTimer = this.#clock.after(this.#timing.startTimeoutMs, () => {
      late = true;
      life.abort();
    });
    const settled = settle(() => this.spec.start(life.signal));
    const start = await Promise.race([settled, aborted(life.signal)]);
    cancelTimer();
    if (start === 'aborted' || life.signal.aborted) {
      await this.#withdraw(settled);
      if (late) this.#fail(`did not come up within ${this.#timing.startTimeoutMs} ms`, 0);
      return undefined;
    }
    if (start.kind === 'failed') {
      this.#fail(start.reason, 0, start.hopeless);
      return undefined;
    }
    this.#aliveAtMs = this.#clock.steadyNow();
    this.#apply({ kind: 'started', resource: start.resource });
    return start.resource;
  }

  /** A1, A3: waits for an aborted start to end, and closes what it brought up nevertheless. */
  async #withdraw(settled: Promise<Start<R>>): Promise<void> {
    const closed = settled.then((start) => (start.kind === 'up' ? this.#release(start.resource) : undefined));
    if ((await this.#within(this.#timing.closeTimeoutMs, closed)) === 'late')
      this.#trouble('start', new Error('did not stop when told; left behind'));
  }

  /** Until it dies, fails its health checks, or is closed. A draining resource is watched on. */
  async #watch(resource: R, closing: AbortSignal): Promise<End> {
    const watching = new AbortController();
    try {
      return await Promise.race<End>([
        aborted(closing).then(() => ({ kind: 'closing' })),
        resource.died.then((reason) => ({ kind: 'failed', reason })),
        this.#untilUnhealthy(resource, watching.signal),
      ]);
    } finally {
      watching.abort();
    }
  }

  async #untilUnhealthy(resource: R, signal: AbortSignal): Promise<End> {
    let failures = 0;
    for (;;) {
      await sleep(this.#clock, this.#timing.healthPeriodMs, signal);
      if (signal.aborted) return { kind: 'closing' };
      const health = await this.#checkHealth(resource, signal);
      failures = health.kind === 'ok' ? 0 : failures + 1;
      if (health.kind === 'failing' && failures >= this.#timing.healthFailuresMax)
        return { kind: 'failed', reason: `${failures} health checks failed: ${health.reason}` };
    }
  }

  async #checkHealth(resource: R, signal: AbortSignal): Promise<Health> {
    const check = new AbortController();
    const stop = (): void => check.abort();
    signal.addEventListener('abort', stop);
    const asked = Promise.resolve()
      .then(() => resource.health(check.signal))
      .catch((error: unknown): Health => ({ kind: 'failing', reason: words(error) }));
    const health = await this.#within(this.#timing.healthTimeoutMs, asked);
    signal.removeEventListener('abort', stop);
    check.abort();
    return health === 'late' ? { kind: 'failing', reason: `no answer in ${this.#timing.healthTimeoutMs} ms` } : health;
  }

  async #release(resource: R): Promise<void> {
    const closed = Promise.resolve()
      .then(() => resource.close())
      .catch((error: unknown) => this.#trouble('close', error));
    if ((await this.#within(this.#timing.closeTimeoutMs, closed)) === 'late')
      this.#trouble('close', new Error(`not closed after ${this.#timing.closeTimeoutMs} ms; left behind`));
  }

  #fail(reason: string, aliveMs: number, hopeless = false): void {
    if (this.#closing.signal.aborted) return;
    // A drain came while the start was failing: it waits for the resume already.
    if (this.#state.kind === 'pending') return;
    if (this.#state.kind === 'draining') {
      this.#apply({ kind: 'failed', reason });
      return;
    }
    // A5.
    if (hopeless) {
      this.#apply({ kind: 'failed', reason });
      return;
    }
    const { restartsMax } = this.spec;
    const judgement = judge({ ...this.#timing, restartsMax }, this.#history, aliveMs, this.id);
    this.#history = judgement.history;
    if (judgement.kind === 'give_up')
      this.#apply({ kind: 'failed', reason: `given up after ${restartsMax} restarts: ${reason}` });
    else this.#apply({ kind: 'failed', reason, retryAtMs: this.#clock.steadyNow() + judgement.delayMs });
  }

  #end(reason: string): void {
    if (this.#state.kind !== 'dead') this.#apply({ kind: 'ended', reason });
  }

  #apply(event: LifecycleEvent<R>): void {
    const from = this.#state;
    this.#state = transition(from, event, this.#clock.steadyNow());
    const change = this.#change;
    this.#change = new AbortController();
    change.abort();
    if (this.#state.kind === from.kind) return;
    this.#events.emit('actor.changed', {
      id: this.id,
      kind: this.spec.kind,
      name: this.spec.name,
      from: from.kind,
      to: this.#state.kind,
      reason: this.#state.reason.slice(0, limits.actorReasonCharsMax),
    });
  }

  async #within<T>(timeoutMs: number, work: Promise<T>): Promise<T | 'late'> {
    let cancel = (): void => undefined;
    const late = new Promise<'late'>((resolve) => {
      cancel = this.#clock.after(timeoutMs, () => resolve('late'));
    });
    const first = await Promise.race([work, late]);
    cancel();
    return first;
  }

  #trouble(what: string, error: unknown): void {
    this.#events.emit('trouble', { where: `actor ${this.id}: ${what}`, error });
  }
}

/** Begins at once: `start` sees its signal abort, never already aborted. */
async function settle<R>(start: () => Promise<R>): Promise<Start<R>> {
  try {
    return { kind: 'up', resource: await start() };
  } catch (error) {
    return { kind: 'failed', reason: words(error), hopeless: error instanceof UnfitModel };
  }
}

function aborted(signal: AbortSignal): Promise<'aborted'> {
  if (signal.aborted) return Promise.resolve('aborted');
  return new Promise((resolve) => signal.addEventListener('abort', () => resolve('aborted'), { once: true }));
}

function words(error: unknown): string {
  return error instanceof Error ? error.message : String(error);
}
