// Metrics: makes prom-client's metrics from metric-table.ts, keeps them in step with the process's events and callbacks, and writes them out for a scrape.
//
// Rows of other roles are not made: an event that concerns them leaves no trace here, and a coordinator shows no empty sample series.

import { Counter, Gauge, Histogram, Registry, collectDefaultMetrics } from 'prom-client';
import { limits } from '../limits.js';
import type { Events } from './events.js';
import type { MetricRow, ProcessRole } from './metric-row.js';
import {
  metricTable,
  parseFailureReasons,
  type LabelsOf,
  type MetricName,
  type MetricNameOf,
  type ParseFailureReason,
} from './metric-table.js';

/** State that is read when a scrape comes, instead of being counted. Absent ones leave their gauges at 0 or empty. */
export interface GaugeSources {
  readonly load?: () => {
    readonly requestsInFlight: number;
    readonly samplesInFlight: number;
    readonly bytesInFlight: number;
  };
  readonly slots?: () => { readonly free: number; readonly busy: number };
  readonly actors?: () => Iterable<{
    readonly kind: string;
    readonly state: LabelsOf<'grm_actors'>['state'];
  }>;
  /** The engines of this worker. */
  readonly engines?: () => Iterable<{ readonly engine: string; readonly serves: boolean }>;
  readonly connected?: () => boolean;
  /** This machine's clock less NATS's; undefined while that is not known. */
  readonly clockSkewMs?: () => number | undefined;
  /** May fail or be late: then the scrape goes without it. */
  readonly queueDepths?: () => Promise<
    readonly {
      readonly stream: string;
      readonly pool: string;
      readonly class: LabelsOf<'grm_queue_messages'>['class'];
      readonly pending: number;
      readonly inFlight: number;
      readonly redelivered: number;
    }[]
  >;
  readonly deadShards?: () => Promise<number>;
  readonly streams?: () => readonly {
    readonly stream: string;
    readonly bytes: number;
    readonly usedRatio: number;
    readonly trouble?: string;
  }[];
}

export interface MetricsOptions {
  readonly role: ProcessRole;
  readonly version: string;
  readonly events: Events;
  readonly sources?: GaugeSources;
  /** Off in tests that compare whole pages. */
  readonly processMetrics?: boolean;
}

export interface MetricsPage {
  readonly body: string;
  readonly contentType: string;
}

export interface Metrics {
  count<N extends MetricNameOf<'counter'>>(name: N, labels: LabelsOf<N>, by?: number): void;
  observe<N extends MetricNameOf<'histogram'>>(name: N, labels: LabelsOf<N>, value: number): void;
  set<N extends MetricNameOf<'gauge'>>(name: N, labels: LabelsOf<N>, value: number): void;
  /** The page for a scrape, as Prometheus text or as OpenMetrics 1.0. */
  page(format: 'prometheus' | 'openmetrics'): Promise<MetricsPage>;
  /** Stops listening. */
  close(): void;
}

/** prom-client's gauges that end in `_total`, against the naming rules and told better by `nodejs_active_*`. */
const misnamed = ['nodejs_active_handles_total', 'nodejs_active_requests_total', 'nodejs_active_resources_total'];

export function openMetrics(options: MetricsOptions): Metrics {
  const meters = new Meters(options.role);
  if (options.processMetrics !== false) {
    collectDefaultMetrics({ register: meters.registry, prefix: 'grm_' });
    for (const name of misnamed) meters.registry.removeSingleMetric(`grm_${name}`);
  }
  meters.set('grm_build_info', { version: options.version, role: options.role }, 1);
  const stop = listen(options.events, meters);
  const sources = options.sources ?? {};
  return {
    count: (name, labels, by) => meters.count(name, labels, by),
    observe: (name, labels, value) => meters.observe(name, labels, value),
    set: (name, labels, value) => meters.set(name, labels, value),
    close: stop,
    page: async (format) => {
      await readSources(sources, meters);
      const text = await meters.registry.metrics();
      return format === 'openmetrics'
        ? { body: toOpenMetrics(text), contentType: Registry.OPENMETRICS_CONTENT_TYPE }
        : { body: text, contentType: Registry.PROMETHEUS_CONTENT_TYPE };
    },
  };
}

type Meter = Counter | Gauge | Histogram;
type Labels = Readonly<Record<string, string>>;

