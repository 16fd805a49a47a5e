// Queue metrics: the rows of metric-table.ts that tell of the streams in NATS.

import { classes } from '../grm/query.js';
import { limits } from '../limits.js';
import { processRoles, type MetricRow } from './metric-row.js';

const named = { limited: limits.metricLabelValuesMax } as const;
const everywhere = processRoles;
const coordinator = ['coordinator'] as const;

export const queueMetrics = {
  grm_queue_messages: {
    type: 'gauge',
    unit: 'count',
    help: 'Shards in the work queues: waiting, or with a worker.',
    labels: { stream: named, pool: named, class: classes, state: ['pending', 'in_flight'] },
    roles: coordinator,
  },
  grm_queue_redelivered_messages: {
    type: 'gauge',
    unit: 'count',
    help: 'Shards in the work queues that were delivered more than once.',
    labels: { stream: named, pool: named, class: classes },
    roles: coordinator,
  },
  grm_dead_shards: {
    type: 'gauge',
    unit: 'count',
    help: 'Shards in quarantine now.',
    labels: {},
    roles: coordinator,
  },
  grm_queue_orphans_total: {
    type: 'counter',
    unit: 'count',
    help: 'Finished shards that a killed nats-server had brought back, cleared by the janitor.',
    labels: {},
    roles: everywhere,
  },
  grm_queue_phantoms_total: {
    type: 'counter',
    unit: 'count',
    help: 'Deliveries that a killed nats-server still waited for though their shard was gone, cleared by the janitor.',
    labels: {},
    roles: everywhere,
  },
  grm_queue_drift_total: {
    type: 'counter',
    unit: 'count',
    help: 'Settings of streams that the server did not take as asked.',
    labels: {},
    roles: everywhere,
  },
  grm_stream_bytes: {
    type: 'gauge',
    unit: 'bytes',
    help: 'Bytes in a stream, as the last look at it found them.',
    labels: { stream: named },
    roles: coordinator,
  },
  grm_stream_used_ratio: {
    type: 'gauge',
    unit: 'ratio',
    help: 'Share of the bytes or messages that a stream may hold, whichever is more. New requests are shed before it is 1; 0 while nothing is known of it.',
    labels: { stream: named },
    roles: coordinator,
  },
  grm_stream_trouble: {
    type: 'gauge',
    unit: 'flag',
    help: '1 while a stream is missing, or changed so that it cannot be worked with: nothing is accepted meanwhile.',
    labels: { stream: named },
    roles: coordinator,
  },
  grm_streams_lost_total: {
    type: 'counter',
    unit: 'count',
    help: 'Streams, or consumers of them, that somebody removed and that were made anew: what was in them is lost.',
    labels: {},
    roles: coordinator,
  },
  grm_ledger_trimmed_messages_total: {
    type: 'counter',
    unit: 'count',
    help: 'Messages of finished requests that the janitor removed before their time to make room.',
    labels: { stream: named },
    roles: coordinator,
  },
} as const satisfies Record<`grm_${string}`, MetricRow>;
