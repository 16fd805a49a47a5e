import { afterEach, describe, expect, it } from 'vitest';
import { limits } from '../../../src/limits.js';
import { Events, type EventMap } from '../../../src/observe/events.js';
import type { MetricRow, ProcessRole } from '../../../src/observe/metric-row.js';
import { metricTable } from '../../../src/observe/metric-table.js';
import { openMetrics, type GaugeSources, type Metrics } from '../../../src/observe/metrics.js';

const opened: Metrics[] = [];
afterEach(() => {
  for (const metrics of opened.splice(0)) metrics.close();
});

function setUp(role: ProcessRole, sources: GaugeSources = {}) {
  const events = new Events();
  const metrics = openMetrics({ role, version: '1.2.3', events, sources, processMetrics: false });
  opened.push(metrics);
  return { events, metrics, page: async () => (await metrics.page('prometheus')).body };
}

/** Series of a page by their text, "name{a="b"}". */
function series(page: string): Map<string, number> {
  const lines = page.split('\n').filter((line) => line !== '' && !line.startsWith('#'));
  return new Map(
    lines.map((line) => [line.slice(0, line.lastIndexOf(' ')), Number(line.slice(line.lastIndexOf(' ') + 1))]),
  );
}

/** How many series a row must have from the start: M2. */
function seriesExpected(row: MetricRow): number {
  const labels = Object.values(row.labels);
  if (labels.some((values) => 'limited' in values)) return 0;
  const sets = labels.reduce((n, values) => n * ('limited' in values ? 0 : values.length), 1);
  return sets * (row.buckets ? row.buckets.length + 3 : 1);
}

const sample: EventMap['sample.finished'] = {
  requestId: 'r1',
  index: 0,
  class: 'rl',
  model: 'judge-7b',
  engine: 'e0',
  outcome: 'scored',
  usage: { promptTokens: 100, cachedTokens: 60, completionTokens: 20 },
  queueMs: 30,
  engineMs: 1500,
};