/** The metrics of one role by name. Invariants M1 and M2 of metric-table.ts are kept here. */
class Meters {
  readonly registry = new Registry();
  readonly #meters = new Map<MetricName, Meter>();
  /** Values seen so far of each limited label. */
  readonly #seen = new Map<string, Set<string>>();
  /** Labels of each metric that need no look any more, by their values: a busy worker counts ten thousands of them a second. */
  readonly #known = new Map<MetricName, { readonly names: readonly string[]; readonly labels: Map<string, Labels> }>();

  constructor(role: ProcessRole) {
    for (const [name, row] of Object.entries(metricTable) as [MetricName, MetricRow][]) {
      if (!row.roles.includes(role)) continue;
      const common = { name, help: row.help, labelNames: Object.keys(row.labels), registers: [this.registry] };
      const meter =
        row.type === 'counter'
          ? new Counter(common)
          : row.type === 'gauge'
            ? new Gauge(common)
            : new Histogram({ ...common, buckets: [...(row.buckets ?? [])] });
      this.#meters.set(name, meter);
      this.#known.set(name, { names: Object.keys(row.labels), labels: new Map() });
      this.#seed(name, {});
    }
  }

  count<N extends MetricNameOf<'counter'>>(name: N, labels: LabelsOf<N>, by = 1): void {
    const meter = this.#meters.get(name);
    if (meter instanceof Counter && by >= 0) meter.inc(this.#bounded(name, labels), by);
  }

  observe<N extends MetricNameOf<'histogram'>>(name: N, labels: LabelsOf<N>, value: number): void {
    const meter = this.#meters.get(name);
    if (meter instanceof Histogram && Number.isFinite(value)) meter.observe(this.#bounded(name, labels), value);
  }

  set<N extends MetricNameOf<'gauge'>>(name: N, labels: LabelsOf<N>, value: number): void {
    const meter = this.#meters.get(name);
    if (meter instanceof Gauge) meter.set(this.#bounded(name, labels), value);
  }

  /** Forgets a gauge's series before it is read anew, but for those that must always be there. */
  clear(name: MetricNameOf<'gauge'>): void {
    const meter = this.#meters.get(name);
    if (!(meter instanceof Gauge)) return;
    meter.reset();
    this.#seed(name, {});
  }

  #bounded(name: MetricName, given: object): Labels {
    const labels = given as Labels;
    const known = this.#known.get(name);
    let key = '';
    for (const label of known?.names ?? []) key += `${labels[label] ?? ''}\0`;
    const found = known?.labels.get(key);
    if (found) return found;
    const bounded = this.#look(name, labels);
    // What counts as "other" is without end: it is looked at every time.
    if (known?.names.every((label) => bounded[label] === labels[label])) known.labels.set(key, bounded);
    return bounded;
  }

  #look(name: MetricName, labels: Labels): Labels {
    const row: MetricRow = metricTable[name];
    const open: Record<string, string> = {};
    const bounded: Record<string, string> = {};
    let fresh = false;
    for (const [label, values] of Object.entries(row.labels)) {
      const value = labels[label] ?? '';
      if ('limited' in values) {
        const key = `${name} ${label}`;
        const seen = this.#seen.get(key) ?? new Set<string>();
        this.#seen.set(key, seen);
        const taken = seen.has(value) || seen.size < values.limited ? value : 'other';
        fresh ||= !seen.has(taken);
        seen.add(taken);
        bounded[label] = open[label] = taken;
      } else {
        bounded[label] = values.includes(value) ? value : 'other';
      }
    }
    if (fresh) this.#seed(name, open);
    return bounded;
  }

  /** Makes every series of a row for the given values of its open labels, with 0 where there is none yet. */
  #seed(name: MetricName, open: Readonly<Record<string, string>>): void {
    const row: MetricRow = metricTable[name];
    const meter = this.#meters.get(name);
    if (!meter) return;
    let series: Record<string, string>[] = [{}];
    for (const [label, values] of Object.entries(row.labels)) {
      const choices = 'limited' in values ? (open[label] === undefined ? [] : [open[label]]) : values;
      series = series.flatMap((labels) => choices.map((value) => ({ ...labels, [label]: value })));
    }
    for (const labels of series) {
      if (meter instanceof Histogram) meter.zero(labels);
      else meter.inc(labels, 0);
    }
  }
}

