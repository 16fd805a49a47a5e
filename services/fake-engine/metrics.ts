// GET /metrics with vLLM's names and labels, so that scrapers, boards and autoscaling rules can be tried without a GPU.
import { Counter, Gauge, Histogram, Registry } from 'prom-client';
import type { PrefixCache } from './prefix-cache.js';
import type { Scheduler } from './scheduler.js';

const labelNames = ['model_name', 'engine'] as const;

const latencyBuckets = [0.3, 0.5, 0.8, 1, 1.5, 2, 2.5, 5, 10, 15, 20, 30, 40, 50, 60, 120, 240, 480, 960, 1920, 7680];
const firstTokenBuckets = [
  0.001, 0.005, 0.01, 0.02, 0.04, 0.06, 0.08, 0.1, 0.25, 0.5, 0.75, 1, 2.5, 5, 7.5, 10, 20, 40, 80, 160, 640, 2560,
];
const tokenBuckets = [0.01, 0.025, 0.05, 0.075, 0.1, 0.15, 0.2, 0.3, 0.4, 0.5, 0.75, 1, 2.5, 5, 7.5, 10, 20, 40, 80];

const finishedReasons = ['stop', 'length', 'abort'] as const;

export interface FinishedSequence {
  readonly reason: (typeof finishedReasons)[number];
  /** Milliseconds from arrival; absent when it never came so far. */
  readonly startedMs: number | undefined;
  readonly firstTokenMs: number | undefined;
  readonly totalMs: number;
  readonly completionTokens: number;
}

export interface EngineMetrics {
  readonly contentType: string;
  text(): Promise<string>;
  prompted(tokens: number): void;
  finished(sequence: FinishedSequence): void;
}

/** @param generated tokens so far, of sequences that still run too: vLLM counts them step by step. */
export function engineMetrics(
  model: string,
  scheduler: Scheduler,
  cache: PrefixCache,
  generated: () => number,
): EngineMetrics {
  const registry = new Registry();
  const registers = [registry];
  const labels = { model_name: model, engine: '0' };

  const gauge = (name: string, help: string, read: () => number) =>
    new Gauge({
      name,
      help,
      labelNames,
      registers,
      collect() {
        this.set(labels, read());
      },
    });
  gauge('vllm:num_requests_running', 'Sequences in the running batch.', () => scheduler.running);
  gauge('vllm:num_requests_waiting', 'Sequences waiting to run.', () => scheduler.waiting);
  gauge('vllm:kv_cache_usage_perc', 'KV cache in use; 1 is full.', () => cache.usageRatio);

  const counter = (name: string, help: string) => {
    const made = new Counter({ name, help, labelNames, registers });
    made.inc(labels, 0);
    return made;
  };
  const followed = (name: string, help: string, read: () => number) =>
    new Counter({
      name,
      help,
      labelNames,
      registers,
      collect() {
        this.reset();
        this.inc(labels, read());
      },
    });
  followed(
    'vllm:prefix_cache_queries_total',
    'Prompt tokens looked up in the prefix cache.',
    () => cache.queriesTokens,
  );
  followed('vllm:prefix_cache_hits_total', 'Prompt tokens found in the prefix cache.', () => cache.hitsTokens);
  const promptTokens = counter('vllm:prompt_tokens_total', 'Prompt tokens processed.');
  followed('vllm:generation_tokens_total', 'Tokens generated.', generated);
  counter('vllm:num_preemptions_total', 'Sequences preempted (never, here).');
  const success = new Counter({
    name: 'vllm:request_success_total',
    help: 'Sequences finished, by reason.',
    labelNames: [...labelNames, 'finished_reason'],
    registers,
  });
  for (const reason of finishedReasons) success.inc({ ...labels, finished_reason: reason }, 0);

  const histogram = (name: string, help: string, buckets: number[]) => {
    const made = new Histogram({ name, help, labelNames, registers, buckets });
    made.zero(labels);
    return made;
  };
  const firstToken = histogram('vllm:time_to_first_token_seconds', 'Arrival to first token.', firstTokenBuckets);
  const perToken = histogram('vllm:inter_token_latency_seconds', 'Mean time between tokens.', tokenBuckets);
  const endToEnd = histogram('vllm:e2e_request_latency_seconds', 'Arrival to last token.', latencyBuckets);
  const queued = histogram('vllm:request_queue_time_seconds', 'Arrival to admission.', latencyBuckets);

  return {
    contentType: registry.contentType,
    text: () => registry.metrics(),
    prompted: (tokens) => promptTokens.inc(labels, tokens),
    finished({ reason, startedMs, firstTokenMs, totalMs, completionTokens }) {
      success.inc({ ...labels, finished_reason: reason });
      if (startedMs !== undefined) queued.observe(labels, startedMs / 1000);
      if (firstTokenMs !== undefined) {
        firstToken.observe(labels, firstTokenMs / 1000);
        if (completionTokens > 1) perToken.observe(labels, (totalMs - firstTokenMs) / 1000 / (completionTokens - 1));
      }
      endToEnd.observe(labels, totalMs / 1000);
    },
  };
}
