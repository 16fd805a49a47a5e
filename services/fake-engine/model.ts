// The fake model: one scheduler, one cache and one set of metrics, as one `vllm serve` process has them.
import type { Clock } from './clock.js';
import { engineMetrics, type EngineMetrics } from './metrics.js';
import type { Settings } from './options.js';
import { PrefixCache, type Lookup } from './prefix-cache.js';
import { type Random, seededRandom } from './random.js';
import { Scheduler } from './scheduler.js';

export interface Run {
  readonly prompt: string;
  readonly promptTokens: number;
  /** One entry per sequence. */
  readonly outputs: readonly { readonly tokens: number; readonly reason: 'stop' | 'length' }[];
  readonly priority: number;
  /** See SequenceSpec. */
  readonly heldMs: number;
  onTokens(sequence: number, produced: number): void;
  /** All sequences are done; not called when the run is aborted. */
  onDone(usage: { readonly cachedTokens: number }): void;
}

export interface ModelStats {
  /** Sequences. */
  readonly running: number;
  readonly waiting: number;
  readonly done: number;
  readonly aborted: number;
  readonly promptTokens: number;
  /** Of sequences that still run, too. */
  readonly generationTokens: number;
  /** Of the batch, so far. */
  readonly steps: number;
  readonly prefixQueriesTokens: number;
  readonly prefixHitsTokens: number;
  readonly kvUsageRatio: number;
}

export class FakeModel {
  readonly settings: Settings;
  readonly metrics: EngineMetrics;
  readonly #clock: Clock;
  readonly #cache: PrefixCache;
  readonly #scheduler: Scheduler;
  readonly #random: Random;
  #done = 0;
  #aborted = 0;
  #promptTokens = 0;
  #generationTokens = 0;

  constructor(settings: Settings, clock: Clock) {
    this.settings = settings;
    this.#clock = clock;
    const { kvBlocks, blockTokens, recordPrompts } = settings;
    this.#cache = new PrefixCache({ capacityBlocks: kvBlocks, blockTokens, lookupsMax: recordPrompts });
    this.#scheduler = new Scheduler(settings, this.#cache, clock);
    this.metrics = engineMetrics(settings.model, this.#scheduler, this.#cache, () => this.#generationTokens);
    this.#random = seededRandom(settings.seed ^ 0x5eed);
  }

  /** A seed for a request that brings none. */
  freshSeed(): number {
    return Math.floor(this.#random() * 0x1_0000_0000);
  }

  /** Runs the sequences of one request; the returned function aborts what is left of them. */
  run(run: Run): () => void {
    const arrivedMs = this.#clock.now();
    const promptKeys = this.#cache.keysOf(run.prompt);
    const promptTokens = run.promptTokens;
    let left = run.outputs.length;
    let cachedTokens = 0;
    this.#promptTokens += promptTokens;
    this.metrics.prompted(promptTokens);

    const aborts = run.outputs.map((output, sequence) => {
      let startedMs: number | undefined;
      let firstTokenMs: number | undefined;
      let completionTokens = 0;
      const outputTokens = Math.max(1, output.tokens);
      const { priority, heldMs } = run;
      return this.#scheduler.submit({
        promptKeys,
        promptTokens,
        outputTokens,
        priority,
        heldMs,
        onStart: (cached) => {
          startedMs = this.#clock.now() - arrivedMs;
          if (sequence === 0) cachedTokens = cached;
        },
        onTokens: (produced) => {
          firstTokenMs ??= this.#clock.now() - arrivedMs;
          this.#generationTokens += produced - completionTokens;
          completionTokens = produced;
          run.onTokens(sequence, produced);
        },
        onEnd: (how) => {
          const reason = how === 'aborted' ? 'abort' : output.reason;
          const totalMs = this.#clock.now() - arrivedMs;
          this.metrics.finished({ reason, startedMs, firstTokenMs, totalMs, completionTokens });
          if (how === 'aborted') this.#aborted += 1;
          else {
            this.#done += 1;
            left -= 1;
            if (left === 0) run.onDone({ cachedTokens });
          }
        },
      });
    });
    return () => {
      for (const abort of aborts) abort();
    };
  }

  stats(): ModelStats {
    return {
      running: this.#scheduler.running,
      waiting: this.#scheduler.waiting,
      done: this.#done,
      aborted: this.#aborted,
      promptTokens: this.#promptTokens,
      generationTokens: this.#generationTokens,
      steps: this.#scheduler.steps,
      prefixQueriesTokens: this.#cache.queriesTokens,
      prefixHitsTokens: this.#cache.hitsTokens,
      kvUsageRatio: this.#cache.usageRatio,
    };
  }

  /** The first prompts that began to run. */
  lookups(): readonly Lookup[] {
    return this.#cache.lookups;
  }

  close(): void {
    this.#scheduler.close();
  }
}
