import { execFileSync } from 'node:child_process';
import { describe, expect, it } from 'vitest';
import { Events } from '../../../src/observe/events.js';
import { processRoles, type MetricRow } from '../../../src/observe/metric-row.js';
import { metricTable } from '../../../src/observe/metric-table.js';
import { openMetrics } from '../../../src/observe/metrics.js';

/** Prometheus naming rules (what `promtool check metrics` says, and our own on top). */
function lint(name: string, row: MetricRow): string[] {
  const wrong: string[] = [];
  if (!/^grm_[a-z][a-z0-9]*(_[a-z0-9]+)*$/.test(name)) wrong.push('name is not snake_case under grm_');
  if ((row.type === 'counter') !== name.endsWith('_total')) wrong.push('counters, and they alone, end in _total');
  const base = name.replace(/_total$/, '');
  for (const unit of ['seconds', 'bytes', 'ratio'] as const) {
    if ((row.unit === unit) !== base.endsWith(`_${unit}`)) wrong.push(`unit and suffix disagree about ${unit}`);
  }
  if (/_(ms|milliseconds|minutes|kb|mb|percent|info_total|count|sum|bucket)$/.test(base))
    wrong.push('no base unit, or a reserved suffix');
  if (row.help === '' || !row.help.endsWith('.')) wrong.push('help is no sentence');
  if ((row.type === 'histogram') !== (row.buckets !== undefined))
    wrong.push('histograms, and they alone, have buckets');
  if (row.buckets?.some((bound, i, all) => i > 0 && bound <= all[i - 1]!)) wrong.push('buckets do not rise');
  for (const [label, values] of Object.entries(row.labels)) {
    if (!/^[a-z]+(_[a-z]+)*$/.test(label) || ['le', 'quantile', 'job', 'instance'].includes(label))
      wrong.push(`label ${label} is reserved or misspelt`);
    if (/request|tenant|sample|worker|node/.test(label)) wrong.push(`label ${label} is not bounded`);
    if ('limited' in values) {
      if (values.limited < 1 || values.limited > 100) wrong.push(`label ${label} takes too many values`);
    } else if (new Set<string>(values).size !== values.length || values.length === 0)
      wrong.push(`label ${label} has no or equal values`);
  }
  if (row.roles.length === 0) wrong.push('belongs to no process');
  const series = Object.values(row.labels).reduce(
    (n, values) => n * ('limited' in values ? 1 : values.length),
    row.buckets ? row.buckets.length + 3 : 1,
  );
  if (series > 200) wrong.push(`${series} series from the start`);
  return wrong;
}

describe('metric table', () => {
  it.each(Object.entries(metricTable) as [string, MetricRow][])('%s keeps the naming rules', (name, row) => {
    expect(lint(name, row)).toEqual([]);
  });

  const good: MetricRow = { type: 'counter', unit: 'count', help: 'Things.', labels: {}, roles: ['coordinator'] };
  it.each([
    ['http_requests_total', good],
    ['grm_Requests_total', good],
    ['grm_requests', good],
    ['grm_requests_total', { ...good, type: 'gauge' as const }],
    ['grm_wait_ms_total', good],
    ['grm_wait_total', { ...good, unit: 'seconds' as const }],
    ['grm_wait_seconds_total', good],
    ['grm_things_total', { ...good, help: 'no full stop' }],
    ['grm_things_total', { ...good, buckets: [1] }],
    ['grm_things', { ...good, type: 'histogram' as const, buckets: [1, 1] }],
    ['grm_things', { ...good, type: 'histogram' as const }],
    ['grm_things_total', { ...good, labels: { request_id: { limited: 50 } } }],
    ['grm_things_total', { ...good, labels: { le: ['a'] } }],
    ['grm_things_total', { ...good, labels: { kind: ['a', 'a'] } }],
    ['grm_things_total', { ...good, labels: { model: { limited: 100_000 } } }],
    ['grm_things_total', { ...good, roles: [] }],
  ] satisfies [string, MetricRow][])('the rules refuse %s (%#)', (name, row) => {
    expect(lint(name, row)).not.toEqual([]);
  });

  it.runIf(promtool())('promtool finds nothing in the pages of any role', async () => {
    for (const role of processRoles) {
      const metrics = openMetrics({ role, version: '1.2.3', events: new Events() });
      const page = await metrics.page('prometheus');
      metrics.close();
      expect(execFileSync('promtool', ['check', 'metrics'], { input: page.body }).toString()).toBe('');
    }
  });
});

function promtool(): boolean {
  try {
    execFileSync('promtool', ['--version'], { stdio: 'ignore' });
    return true;
  } catch {
    return false;
  }
}
