// Report: results as tables. docs/scale.md holds what this prints.

import { bottlenecks, fullAfterS, storageBytesDefault } from './bottleneck.js';
import { limits } from '../../src/limits.js';
import { inputsDefault } from './inputs.js';
import { purposes } from './nats.js';
import type { Result } from './simulate.js';

const percent = (ratio: number): string => `${(100 * ratio).toFixed(1)}%`;
const seconds = (ms: number): string => `${(ms / 1e3).toFixed(1)} s`;
const whole = (value: number): string => Math.round(value).toLocaleString('en');

function table(head: readonly string[], rows: readonly (readonly string[])[]): string {
  const line = (cells: readonly string[]): string => `| ${cells.join(' | ')} |`;
  return [line(head), line(head.map(() => '---')), ...rows.map(line)].join('\n');
}

export function report(results: readonly Result[]): string {
  const label = ({ scenario }: Result): string => {
    const { workers, coordinators, partitions, k, stop, meta, crashEveryHours, shardSamplesMax, inputs } = scenario;
    const parts = [
      `${whole(workers)} workers`,
      `${coordinators} coord.`,
      ...(partitions > 1 ? [`${partitions} parts`] : []),
      `k=${k}`,
      ...(shardSamplesMax === limits.shardSamplesMax ? [] : [`shards of ${shardSamplesMax}`]),
      ...(inputs.engine.slots === inputsDefault.engine.slots ? [] : [`${inputs.engine.slots} slots`]),
      ...(stop === 'none' ? [] : [stop]),
      ...(meta ? ['meta'] : []),
      // JSON knows no infinity: it is null there.
      ...(Number.isFinite(crashEveryHours) ? [`a crash each ${crashEveryHours} h`] : []),
    ];
    return parts.join(', ');
  };
  const cluster = table(
    ['run', 'samples', 'samples/s', 'slots busy', 'taken', 'makespan', 'tail', 'p50', 'p99', 'saved', 'drawn twice'],
    results.map((each) => [
      label(each),
      whole(each.samples),
      whole(each.samplesPerSecond),
      percent(each.busyRatio),
      percent(each.takenRatio),
      `${whole(each.makespanS)} s`,
      `${each.tailS.toFixed(0)} s`,
      seconds(each.latencyMs.p50),
      seconds(each.latencyMs.p99),
      percent(each.samplesSaved / (each.samples + each.samplesSaved)),
      whole(each.duplicates),
    ]),
  );
  const classes = [...new Set(results.flatMap(({ latencyOfClassMs }) => Object.keys(latencyOfClassMs)))];
  const latencies = table(
    ['run', ...classes.map((cls) => `${cls} p50 / p99`), 'first sample waits p50 / p99'],
    results.map((each) => [
      label(each),
      ...classes.map((cls) => {
        const own = each.latencyOfClassMs[cls];
        return own ? `${seconds(own.p50)} / ${seconds(own.p99)}` : '-';
      }),
      `${seconds(each.queueMs.p50)} / ${seconds(each.queueMs.p99)}`,
    ]),
  );
  const fairness = table(
    ['run', 'Jain, flows', 'Jain, tenants', 'flow: share (due)'],
    results.map((each) => [
      label(each),
      each.jainOfFlows.toFixed(4),
      each.jainOfTenants.toFixed(4),
      each.flows.map(({ name, share, due }) => `${name} ${percent(share)} (${percent(due)})`).join(', '),
    ]),
  );
  const traffic = table(
    ['run', ...purposes, 'messages', 'bytes', 'messages/s', 'MB/s'],
    results.map((each) => {
      const messages = purposes.reduce((sum, name) => sum + each.nats[name].messages, 0);
      const bytes = purposes.reduce((sum, name) => sum + each.nats[name].bytes, 0);
      return [
        label(each),
        ...purposes.map((name) => each.nats[name].messages.toFixed(2)),
        messages.toFixed(1),
        whole(bytes),
        whole(messages * each.samplesPerSecond),
        ((bytes * each.samplesPerSecond) / 1e6).toFixed(1),
      ];
    }),
  );
  const limitsOf = table(
    ['run', 'first full', 'used', 'full at workers', 'next', 'used', 'GRM_RES of 4 GiB full after'],
    results.map((each) => {
      const [first, second] = bottlenecks(each);
      return [
        label(each),
        first?.name ?? '-',
        percent(first?.utilisation ?? 0),
        whole(first?.fullAtWorkers ?? 0),
        second?.name ?? '-',
        percent(second?.utilisation ?? 0),
        `${whole(fullAfterS(each, 'GRM_RES', storageBytesDefault))} s`,
      ];
    }),
  );
  return [
    '### Work\n',
    cluster,
    '\n### Latency by class\n',
    latencies,
    '\n### Fairness\n',
    fairness,
    '\n### NATS, messages per sample\n',
    traffic,
    '\n### Bottlenecks\n',
    limitsOf,
  ].join('\n');
}
