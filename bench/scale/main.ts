// make scale: the product's planning, fairness, credit, stop and vote code at sizes that no test machine has, in simulated time.
//
//   node dist/bench/scale/main.js [--workers 10,100,1000] [--samples-per-worker 1000 | --samples 10000000] [--coordinators auto]
//     [--partitions 1] [--k 32] [--stop none|outcome_fixed|confident] [--meta] [--meta-workers auto] [--slots 64] [--window auto|4096]
//     [--shard-samples 8] [--crash-hours 100] [--per-slot 3 | --poisson 100] [--tenant-weights a=2,b=1] [--nats-cores 4] [--replica-factor 1] [--seed 1] [--minutes 20] [--json]
//   node dist/bench/scale/main.js --read run-1.json,run-2.json
//
// Lists make a run per value; --minutes ends a run after so much real time, with what was sent until then; --read shows what runs with --json have written.  Inputs and what the model leaves out: docs/scale.md.

import { parseArgs } from 'node:util';
import { stopRules } from '../../src/grm/query.js';
import { limits } from '../../src/limits.js';
import { inputsDefault } from './inputs.js';
import { needJson } from '../places.js';
import { optionsOf, refuse } from '../usage.js';
import { report } from './report.js';
import { flowsDefault, type Scenario } from './scenario.js';
import { simulate, type Progress, type Result } from './simulate.js';

const values = optionsOf(
  () =>
    parseArgs({
      options: {
        workers: { type: 'string', default: '10,100,1000' },
        samples: { type: 'string' },
        'samples-per-worker': { type: 'string', default: '1000' },
        coordinators: { type: 'string', default: 'auto' },
        partitions: { type: 'string', default: '1' },
        k: { type: 'string', default: '32' },
        responses: { type: 'string', default: '2' },
        stop: { type: 'string', default: 'none' },
        meta: { type: 'boolean', default: false },
        'meta-workers': { type: 'string', default: 'auto' },
        slots: { type: 'string', default: String(inputsDefault.engine.slots) },
        window: { type: 'string', default: 'auto' },
        'shard-samples': { type: 'string', default: String(limits.shardSamplesMax) },
        'crash-hours': { type: 'string' },
        'per-slot': { type: 'string', default: '3' },
        poisson: { type: 'string' },
        'tenant-weights': { type: 'string', default: '' },
        'nats-cores': { type: 'string', default: String(inputsDefault.nats.cores) },
        'replica-factor': { type: 'string', default: '1' },
        seed: { type: 'string', default: '1' },
        minutes: { type: 'string' },
        read: { type: 'string' },
        json: { type: 'boolean', default: false },
      },
    }).values,
);

/** Workers that one coordinator is given by `auto`. */
const workersPerCoordinator = 250;
/** Meta engines to GRM engines by `auto`. */
const metaShare = 0.5;

const results: Result[] = [];
for (const path of values.read?.split(',') ?? []) {
  const read = needJson('--read', path);
  if (!Array.isArray(read) || !read.every(isResult))
    refuse(`--read ${path}: expected what a run with --json has written`);
  results.push(...(read as Result[]));
}
for (const workers of values.read === undefined ? numbersOf('workers', values.workers) : []) {
  for (const k of numbersOf('k', values.k)) {
    for (const partitions of numbersOf('partitions', values.partitions)) {
      for (const stop of values.stop.split(',')) results.push(await run(scenarioOf(workers, k, partitions, stop)));
    }
  }
}
process.stdout.write(values.json ? `${JSON.stringify(results, undefined, 1)}\n` : `${report(results)}\n`);

