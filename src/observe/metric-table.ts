// Metric table: every metric of the project, one row each (those of the process itself in process-metrics.ts). prom-client's metrics are made from it (metrics.ts), docs/metrics.md is generated from it.
//
// Names: prefix `grm_`, base units last (`_seconds`, `_bytes`, `_ratio`), counters end in `_total`.
//
//   M1. Every label has a closed set of values, or a limit on how many distinct ones it may take; what comes beyond is "other". No request id is ever a label.
//   M2. Series whose labels are all closed exist with 0 from the start; the others exist whole as soon as their open label has a value.

import { faults, type FaultKind } from '../fault.js';
import { classes, voteMethods } from '../grm/query.js';
import { sampleInvalidReasons, type SampleInvalidReason } from '../grm/sample.js';
import { degradedReasons } from '../grm/verdict.js';
import { limits } from '../limits.js';
import type { Stage } from '../work/shard.js';
import { engineMetrics } from './engine-metrics.js';
import { passSeconds, processRoles, queueSeconds, wholeSeconds, type MetricRow } from './metric-row.js';
import { processMetrics } from './process-metrics.js';
import { queueMetrics } from './queue-metrics.js';

/** What counts as unparsable output, apart from samples that brought no output at all. */
export const parseFailureReasons = [
  'no_box',
  'wrong_count',
  'out_of_range',
  'not_a_number',
  'truncated',
] as const satisfies readonly SampleInvalidReason[];
export type ParseFailureReason = (typeof parseFailureReasons)[number];

const faultKinds = Object.keys(faults) as FaultKind[];
const stages = ['sample', 'meta'] as const satisfies readonly Stage[];
const named = { limited: limits.metricLabelValuesMax } as const;

const everywhere = processRoles;
const coordinator = ['coordinator'] as const;
const grmWorker = ['grm-worker'] as const;
const metaWorker = ['meta-worker'] as const;
const workers = ['grm-worker', 'meta-worker'] as const;

