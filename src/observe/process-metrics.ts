// Process metrics: the rows of metric-table.ts that speak of the process itself: its connection, its clock, its actors.

import { limits } from '../limits.js';
import { processRoles, type MetricRow } from './metric-row.js';

export const actorStates = ['pending', 'starting', 'alive', 'draining', 'restarting', 'dead'] as const;

const named = { limited: limits.metricLabelValuesMax } as const;
const everywhere = processRoles;

export const processMetrics = {
  grm_nats_connected: {
    type: 'gauge',
    unit: 'flag',
    help: '1 while this process is connected to NATS.',
    labels: {},
    roles: everywhere,
  },
  grm_nats_reconnects_total: {
    type: 'counter',
    unit: 'count',
    help: 'Connections to NATS that came back after they were lost.',
    labels: {},
    roles: everywhere,
  },

  grm_clock_skew_seconds: {
    type: 'gauge',
    unit: 'seconds',
    help: "This machine's clock less that of NATS. No deadline depends on it; NaN while the clock of NATS is not known.",
    labels: {},
    roles: everywhere,
  },

  grm_actors: {
    type: 'gauge',
    unit: 'count',
    help: 'Actors of this process by kind and state.',
    labels: { kind: named, state: actorStates },
    roles: everywhere,
  },
  grm_actor_restarts_total: {
    type: 'counter',
    unit: 'count',
    help: 'Actors that failed and were put down for another start.',
    labels: { kind: named },
    roles: everywhere,
  },
  grm_draining: {
    type: 'gauge',
    unit: 'flag',
    help: '1 while this process drains.',
    labels: {},
    roles: everywhere,
  },
  grm_troubles_total: {
    type: 'counter',
    unit: 'count',
    help: 'Unexpected errors that were no fault of a caller; the log holds each.',
    labels: {},
    roles: everywhere,
  },
} as const satisfies Record<`grm_${string}`, MetricRow>;
