// Engine metrics: the rows of metric-table.ts that tell of engines.

import { limits } from '../limits.js';
import type { MetricRow } from './metric-row.js';

/** Why an engine that is up gets no work; engine/engine.ts says what each means. */
export const outageCauses = ['away', 'busy', 'refused', 'failing', 'broke', 'unclear'] as const;

const named = { limited: limits.metricLabelValuesMax } as const;
const workers = ['grm-worker', 'meta-worker'] as const;

export const engineMetrics = {
  grm_engine_in_service: {
    type: 'gauge',
    unit: 'flag',
    help: '1 while this engine takes work: it is up, and its breaker is closed.',
    labels: { engine: named },
    roles: workers,
  },
  grm_engine_out_of_service_total: {
    type: 'counter',
    unit: 'count',
    help: 'Times that an engine which is up was taken out of service, or stayed out for another reason: away = no connection, busy = it turned work away, refused = key, address or gateway, failing = 5xx and empty replies, broke = connections cut or silent until the time-out, unclear = it rejects whatever is asked.',
    labels: { engine: named, cause: outageCauses },
    roles: workers,
  },
} as const satisfies Record<`grm_${string}`, MetricRow>;