export const metricTable = {
  grm_build_info: {
    type: 'gauge',
    unit: 'flag',
    help: 'Always 1; the labels say what runs.',
    labels: { version: named, role: named },
    roles: everywhere,
  },

  grm_requests_accepted_total: {
    type: 'counter',
    unit: 'count',
    help: 'Requests accepted: their record is stored.',
    labels: { class: classes },
    roles: coordinator,
  },
  grm_requests_known_total: {
    type: 'counter',
    unit: 'count',
    help: 'Requests that joined a running one or were answered from a stored verdict.',
    labels: { how: ['joined', 'stored', 'elsewhere'] },
    roles: coordinator,
  },
  grm_requests_taken_over_total: {
    type: 'counter',
    unit: 'count',
    help: 'Requests of a dead coordinator that went on here.',
    labels: {},
    roles: coordinator,
  },
  grm_requests_total: {
    type: 'counter',
    unit: 'count',
    help: 'Requests finished, by what became of them: a valid verdict, an invalid one, or a fault.',
    labels: { outcome: ['valid', 'invalid', ...faultKinds], class: classes },
    roles: coordinator,
  },
  grm_request_duration_seconds: {
    type: 'histogram',
    unit: 'seconds',
    help: 'Time from the door to the answer.',
    labels: { class: classes },
    roles: coordinator,
    buckets: wholeSeconds,
  },
  grm_admission_rejected_total: {
    type: 'counter',
    unit: 'count',
    help: 'Requests turned away at the door, by what was full: samples or bytes of this coordinator, callers of one request, the request ledger or the work queue, the storage that what was accepted will need; or a stream was missing, the coordinator drained, or its clock was off.',
    labels: {
      reason: ['samples', 'bytes', 'waiters', 'queue_full', 'storage', 'queue_unavailable', 'draining', 'clock'],
    },
    roles: coordinator,
  },
  grm_inflight_requests: {
    type: 'gauge',
    unit: 'count',
    help: 'Requests running on this coordinator.',
    labels: {},
    roles: coordinator,
  },
  grm_inflight_samples: {
    type: 'gauge',
    unit: 'count',
    help: 'Samples of the requests running on this coordinator that are not there yet.',
    labels: {},
    roles: coordinator,
  },
  grm_inflight_bytes: {
    type: 'gauge',
    unit: 'bytes',
    help: 'Content of the requests running on this coordinator.',
    labels: {},
    roles: coordinator,
  },

  grm_votes_total: {
    type: 'counter',
    unit: 'count',
    help: 'Verdicts by the vote that was used, which is not always the one asked for.',
    labels: { method: voteMethods },
    roles: coordinator,
  },
  grm_vote_ties_total: {
    type: 'counter',
    unit: 'count',
    help: 'Verdicts whose first place is shared.',
    labels: {},
    roles: coordinator,
  },
  grm_vote_margin: {
    type: 'histogram',
    unit: 'score points',
    help: 'Mean score of the best response less that of the second, 0 to 9.',
    labels: {},
    roles: coordinator,
    buckets: [0, 0.125, 0.25, 0.5, 1, 1.5, 2, 3, 4, 6, 9],
  },
  grm_vote_agreement_ratio: {
    type: 'histogram',
    unit: 'ratio',
    help: 'Share of the kept samples that put the winner first.',
    labels: {},
    roles: coordinator,
    buckets: [0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 0.99, 1],
  },
  grm_samples_saved_total: {
    type: 'counter',
    unit: 'count',
    help: 'Samples that adaptive k did without, by why drawing stopped.',
    labels: { why: ['outcome_fixed', 'confident'] },
    roles: coordinator,
  },
  grm_samples_ahead_total: {
    type: 'counter',
    unit: 'count',
    help: 'Samples among those that adaptive k did without which were asked for ahead of its rule: engines may have drawn some.',
    labels: {},
    roles: coordinator,
  },
  grm_samples_hedged_total: {
    type: 'counter',
    unit: 'count',
    help: 'Late samples that were asked for once more, elsewhere.',
    labels: {},
    roles: coordinator,
  },
  grm_hedge_wins_total: {
    type: 'counter',
    unit: 'count',
    help: 'Late samples that the second try was the first to bring.',
    labels: {},
    roles: grmWorker,
  },
  grm_samples_missing_total: {
    type: 'counter',
    unit: 'count',
    help: 'Samples that were not there when the time budget ended, by how far they had come: not asked for, waiting at the coordinator, in the queue or at an engine.',
    labels: { why: ['not_asked', 'waiting', 'unfinished'] },
    roles: coordinator,
  },
  grm_verdict_degraded_total: {
    type: 'counter',
    unit: 'count',
    help: 'Verdicts given with less than was asked for, by what was missing. One verdict may count under several reasons.',
    labels: { reason: degradedReasons },
    roles: coordinator,
  },

  grm_samples_total: {
    type: 'counter',
    unit: 'count',
    help: 'Samples finished, by model and by what became of them: scored, or why not.',
    labels: { model: named, outcome: ['scored', ...sampleInvalidReasons] },
    roles: grmWorker,
  },
  grm_parse_failures_total: {
    type: 'counter',
    unit: 'count',
    help: 'Generations whose scores could not be read.',
    labels: { reason: parseFailureReasons },
    roles: grmWorker,
  },
  grm_sample_queue_seconds: {
    type: 'histogram',
    unit: 'seconds',
    help: 'Time a sample waited between the coordinator and an engine.',
    labels: { class: classes },
    roles: grmWorker,
    buckets: queueSeconds,
  },
  grm_sample_inference_seconds: {
    type: 'histogram',
    unit: 'seconds',
    help: 'Time a sample spent in the engine.',
    labels: { class: classes },
    roles: grmWorker,
    buckets: wholeSeconds,
  },
  grm_prompt_tokens_total: {
    type: 'counter',
    unit: 'tokens',
    help: 'Prompt tokens of finished samples.',
    labels: { model: named },
    roles: grmWorker,
  },
  grm_cached_tokens_total: {
    type: 'counter',
    unit: 'tokens',
    help: 'Prompt tokens that the engine found in its prefix cache: a part of grm_prompt_tokens_total.',
    labels: { model: named },
    roles: grmWorker,
  },
  grm_completion_tokens_total: {
    type: 'counter',
    unit: 'tokens',
    help: 'Generated tokens of finished samples.',
    labels: { model: named },
    roles: grmWorker,
  },

  grm_meta_ranks_total: {
    type: 'counter',
    unit: 'count',
    help: 'Samples put to the meta RM, by model and outcome.',
    labels: { model: named, outcome: ['ranked', 'failed'] },
    roles: metaWorker,
  },
  grm_meta_queue_seconds: {
    type: 'histogram',
    unit: 'seconds',
    help: 'Time a sample waited between the coordinator and the meta RM.',
    labels: {},
    roles: metaWorker,
    buckets: queueSeconds,
  },
  grm_meta_rank_seconds: {
    type: 'histogram',
    unit: 'seconds',
    help: 'Time the meta RM took for one sample.',
    labels: {},
    roles: metaWorker,
    buckets: passSeconds,
  },

  grm_slots: {
    type: 'gauge',
    unit: 'count',
    help: 'Slots of this worker over all its engines.',
    labels: { state: ['free', 'busy'] },
    roles: workers,
  },
  grm_redeliveries_total: {
    type: 'counter',
    unit: 'count',
    help: 'Shards that came for the second time or more.',
    labels: { stage: stages },
    roles: workers,
  },
  grm_deliveries_retried_total: {
    type: 'counter',
    unit: 'count',
    help: 'Shards handed back for another try.',
    labels: { stage: stages },
    roles: workers,
  },
  grm_results_held_total: {
    type: 'counter',
    unit: 'count',
    help: 'Finished results that the ledger did not take at once, because it was full or away; they are held and offered again.',
    labels: { stage: stages },
    roles: workers,
  },
  grm_deliveries_dropped_total: {
    type: 'counter',
    unit: 'count',
    help: 'Shards dropped because nobody waits for them any more; unstored: they were worked on, and the ledger took their results until then no more.',
    labels: { stage: stages, why: ['expired', 'cancelled', 'answered', 'hedge_failed', 'unstored'] },
    roles: workers,
  },
  grm_dead_letters_total: {
    type: 'counter',
    unit: 'count',
    help: 'Shards quarantined after their last try.',
    labels: { stage: stages },
    roles: workers,
  },
  grm_duplicates_suppressed_total: {
    type: 'counter',
    unit: 'count',
    help: 'Results that were there already and did not count again, by where that was seen.',
    labels: { stage: stages, where: ['before_engine', 'ledger', 'gather'] },
    roles: everywhere,
  },

  ...queueMetrics,
  ...engineMetrics,
  ...processMetrics,
} as const satisfies Record<`grm_${string}`, MetricRow>;

export type MetricTable = typeof metricTable;
export type MetricName = keyof MetricTable;
/** Names of one type of metric. */
export type MetricNameOf<T extends MetricRow['type']> = {
  [N in MetricName]: MetricTable[N]['type'] extends T ? N : never;
}[MetricName];
/** The labels of a metric, each with the values it may take. */
export type LabelsOf<N extends MetricName> = {
  readonly [L in keyof MetricTable[N]['labels']]: MetricTable[N]['labels'][L] extends readonly (infer V)[] ? V : string;
};
