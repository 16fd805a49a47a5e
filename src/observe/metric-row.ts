// Metric row: what a row of metric-table.ts says, and the buckets that its histograms share.

/** Which process a metric belongs to: the role in build_info. */
export const processRoles = ['coordinator', 'grm-worker', 'meta-worker'] as const;
export type ProcessRole = (typeof processRoles)[number];

/** All values a label may take, or how many distinct ones before "other". */
export type LabelValues = readonly string[] | { readonly limited: number };

export interface MetricRow {
  readonly type: 'counter' | 'gauge' | 'histogram';
  readonly unit: 'count' | 'seconds' | 'bytes' | 'ratio' | 'tokens' | 'score points' | 'flag';
  readonly help: string;
  readonly labels: Readonly<Record<string, LabelValues>>;
  readonly roles: readonly ProcessRole[];
  /** Upper bounds, in `unit`; histograms alone. */
  readonly buckets?: readonly number[];
}

/** End-to-end and generation times: vLLM's own buckets for a request, so that the two can be laid side by side. */
export const wholeSeconds = [
  0.3, 0.5, 0.8, 1, 1.5, 2, 2.5, 5, 10, 15, 20, 30, 40, 50, 60, 120, 240, 480, 960, 1920, 7680,
] as const;
export const queueSeconds = [0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 120, 300, 600] as const;
/** One forward pass: vLLM's buckets for the time to the first token. */
export const passSeconds = [
  0.001, 0.005, 0.01, 0.02, 0.04, 0.06, 0.08, 0.1, 0.25, 0.5, 0.75, 1, 2.5, 5, 7.5, 10, 20, 40, 80, 160, 640, 2560,
] as const;