function scenarioOf(workers: number, k: number, partitions: number, stop: string): Scenario {
  const rule = stopRules.find((known) => known === stop);
  if (rule === undefined) refuse(`--stop: ${stop}, expected one of ${stopRules.join(', ')}`);
  const auto = (text: string, own: number, name: string): number => (text === 'auto' ? own : numberOf(name, text));
  const whole = Math.ceil(workers / workersPerCoordinator / partitions) * partitions;
  return {
    seed: numberOf('seed', values.seed),
    inputs: {
      ...inputsDefault,
      nats: {
        ...inputsDefault.nats,
        cores: numberOf('nats-cores', values['nats-cores']),
        replicaFactor: numberOf('replica-factor', values['replica-factor']),
      },
      engine: { ...inputsDefault.engine, slots: numberOf('slots', values.slots) },
    },
    workers,
    metaWorkers: values.meta ? auto(values['meta-workers'], Math.ceil(workers * metaShare), 'meta-workers') : 0,
    coordinators: auto(values.coordinators, whole, 'coordinators'),
    partitions,
    samples:
      values.samples === undefined
        ? workers * numberOf('samples-per-worker', values['samples-per-worker'])
        : numberOf('samples', values.samples),
    k,
    responses: numberOf('responses', values.responses),
    stop: rule,
    meta: values.meta,
    judge: { accuracy: 0.75, metaAccuracy: 0.85 },
    flows: flowsDefault,
    tenantWeights: Object.fromEntries(
      values['tenant-weights']
        .split(',')
        .filter((pair) => pair !== '')
        .map((pair): [string, number] => {
          const [tenant = '', weight = ''] = pair.split('=');
          return [tenant, numberOf('tenant-weights', weight)];
        }),
    ),
    classWeights: { interactive: 8, rl: 4, batch: 1 },
    windowSamples: values.window === 'auto' ? 'auto' : numberOf('window', values.window),
    shardSamplesMax: numberOf('shard-samples', values['shard-samples']),
    arrivals:
      values.poisson === undefined
        ? { kind: 'backlog', perSlot: numberOf('per-slot', values['per-slot']) }
        : { kind: 'poisson', requestsPerSecond: numberOf('poisson', values.poisson) },
    crashEveryHours: values['crash-hours'] === undefined ? Infinity : numberOf('crash-hours', values['crash-hours']),
    restartMs: 120_000,
  };
}

function isResult(value: unknown): boolean {
  return typeof value === 'object' && value !== null && 'scenario' in value && 'samples' in value;
}

async function run(scenario: Scenario): Promise<Result> {
  const startedAtMs = performance.now();
  const cpuBefore = process.cpuUsage();
  let toldAtMs = startedAtMs;
  const minutes = values.minutes === undefined ? Infinity : numberOf('minutes', values.minutes);
  const tell = ({ done, total, timeMs }: Progress): 'stop' | undefined => {
    const nowMs = performance.now();
    const over = nowMs - startedAtMs > minutes * 60_000 ? 'stop' : undefined;
    if (nowMs - toldAtMs < 2_000) return over;
    toldAtMs = nowMs;
    const leftS = ((nowMs - startedAtMs) * (total - done)) / Math.max(1, done) / 1e3;
    const words = `${scenario.workers} workers: ${((100 * done) / total).toFixed(1)}% of ${total} requests, ${(timeMs / 1e3).toFixed(0)} s simulated, ${leftS.toFixed(0)} s left`;
    process.stderr.write(process.stderr.isTTY ? `\r${words}    ` : `${words}\n`);
    return over;
  };
  const result = await simulate(scenario, tell);
  const { user, system } = process.cpuUsage(cpuBefore);
  const cpuS = (user + system) / 1e6;
  process.stderr.write(
    `${process.stderr.isTTY ? '\n' : ''}${scenario.workers} workers: ${result.samples} samples, ${result.events} events, ${cpuS.toFixed(1)} s of CPU, ${((1e6 * cpuS) / result.samples).toFixed(1)} µs a sample\n`,
  );
  for (const trouble of result.troubles.slice(0, 5)) process.stderr.write(`trouble: ${trouble}\n`);
  return result;
}

function numberOf(name: string, text: string): number {
  const value = Number(text);
  if (text === '' || !(value >= 0)) refuse(`--${name}: ${JSON.stringify(text)}, expected a number from 0`);
  return value;
}

function numbersOf(name: string, text: string): readonly number[] {
  return text.split(',').map((each) => numberOf(name, each));
}
