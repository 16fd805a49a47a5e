import { describe, expect, it } from 'vitest';
import { readGauges } from '../../../src/engine/openai-gauges.js';

describe('gauges from /metrics', () => {
  it('reads vLLM, summed over its ranks', () => {
    const text = `# HELP vllm:num_requests_running Number
# TYPE vllm:num_requests_running gauge
vllm:num_requests_running{engine="0",model_name="a}b"} 3.0
vllm:num_requests_running{engine="1",model_name="a}b"} 4.0
vllm:num_requests_waiting{engine="0",model_name="a"} 1.0
vllm:kv_cache_usage_perc{engine="0",model_name="a"} 0.5
vllm:kv_cache_usage_perc{engine="1",model_name="a"} 0.25
vllm:prefix_cache_queries_total{engine="0"} 3.2e+01
vllm:prefix_cache_hits_total{engine="0"} 16.0
`;
    expect(readGauges(text)).toEqual({
      running: 7,
      waiting: 1,
      kvCacheUsageRatio: 0.375,
      prefixQueriesTotal: 32,
      prefixHitsTotal: 16,
    });
  });

  it('reads older vLLM, SGLang and llama-server', () => {
    expect(readGauges('vllm:num_requests_running 2\nvllm:gpu_cache_usage_perc 0.1\n')).toEqual({
      running: 2,
      waiting: 0,
      kvCacheUsageRatio: 0.1,
    });
    expect(
      readGauges('sglang:num_running_reqs{tp_rank="0"} 5\nsglang:num_queue_reqs 2\nsglang:token_usage 0.3'),
    ).toEqual({
      running: 5,
      waiting: 2,
      kvCacheUsageRatio: 0.3,
    });
    expect(readGauges('llamacpp:requests_processing 1\nllamacpp:requests_deferred 4')).toEqual({
      running: 1,
      waiting: 4,
    });
  });

  it('says nothing where it knows no name', () => {
    expect(readGauges('process_cpu_seconds_total 1\nvllm:num_requests_running NaN\n<html>')).toBeUndefined();
  });
});
