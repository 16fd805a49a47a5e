// The page that a run leaves beside its numbers.

import { execFileSync } from 'node:child_process';
import { cpus, loadavg } from 'node:os';
import { findNatsServer } from '../src/cli/nats-server.js';
import { environment } from '../src/process/environment.js';
import type { Figure, Measurement } from './figure.js';

export interface Result {
  readonly measurement: Measurement;
  readonly figures: readonly Figure[];
}

/** Read before anything is measured. */
export function machineWords(): string {
  const [cpu] = cpus();
  const binary = findNatsServer('nats-server', environment().PATH ?? '');
  return `${cpus().length} cores (${cpu?.model.trim() ?? 'unknown'}), Node ${process.version}, ${natsVersion(binary)}, load average ${loadavg()[0]!.toFixed(1)} before the run`;
}

function natsVersion(binary: string | undefined): string {
  if (binary === undefined) return 'no nats-server';
  try {
    return execFileSync(binary, ['--version'], { encoding: 'utf8' }).trim();
  } catch {
    // Interrupted, or not what its name says: the measurements that need it will tell.
    return `${binary}, which does not tell its version`;
  }
}

export function pageOf(results: readonly Result[], machine: string, seconds: number): string {
  const sections = results.map(({ measurement, figures }) =>
    [`## ${measurement.title}`, measurement.words, table(figures), ...unfinishedWords(figures)].join('\n\n'),
  );
  const gaps = results.flatMap(({ measurement }) => measurement.notMeasured.map((gap) => `- ${gap}`));
  return `${[
    '# Bench',
    `Made by \`make bench\`: ${machine}; measured stretches of ${seconds} s. Every ceiling comes from the same run. A machine that does other work ` +
      'makes rates and latencies worse, and not all alike: then read the CPU figures.',
    ...sections,
    '## What is not measured',
    gaps.join('\n'),
  ].join('\n\n')}\n`;
}

/** One line per reason. */
function unfinishedWords(figures: readonly Figure[]): string[] {
  const reasons = new Map<string, string[]>();
  for (const { name, unfinished } of figures) {
    if (unfinished !== undefined) reasons.set(unfinished, [...(reasons.get(unfinished) ?? []), name]);
  }
  return [...reasons].map(([why, names]) => `Unfinished, because ${why}: ${names.join('; ')}.`);
}

function table(figures: readonly Figure[]): string {
  const rows = figures.map(({ name, value, unit, error, ceiling, ratio, bar, met }) => [
    name,
    value === null ? 'unfinished' : `${short(value)}${error === undefined ? '' : ` ± ${error.toPrecision(2)}`} ${unit}`,
    ceiling === null ? '' : `${short(ceiling)} ${unit}`,
    ratio === null ? '' : ratio.toFixed(2),
    bar ?? '',
    met === null ? '' : met ? 'yes' : 'no',
  ]);
  const head = ['', 'value', 'ceiling', 'ratio', 'bar', 'met'];
  const widths = head.map((cell, at) => Math.max(3, cell.length, ...rows.map((row) => row[at]!.length)));
  const line = (cells: readonly string[]): string =>
    `| ${cells.map((cell, at) => cell.padEnd(widths[at]!)).join(' | ')} |`;
  return [line(head), line(widths.map((width) => '-'.repeat(width))), ...rows.map(line)].join('\n');
}

function short(value: number): string {
  if (!Number.isFinite(value)) return '-';
  return Math.abs(value) >= 1_000 ? String(Math.round(value)) : value.toPrecision(3);
}