describe('metrics', () => {
  it.each(['coordinator', 'grm-worker', 'meta-worker'] as const)(
    'M2: every series of closed labels is there with 0 from the start (%s)',
    async (role) => {
      const found = series(await setUp(role).page());
      for (const [name, row] of Object.entries(metricTable) as [string, MetricRow][]) {
        const own = [...found.keys()].filter((key) => new RegExp(`^${name}(_bucket|_sum|_count)?(\\{|$)`).test(key));
        const expected = row.roles.includes(role) ? seriesExpected(row) : 0;
        if (name !== 'grm_build_info') expect(own, name).toHaveLength(expected);
      }
      expect(found.get(`grm_build_info{version="1.2.3",role="${role}"}`)).toBe(1);
      expect([...found.values()].filter((value) => value !== 0)).toEqual([1]);
    },
  );

  it('counts what happens at a coordinator', async () => {
    const { events, page } = setUp('coordinator');
    const finished: EventMap['request.finished'] = {
      requestId: 'r1',
      tenant: 't',
      class: 'rl',
      outcome: 'valid',
      durationMs: 1200,
      verdict: {
        vote: 'sum',
        k: 8,
        kValid: 7,
        degraded: ['meta_unavailable'],
        stopped: 'confident',
        samplesSaved: 24,
        samplesAhead: 5,
        missing: { notAsked: 0, waiting: 1, unfinished: 2 },
        tie: true,
        margin: 1.25,
        agreement: 0.75,
      },
    };
    events.emit('request.accepted', {
      requestId: 'r1',
      tenant: 't',
      class: 'rl',
      k: 8,
      responses: 2,
      contentBytes: 10,
    });
    events.emit('request.finished', finished);
    events.emit('request.finished', {
      requestId: 'r2',
      tenant: 't',
      class: 'batch',
      outcome: 'overloaded',
      durationMs: 1,
    });
    events.emit('request.known', { requestId: 'r1', how: 'joined' });
    events.emit('request.taken_over', { requestId: 'r3', owner: 'n' });
    events.emit('admission.rejected', { tenant: 't', class: 'rl', reason: 'overloaded', why: 'bytes' });
    events.emit('result.suppressed', { requestId: 'r1', stage: 'sample', where: 'gather' });
    events.emit('queue.swept', { stream: 'GRM_WORK', consumer: 'c', orphans: 5, phantoms: 2 });
    const found = series(await page());
    expect(Object.fromEntries([...found].filter(([key, value]) => value !== 0 && !key.includes('_bucket')))).toEqual({
      'grm_build_info{version="1.2.3",role="coordinator"}': 1,
      'grm_requests_accepted_total{class="rl"}': 1,
      'grm_requests_known_total{how="joined"}': 1,
      grm_requests_taken_over_total: 1,
      'grm_requests_total{outcome="valid",class="rl"}': 1,
      'grm_requests_total{outcome="overloaded",class="batch"}': 1,
      'grm_request_duration_seconds_sum{class="rl"}': 1.2,
      'grm_request_duration_seconds_count{class="rl"}': 1,
      'grm_request_duration_seconds_sum{class="batch"}': 0.001,
      'grm_request_duration_seconds_count{class="batch"}': 1,
      'grm_admission_rejected_total{reason="bytes"}': 1,
      'grm_votes_total{method="sum"}': 1,
      'grm_samples_saved_total{why="confident"}': 24,
      grm_samples_ahead_total: 5,
      'grm_samples_missing_total{why="waiting"}': 1,
      'grm_samples_missing_total{why="unfinished"}': 2,
      grm_vote_ties_total: 1,
      grm_vote_margin_sum: 1.25,
      grm_vote_margin_count: 1,
      grm_vote_agreement_ratio_sum: 0.75,
      grm_vote_agreement_ratio_count: 1,
      'grm_verdict_degraded_total{reason="meta_unavailable"}': 1,
      'grm_duplicates_suppressed_total{stage="sample",where="gather"}': 1,
      grm_queue_orphans_total: 5,
      grm_queue_phantoms_total: 2,
    });
    expect(found.get('grm_request_duration_seconds_bucket{le="1",class="rl"}')).toBe(0);
    expect(found.get('grm_request_duration_seconds_bucket{le="1.5",class="rl"}')).toBe(1);
  });

  it('counts what happens at a worker', async () => {
    const { events, page } = setUp('grm-worker');
    events.emit('sample.finished', sample);
    events.emit('sample.finished', { ...sample, outcome: 'no_box' });
    events.emit('sample.finished', { ...sample, outcome: 'engine_failed' });
    events.emit('delivery.redelivered', { requestId: 'r', stage: 'sample', deliveries: 2 });
    events.emit('delivery.retried', { requestId: 'r', stage: 'sample', deliveries: 2, reason: 'x' });
    events.emit('delivery.dropped', { requestId: 'r', stage: 'meta', why: 'expired' });
    events.emit('delivery.dead', { requestId: 'r', stage: 'sample', deliveries: 5, reason: 'x' });
    events.emit('actor.changed', { id: 'a', kind: 'engine', name: 'e0', from: 'alive', to: 'restarting', reason: 'x' });
    events.emit('node.drain', { node: 'n', phase: 'started', running: 3 });
    events.emit('trouble', { where: 'x', error: new Error('y') });
    const found = series(await page());
    const expected: Record<string, number> = {
      'grm_samples_total{model="judge-7b",outcome="scored"}': 1,
      'grm_samples_total{model="judge-7b",outcome="no_box"}': 1,
      'grm_samples_total{model="judge-7b",outcome="engine_failed"}': 1,
      // M2: the model's other outcomes came with it.
      'grm_samples_total{model="judge-7b",outcome="truncated"}': 0,
      'grm_parse_failures_total{reason="no_box"}': 1,
      'grm_prompt_tokens_total{model="judge-7b"}': 300,
      'grm_cached_tokens_total{model="judge-7b"}': 180,
      'grm_completion_tokens_total{model="judge-7b"}': 60,
      'grm_sample_queue_seconds_sum{class="rl"}': 0.09,
      'grm_sample_inference_seconds_sum{class="rl"}': 4.5,
      'grm_redeliveries_total{stage="sample"}': 1,
      'grm_deliveries_retried_total{stage="sample"}': 1,
      'grm_deliveries_dropped_total{stage="meta",why="expired"}': 1,
      'grm_dead_letters_total{stage="sample"}': 1,
      'grm_actor_restarts_total{kind="engine"}': 1,
      grm_draining: 1,
      grm_troubles_total: 1,
    };
    for (const [key, value] of Object.entries(expected)) expect(found.get(key), key).toBeCloseTo(value, 9);
    const failures = [...found].filter(([key]) => key.startsWith('grm_parse_failures_total'));
    expect(failures.reduce((sum, [, value]) => sum + value, 0)).toBe(1);
    events.emit('node.drain', { node: 'n', phase: 'resumed', running: 0 });
    expect(series(await page()).get('grm_draining')).toBe(0);
  });

  it('counts meta rewards at a meta worker and leaves out what belongs to others', async () => {
    const { events, page } = setUp('meta-worker');
    events.emit('meta.finished', {
      requestId: 'r',
      index: 0,
      model: 'meta',
      outcome: 'ranked',
      queueMs: 10,
      engineMs: 50,
    });
    events.emit('sample.finished', sample);
    const body = await page();
    expect(series(body).get('grm_meta_ranks_total{model="meta",outcome="ranked"}')).toBe(1);
    expect(series(body).get('grm_meta_ranks_total{model="meta",outcome="failed"}')).toBe(0);
    expect(series(body).get('grm_meta_rank_seconds_sum')).toBe(0.05);
    expect(body).not.toContain('judge-7b');
    expect(body).not.toContain('grm_requests_total');
  });

  it('M1: an open label takes so many values, then "other"; closed ones take their own alone', async () => {
    const { events, page, metrics } = setUp('grm-worker');
    for (let i = 0; i < 3 * limits.metricLabelValuesMax; i++)
      events.emit('sample.finished', { ...sample, model: `m${i}` });
    events.emit('sample.finished', { ...sample, model: 'm0' });
    metrics.count('grm_redeliveries_total', { stage: 'invented' as 'sample' });
    const found = series(await page());
    const models = [...found.keys()].filter((key) => key.startsWith('grm_prompt_tokens_total'));
    expect(models).toHaveLength(limits.metricLabelValuesMax + 1);
    expect(found.get('grm_prompt_tokens_total{model="other"}')).toBe(100 * 2 * limits.metricLabelValuesMax);
    expect(found.get('grm_prompt_tokens_total{model="m0"}')).toBe(200);
    expect(found.get('grm_redeliveries_total{stage="other"}')).toBe(1);
    expect(found.has('grm_redeliveries_total{stage="invented"}')).toBe(false);
  });

  it('escapes what a model calls itself', async () => {
    const { events, page } = setUp('grm-worker');
    events.emit('sample.finished', { ...sample, model: 'a"b\\c\nd' });
    expect(await page()).toContain('grm_prompt_tokens_total{model="a\\"b\\\\c\\nd"} 100');
  });

  it('tells a reconnection from the first connection', async () => {
    const { events, page } = setUp('coordinator');
    events.emit('queue.connection', { state: 'connected', reason: '' });
    expect(series(await page()).get('grm_nats_reconnects_total')).toBe(0);
    expect(series(await page()).get('grm_nats_connected')).toBe(1);
    events.emit('queue.connection', { state: 'disconnected', reason: '' });
    expect(series(await page()).get('grm_nats_connected')).toBe(0);
    events.emit('queue.connection', { state: 'connected', reason: '' });
    expect(series(await page()).get('grm_nats_reconnects_total')).toBe(1);
  });

  it('reads its sources at each scrape and forgets what is gone', async () => {
    let actors = [
      { kind: 'engine', state: 'alive' as const },
      { kind: 'engine', state: 'alive' as const },
      { kind: 'grm-worker', state: 'draining' as const },
    ];
    let depths = [{ stream: 'GRM_WORK', pool: 'grm', class: 'rl' as const, pending: 7, inFlight: 3, redelivered: 1 }];
    const { page } = setUp('coordinator', {
      load: () => ({ requestsInFlight: 2, samplesInFlight: 16, bytesInFlight: 900 }),
      connected: () => true,
      actors: () => actors,
      queueDepths: () => Promise.resolve(depths),
      deadShards: () => Promise.resolve(4),
    });
    let found = series(await page());
    expect(found.get('grm_inflight_requests')).toBe(2);
    expect(found.get('grm_inflight_samples')).toBe(16);
    expect(found.get('grm_inflight_bytes')).toBe(900);
    expect(found.get('grm_nats_connected')).toBe(1);
    expect(found.get('grm_dead_shards')).toBe(4);
    expect(found.get('grm_actors{kind="engine",state="alive"}')).toBe(2);
    expect(found.get('grm_actors{kind="engine",state="dead"}')).toBe(0);
    expect(found.get('grm_actors{kind="grm-worker",state="draining"}')).toBe(1);
    expect(found.get('grm_queue_messages{stream="GRM_WORK",pool="grm",class="rl",state="pending"}')).toBe(7);
    expect(found.get('grm_queue_messages{stream="GRM_WORK",pool="grm",class="rl",state="in_flight"}')).toBe(3);
    expect(found.get('grm_queue_redelivered_messages{stream="GRM_WORK",pool="grm",class="rl"}')).toBe(1);
    actors = [];
    depths = [];
    found = series(await page());
    expect(
      [...found.keys()].filter((key) => key.startsWith('grm_queue_messages{') || key.startsWith('grm_actors{')),
    ).toEqual([]);
  });

  it('shows slots of a worker', async () => {
    const found = series(await setUp('grm-worker', { slots: () => ({ free: 3, busy: 5 }) }).page());
    expect(found.get('grm_slots{state="free"}')).toBe(3);
    expect(found.get('grm_slots{state="busy"}')).toBe(5);
  });

  it('goes on without a source that fails or never answers', async () => {
    const { page } = setUp('coordinator', {
      load: () => ({ requestsInFlight: 2, samplesInFlight: 16, bytesInFlight: 900 }),
      queueDepths: () => Promise.reject(new Error('NATS is away')),
      deadShards: () => new Promise<number>(() => undefined),
    });
    const found = series(await page());
    expect(found.get('grm_inflight_requests')).toBe(2);
    expect([...found.keys()].some((key) => key.startsWith('grm_queue_messages'))).toBe(false);
  });

  it('writes OpenMetrics and Prometheus text side by side, neither spoiling the other', async () => {
    const { events, metrics } = setUp('coordinator');
    events.emit('request.known', { requestId: 'r', how: 'stored' });
    const before = await metrics.page('prometheus');
    const open = await metrics.page('openmetrics');
    expect(open.contentType).toBe('application/openmetrics-text; version=1.0.0; charset=utf-8');
    expect(open.body.endsWith('\n# EOF\n')).toBe(true);
    expect(open.body).not.toContain('\n\n');
    expect(open.body).toContain('# TYPE grm_requests_known counter\n');
    expect(open.body).toContain('grm_requests_known_total{how="stored"} 1\n');
    expect(open.body).not.toMatch(/^# (TYPE|HELP) \S+_total /m);
    const after = await metrics.page('prometheus');
    expect(after).toEqual(before);
    expect(after.body).toContain('# TYPE grm_requests_known_total counter\n');
  });

  it('carries the event loop and the process', async () => {
    const metrics = openMetrics({ role: 'coordinator', version: '1', events: new Events() });
    opened.push(metrics);
    const { body } = await metrics.page('prometheus');
    expect(body).toContain('grm_nodejs_eventloop_lag_p99_seconds ');
    expect(body).toContain('grm_process_cpu_seconds_total ');
    expect(body).not.toMatch(/# TYPE \S+_total gauge/);
  });

  it('hears nothing once closed', async () => {
    const { events, metrics, page } = setUp('coordinator');
    metrics.close();
    events.emit('request.known', { requestId: 'r', how: 'stored' });
    expect(series(await page()).get('grm_requests_known_total{how="stored"}')).toBe(0);
  });
});
