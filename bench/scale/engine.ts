// Engine: continuous batching as a shared processor. All running sequences get their tokens at the same rate, 1 / (base + perSequence * n) per
// millisecond, so a sequence ends when the tokens given to each since the start have grown by its own length: one event per end, whatever n.
// A prompt's prefill holds all sequences up, as a step does that takes it in. The samples of a job share their prompt: it is taken in once.

import { readPrompt } from '../../services/fake-engine/prompt-reading.js';
import { metaLogit } from '../../services/fake-engine/meta-judge.js';
import { scoreAll } from '../../services/fake-engine/judge.js';
import type { Random } from '../../services/fake-engine/random.js';
import type { DrawJob, DrawResult, Engine, MetaEngine, RankJob, RankResult } from '../../src/engine/engine.js';
import { chanceOf, lognormal } from './chance.js';
import { Heap, type Due } from './heap.js';
import type { EngineCosts, MetaCosts, Sizes } from './inputs.js';
import type { Loop } from './loop.js';
import { station, type Station } from './station.js';

interface Sequence extends Due {
  readonly job: Running;
  readonly index: number;
  readonly tokens: number;
  readonly startedAtMs: number;
}

interface Running {
  readonly draw: DrawJob;
  readonly onResult: (result: DrawResult) => void;
  readonly resolve: () => void;
  readonly qualities: ReturnType<typeof readPrompt>;
  readonly promptTokens: number;
  /** Not reported yet. */
  readonly left: Set<number>;
}

export interface Judge {
  /** Share of pairs that one sample orders rightly, 0.5..1. */
  readonly accuracy: number;
  /** Share of critiques whose meta reward has the right sign, 0.5..1. */
  readonly metaAccuracy: number;
}

/** Of one request, the same wherever it is asked for. */
export function promptTokensOf(requestId: string, seed: number, sizes: Sizes): number {
  if (sizes.promptSigma === 0) return sizes.promptTokens;
  return Math.max(1, Math.round(lognormal(chanceOf(seed, 'prompt', requestId), sizes.promptTokens, sizes.promptSigma)));
}

export class SimEngine implements Engine {
  readonly description = 'simulated';
  readonly model = 'simulated';
  readonly fake = true;
  /** Running, or asked for and waiting for a place. */
  #running = 0;
  readonly #waiting: Sequence[] = [];
  readonly #ends = new Heap<Sequence>();
  /** Tokens given to each sequence since the start. */
  #given = 0;
  #asOfMs = 0;
  #prefillMs = 0;
  #order = 0;
  #busySlotMs = 0;
  #tokens = 0;
  #callOff: () => void = () => undefined;
  #closed = false;

  constructor(
    readonly name: string,
    private readonly loop: Loop,
    private readonly costs: EngineCosts,
    private readonly sizes: Sizes,
    private readonly judge: Judge,
    private readonly seed: number,
    private readonly random: Random,
  ) {}

  /** Sequences that ran, times how long, milliseconds, up to now. */
  busySlotMs(): number {
    this.#advance();
    return this.#busySlotMs;
  }

  /** Tokens of the samples that ended. */
  get tokens(): number {
    return this.#tokens;
  }