function listen(events: Events, m: Meters): () => void {
  const seconds = (ms: number): number => ms / 1000;
  let lost = false;
  const stops = [
    events.on('request.accepted', (e) => m.count('grm_requests_accepted_total', { class: e.class })),
    events.on('request.known', (e) => m.count('grm_requests_known_total', { how: e.how })),
    events.on('request.taken_over', () => m.count('grm_requests_taken_over_total', {})),
    events.on('request.finished', (e) => {
      m.count('grm_requests_total', { outcome: e.outcome, class: e.class });
      m.observe('grm_request_duration_seconds', { class: e.class }, seconds(e.durationMs));
      if (!e.verdict) return;
      m.count('grm_votes_total', { method: e.verdict.vote });
      const { stopped, samplesSaved, samplesAhead } = e.verdict;
      if (stopped) m.count('grm_samples_saved_total', { why: stopped }, samplesSaved);
      if (samplesAhead !== undefined) m.count('grm_samples_ahead_total', {}, samplesAhead);
      const { missing } = e.verdict;
      if (missing) {
        m.count('grm_samples_missing_total', { why: 'not_asked' }, missing.notAsked);
        m.count('grm_samples_missing_total', { why: 'waiting' }, missing.waiting);
        m.count('grm_samples_missing_total', { why: 'unfinished' }, missing.unfinished);
      }
      if (e.verdict.tie) m.count('grm_vote_ties_total', {});
      for (const reason of e.verdict.degraded) m.count('grm_verdict_degraded_total', { reason });
      if (e.verdict.margin !== undefined) m.observe('grm_vote_margin', {}, e.verdict.margin);
      if (e.verdict.agreement !== undefined) m.observe('grm_vote_agreement_ratio', {}, e.verdict.agreement);
    }),
    events.on('admission.rejected', (e) => m.count('grm_admission_rejected_total', { reason: e.why })),
    events.on('shard.hedged', (e) => m.count('grm_samples_hedged_total', {}, e.samples)),
    events.on('hedge.won', () => m.count('grm_hedge_wins_total', {})),
    events.on('sample.finished', (e) => {
      m.count('grm_samples_total', { model: e.model, outcome: e.outcome });
      const reason = parseFailureReasons.find((known): known is ParseFailureReason => known === e.outcome);
      if (reason) m.count('grm_parse_failures_total', { reason });
      m.observe('grm_sample_queue_seconds', { class: e.class }, seconds(e.queueMs));
      m.observe('grm_sample_inference_seconds', { class: e.class }, seconds(e.engineMs));
      m.count('grm_prompt_tokens_total', { model: e.model }, e.usage.promptTokens);
      m.count('grm_cached_tokens_total', { model: e.model }, e.usage.cachedTokens);
      m.count('grm_completion_tokens_total', { model: e.model }, e.usage.completionTokens);
    }),
    events.on('meta.finished', (e) => {
      m.count('grm_meta_ranks_total', { model: e.model, outcome: e.outcome });
      m.observe('grm_meta_queue_seconds', {}, seconds(e.queueMs));
      m.observe('grm_meta_rank_seconds', {}, seconds(e.engineMs));
    }),
    events.on('result.suppressed', (e) =>
      m.count('grm_duplicates_suppressed_total', { stage: e.stage, where: e.where }),
    ),
    events.on('delivery.retried', (e) => m.count('grm_deliveries_retried_total', { stage: e.stage })),
    events.on('delivery.redelivered', (e) => m.count('grm_redeliveries_total', { stage: e.stage })),
    events.on('delivery.dropped', (e) => m.count('grm_deliveries_dropped_total', { stage: e.stage, why: e.why })),
    events.on('delivery.dead', (e) => m.count('grm_dead_letters_total', { stage: e.stage })),
    events.on('queue.connection', (e) => {
      m.set('grm_nats_connected', {}, e.state === 'connected' ? 1 : 0);
      if (e.state === 'connected' && lost) m.count('grm_nats_reconnects_total', {});
      lost = e.state === 'disconnected';
    }),
    events.on('queue.swept', (e) => {
      m.count('grm_queue_orphans_total', {}, e.orphans);
      m.count('grm_queue_phantoms_total', {}, e.phantoms);
    }),
    events.on('queue.drift', () => m.count('grm_queue_drift_total', {})),
    events.on('queue.lost', () => m.count('grm_streams_lost_total', {})),
    events.on('queue.trimmed', (e) => m.count('grm_ledger_trimmed_messages_total', { stream: e.stream }, e.messages)),
    events.on('result.held', (e) => m.count('grm_results_held_total', { stage: e.stage }, e.results)),
    events.on('actor.changed', (e) => {
      if (e.to === 'restarting') m.count('grm_actor_restarts_total', { kind: e.kind });
    }),
    events.on('engine.service', ({ engine, state, cause }) => {
      if (state === 'out' && cause) m.count('grm_engine_out_of_service_total', { engine, cause });
    }),
    events.on('node.drain', (e) => m.set('grm_draining', {}, e.phase === 'resumed' ? 0 : 1)),
    events.on('trouble', () => m.count('grm_troubles_total', {})),
  ];
  return () => {
    for (const stop of stops) stop();
  };
}

