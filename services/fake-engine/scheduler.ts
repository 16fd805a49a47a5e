// Continuous batching: every step gives each running sequence one token, and sequences join and leave between steps.
//
// A step takes `base + perSequence * running + prefill`, so throughput grows with concurrency until the sequences' own cost rules:
// what a load test needs to find saturation. Unlike vLLM, a sequence reserves the blocks of its whole output on admission, so that none is
// ever preempted, and a prompt is prefilled in one step.
//
//   S1. running <= maxNumSeqs, and the blocks of the running sequences fit the cache; the rest waits in order (priority, then arrival).
//   S2. Every submitted sequence ends exactly once: `onEnd('done')`, or `onEnd('aborted')`.
//   S3. A sequence that is held (a fault) keeps its place and its blocks, and costs no timer while nothing else runs.
import type { Clock } from './clock.js';
import type { Allocation, PrefixCache } from './prefix-cache.js';

export interface SequenceSpec {
  readonly promptKeys: readonly number[];
  readonly promptTokens: number;
  /** Tokens it will generate, at least 1. */
  readonly outputTokens: number;
  /** Lower goes first. */
  readonly priority: number;
  /** Time between admission and the first token, milliseconds; Infinity = until aborted. */
  readonly heldMs: number;
  onStart(cachedTokens: number): void;
  /** `produced` tokens exist now. */
  onTokens(produced: number): void;
  onEnd(how: 'done' | 'aborted'): void;
}

export interface SchedulerOptions {
  readonly maxNumSeqs: number;
  readonly stepBaseMs: number;
  readonly stepPerSequenceMs: number;
  readonly prefillTokensPerSecond: number;
  /** All tokens in one step that takes no time. */
  readonly instant: boolean;
}

type Phase =
  | { readonly kind: 'waiting' }
  | { readonly kind: 'running'; readonly allocation: Allocation; readonly fromMs: number; produced: number }
  | { readonly kind: 'ended' };

interface Sequence {
  readonly spec: SequenceSpec;
  phase: Phase;
}

/** A step under way, or the wait for a held sequence; `idle` when there is nothing to do. */
type Plan = { readonly kind: 'idle' } | { readonly kind: 'step' | 'hold'; readonly callOff: () => void };

export class Scheduler {
  readonly #options: SchedulerOptions;
  readonly #cache: PrefixCache;
  readonly #clock: Clock;
  readonly #waiting: Sequence[] = [];
  readonly #running = new Set<Sequence>();
  #prefillTokens = 0;
  #steps = 0;
  #plan: Plan = { kind: 'idle' };

  constructor(options: SchedulerOptions, cache: PrefixCache, clock: Clock) {
    this.#options = options;
    this.#cache = cache;
    this.#clock = clock;
  }

  /** So far. */
  get steps(): number {
    return this.#steps;
  }

  get running(): number {
    return this.#running.size;
  }

  get waiting(): number {
    return this.#waiting.length;
  }

  /** Queues a sequence; the returned function aborts it. */
  submit(spec: SequenceSpec): () => void {
    const sequence: Sequence = { spec, phase: { kind: 'waiting' } };
    let at = this.#waiting.length;
    while (at > 0 && this.#waiting[at - 1]!.spec.priority > spec.priority) at--;
    this.#waiting.splice(at, 0, sequence);
    this.#replan();
    return () => this.#abort(sequence);
  }

  close(): void {
    for (const sequence of [...this.#waiting, ...this.#running]) this.#abort(sequence);
  }

  #abort(sequence: Sequence): void {
    if (sequence.phase.kind === 'ended') return;
    const place = this.#waiting.indexOf(sequence);
    if (place >= 0) this.#waiting.splice(place, 1);
    this.#end(sequence, 'aborted');
    this.#replan();
  }

  #end(sequence: Sequence, how: 'done' | 'aborted'): void {
    if (sequence.phase.kind === 'running') {
      this.#running.delete(sequence);
      this.#cache.release(sequence.phase.allocation);
    }
    sequence.phase = { kind: 'ended' };
    sequence.spec.onEnd(how);
  }

  #admit(): void {
    while (this.#waiting.length > 0 && this.#running.size < this.#options.maxNumSeqs) {
      const next = this.#waiting[0]!;
      const { promptKeys, promptTokens, outputTokens, heldMs } = next.spec;
      const allocation = this.#cache.acquire(promptKeys, promptTokens, outputTokens);
      if (allocation === undefined) return;
      this.#waiting.shift();
      next.phase = { kind: 'running', allocation, fromMs: this.#clock.now() + heldMs, produced: 0 };
      this.#running.add(next);
      this.#prefillTokens += promptTokens - allocation.cachedTokens;
      next.spec.onStart(allocation.cachedTokens);
    }
  }

  /** Decides what comes next, unless a step is under way: what joins meanwhile waits for its end. */
  #replan(): void {
    if (this.#plan.kind === 'step') return;
    if (this.#plan.kind === 'hold') this.#plan.callOff();
    this.#plan = { kind: 'idle' };
    this.#admit();

    const nowMs = this.#clock.now();
    let firstMs = Infinity;
    for (const { phase } of this.#running) if (phase.kind === 'running') firstMs = Math.min(firstMs, phase.fromMs);
    if (firstMs === Infinity) return;
    if (firstMs > nowMs) {
      this.#plan = { kind: 'hold', callOff: this.#clock.after(firstMs - nowMs, () => this.#afterPlan()) };
      return;
    }
    this.#plan = { kind: 'step', callOff: this.#clock.after(this.#stepMs(), () => this.#step()) };
  }

  #stepMs(): number {
    const { instant, stepBaseMs, stepPerSequenceMs, prefillTokensPerSecond } = this.#options;
    const prefillMs = (this.#prefillTokens / prefillTokensPerSecond) * 1000;
    this.#prefillTokens = 0;
    return instant ? 0 : stepBaseMs + stepPerSequenceMs * this.#running.size + prefillMs;
  }

  #step(): void {
    const nowMs = this.#clock.now();
    this.#steps++;
    for (const sequence of [...this.#running]) {
      const { phase, spec } = sequence;
      if (phase.kind !== 'running' || phase.fromMs > nowMs) continue;
      phase.produced = this.#options.instant ? spec.outputTokens : phase.produced + 1;
      spec.onTokens(phase.produced);
      if (phase.produced >= spec.outputTokens) this.#end(sequence, 'done');
    }
    this.#afterPlan();
  }

  #afterPlan(): void {
    this.#plan = { kind: 'idle' };
    this.#replan();
  }
}