  draw(draw: DrawJob, onResult: (result: DrawResult) => void, signal: AbortSignal): Promise<void> {
    return new Promise((resolve) => {
      const { samples, requestId } = draw;
      const job: Running = {
        draw,
        onResult,
        resolve,
        qualities: readPrompt(draw.messages.at(-1)?.content ?? ''),
        promptTokens: promptTokensOf(requestId, this.seed, this.sizes),
        left: new Set(samples.map(({ index }) => index)),
      };
      if (signal.aborted) return this.#cancel(job);
      signal.addEventListener('abort', () => this.#cancel(job), { once: true });
      this.#advance();
      this.#prefillMs += (1e3 * job.promptTokens) / this.costs.prefillTokensPerSecond;
      for (const { index } of samples) this.#start(this.#sequence(job, index));
      this.#schedule();
    });
  }

  /** The process is gone: nothing is reported any more. */
  kill(): void {
    this.#advance();
    this.#closed = true;
    this.#running = 0;
    this.#callOff();
  }

  health() {
    return Promise.resolve({ kind: 'ok' } as const);
  }

  gauges() {
    return Promise.resolve({ running: this.#running, waiting: this.#waiting.length });
  }

  close() {
    this.kill();
    return Promise.resolve();
  }

  #sequence(job: Running, index: number): Sequence {
    const { outputTokens, outputSigma, outputTokensMax } = this.sizes;
    const drawn = Math.round(lognormal(this.random, outputTokens, outputSigma));
    const tokens = Math.max(1, Math.min(drawn, outputTokensMax, job.draw.maxTokens));
    return { at: 0, order: this.#order++, job, index, tokens, startedAtMs: this.loop.timeMs };
  }

  #start(sequence: Sequence): void {
    if (this.#running >= this.costs.slots) {
      this.#waiting.push(sequence);
      return;
    }
    this.#running++;
    this.#ends.push({ ...sequence, at: this.#given + sequence.tokens });
  }

  get #stepMs(): number {
    return this.costs.stepBaseMs + this.costs.stepPerSequenceMs * this.#running;
  }

  /** Brings what was given up to now. */
  #advance(): void {
    const passedMs = this.loop.timeMs - this.#asOfMs;
    if (passedMs <= 0) return;
    this.#asOfMs = this.loop.timeMs;
    if (this.#running === 0) {
      this.#prefillMs = 0;
      return;
    }
    this.#busySlotMs += this.#running * passedMs;
    const heldMs = Math.min(passedMs, this.#prefillMs);
    this.#prefillMs -= heldMs;
    this.#given += (passedMs - heldMs) / this.#stepMs;
  }

  #schedule(): void {
    this.#callOff();
    const next = this.#ends.peek();
    if (next === undefined || this.#closed) return;
    const tokens = Math.max(0, next.at - this.#given);
    this.#callOff = this.loop.after(this.#prefillMs + tokens * this.#stepMs, () => this.#end());
  }

  #end(): void {
    this.#advance();
    // Rounding may leave a trace of a token.
    const due = this.#given + 1e-6;
    for (let next = this.#ends.peek(); next !== undefined && next.at <= due; next = this.#ends.peek()) {
      this.#ends.pop();
      this.#running--;
      this.#tokens += next.tokens;
      const waiting = this.#waiting.shift();
      if (waiting) this.#start(waiting);
      this.#report(next);
    }
    this.#schedule();
  }

  #report({ job, index, tokens, startedAtMs }: Sequence): void {
    const { qualities, promptTokens, left, draw } = job;
    const first = left.size === draw.samples.length;
    if (!left.delete(index)) return;
    const scores = scoreAll(qualities, this.judge.accuracy, this.random);
    job.onResult({
      kind: 'text',
      index,
      text: `Sample ${index}\nScores: \\boxed{${scores.join(', ')}}`,
      finishReason: 'stop',
      usage: { promptTokens, cachedTokens: first ? 0 : promptTokens, completionTokens: tokens },
      engineMs: this.loop.timeMs - startedAtMs,
    });
    if (left.size === 0) job.resolve();
  }

  /** Its sequences run on to their ends, unheard: a little less than a real engine frees. */
  #cancel(job: Running): void {
    const cancelled = [...job.left];
    job.left.clear();
    for (const index of cancelled) job.onResult({ kind: 'cancelled', index });
    job.resolve();
  }
}

/** Ranks by prefill alone, one text after the other, at the engine's speed. */
export class SimMetaEngine implements MetaEngine {
  readonly description = 'simulated';
  readonly model = 'simulated';
  readonly fake = true;
  readonly #station: Station;
  #closed = false;

  constructor(
    readonly name: string,
    private readonly loop: Loop,
    private readonly costs: MetaCosts,
    private readonly sizes: Sizes,
    private readonly judge: Judge,
    private readonly seed: number,
  ) {
    this.#station = station(name, loop);
  }

  bookedMs(): number {
    return this.#station.bookedMs();
  }

  rank({ text, requestId }: RankJob): Promise<RankResult> {
    const tokens = promptTokensOf(requestId, this.seed, this.sizes) + this.sizes.outputTokens;
    const doneInMs = this.#station.book((1e3 * tokens) / this.costs.tokensPerSecond) + this.costs.baseMs;
    return new Promise((resolve) => {
      this.loop.after(doneInMs, () => {
        if (this.#closed) return;
        const { metaAccuracy } = this.judge;
        resolve({ kind: 'logit', metaReward: metaLogit(text, { metaAccuracy, seed: this.seed }) });
      });
    });
  }

  kill(): void {
    this.#closed = true;
  }

  selfTest() {
    return Promise.resolve({ kind: 'ok' } as const);
  }

  health() {
    return Promise.resolve({ kind: 'ok' } as const);
  }

  gauges() {
    return Promise.resolve({ running: 0, waiting: 0 });
  }

  close() {
    this.kill();
    return Promise.resolve();
  }
}
