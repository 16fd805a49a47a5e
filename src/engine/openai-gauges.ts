// What a server says of itself in /metrics, in the words of vLLM, SGLang and llama-server. Pure.
import type { EngineGauges } from './engine.js';

/** Names in order of preference: today's first, then older ones and other servers'. */
const names = {
  running: ['vllm:num_requests_running', 'sglang:num_running_reqs', 'llamacpp:requests_processing'],
  waiting: ['vllm:num_requests_waiting', 'sglang:num_queue_reqs', 'llamacpp:requests_deferred'],
  kvCacheUsageRatio: [
    'vllm:kv_cache_usage_perc',
    'vllm:gpu_cache_usage_perc',
    'sglang:token_usage',
    'llamacpp:kv_cache_usage_ratio',
  ],
  prefixQueriesTotal: [
    'vllm:prefix_cache_queries_total',
    'vllm:gpu_prefix_cache_queries_total',
    'sglang:prompt_tokens_total',
  ],
  prefixHitsTotal: ['vllm:prefix_cache_hits_total', 'vllm:gpu_prefix_cache_hits_total', 'sglang:cached_tokens_total'],
} as const;

const sampleLine = /^([a-zA-Z_:][\w:]*)(?:\{.*\})?\s+(\S+)/;

/** Sums over a server's engines (data parallel ranks), means for the ratio; undefined when the text has none of the names. */
export function readGauges(metricsText: string): EngineGauges | undefined {
  const found = new Map<string, number[]>();
  for (const line of metricsText.split('\n')) {
    const match = sampleLine.exec(line);
    const value = Number(match?.[2]);
    if (match === null || !Number.isFinite(value)) continue;
    const values = found.get(match[1]!) ?? [];
    values.push(value);
    found.set(match[1]!, values);
  }
  const valuesOf = (wanted: keyof typeof names) =>
    names[wanted].map((name) => found.get(name)).find((values) => values !== undefined);
  const sum = (wanted: keyof typeof names) => valuesOf(wanted)?.reduce((total, value) => total + value, 0);

  const running = sum('running');
  if (running === undefined) return undefined;
  const usageSum = sum('kvCacheUsageRatio');
  const queries = sum('prefixQueriesTotal');
  const hits = sum('prefixHitsTotal');
  return {
    running,
    waiting: sum('waiting') ?? 0,
    ...(usageSum === undefined ? {} : { kvCacheUsageRatio: usageSum / valuesOf('kvCacheUsageRatio')!.length }),
    ...(queries === undefined ? {} : { prefixQueriesTotal: queries }),
    ...(hits === undefined ? {} : { prefixHitsTotal: hits }),
  };
}