async function readSources(sources: GaugeSources, m: Meters): Promise<void> {
  const load = sources.load?.();
  if (load) {
    m.set('grm_inflight_requests', {}, load.requestsInFlight);
    m.set('grm_inflight_samples', {}, load.samplesInFlight);
    m.set('grm_inflight_bytes', {}, load.bytesInFlight);
  }
  const slots = sources.slots?.();
  if (slots) {
    m.set('grm_slots', { state: 'free' }, slots.free);
    m.set('grm_slots', { state: 'busy' }, slots.busy);
  }
  for (const { stream, bytes, usedRatio, trouble } of sources.streams?.() ?? []) {
    m.set('grm_stream_bytes', { stream }, bytes);
    m.set('grm_stream_used_ratio', { stream }, usedRatio);
    m.set('grm_stream_trouble', { stream }, trouble === undefined ? 0 : 1);
  }
  for (const { engine, serves } of sources.engines?.() ?? []) {
    m.set('grm_engine_in_service', { engine }, serves ? 1 : 0);
  }
  if (sources.connected) m.set('grm_nats_connected', {}, sources.connected() ? 1 : 0);
  if (sources.clockSkewMs) m.set('grm_clock_skew_seconds', {}, (sources.clockSkewMs() ?? NaN) / 1_000);
  if (sources.actors) {
    const counts = new Map<string, { kind: string; state: LabelsOf<'grm_actors'>['state']; n: number }>();
    for (const { kind, state } of sources.actors()) {
      const row = counts.get(`${kind} ${state}`) ?? { kind, state, n: 0 };
      row.n += 1;
      counts.set(`${kind} ${state}`, row);
    }
    m.clear('grm_actors');
    for (const { kind, state, n } of counts.values()) m.set('grm_actors', { kind, state }, n);
  }
  const [depths, dead] = await Promise.all([within(sources.queueDepths), within(sources.deadShards)]);
  m.clear('grm_queue_messages');
  m.clear('grm_queue_redelivered_messages');
  for (const depth of depths ?? []) {
    const labels = { stream: depth.stream, pool: depth.pool, class: depth.class };
    m.set('grm_queue_messages', { ...labels, state: 'pending' }, depth.pending);
    m.set('grm_queue_messages', { ...labels, state: 'in_flight' }, depth.inFlight);
    m.set('grm_queue_redelivered_messages', labels, depth.redelivered);
  }
  if (dead !== undefined) m.set('grm_dead_shards', {}, dead);
}

/** What a source says, or undefined when it fails or takes longer than limits.metricsCollectMs: a scrape must not hang on NATS. */
async function within<T>(read: (() => Promise<T>) | undefined): Promise<T | undefined> {
  if (!read) return undefined;
  let timer: NodeJS.Timeout | undefined;
  const late = new Promise<undefined>((resolve) => {
    timer = setTimeout(() => resolve(undefined), limits.metricsCollectMs);
  });
  try {
    return await Promise.race([read(), late]);
  } catch {
    return undefined;
  } finally {
    clearTimeout(timer);
  }
}

/**
 * Prometheus text as OpenMetrics 1.0: counters are declared without `_total`, no blank lines, an end mark.
 * Not through prom-client's own mode, which renames the registry's counters in place and so spoils the other format.
 */
export function toOpenMetrics(text: string): string {
  const counters = new Set<string>();
  for (const [, name] of text.matchAll(/^# TYPE (\S+)_total counter$/gm)) if (name) counters.add(name);
  const lines = text.split('\n').filter((line) => line !== '');
  const renamed = lines.map((line) => {
    const [, keyword, name, rest] = /^# (HELP|TYPE) (\S+)_total (.*)$/.exec(line) ?? [];
    return keyword && name && counters.has(name) ? `# ${keyword} ${name} ${rest ?? ''}` : line;
  });
  return `${renamed.join('\n')}\n# EOF\n`;
}
