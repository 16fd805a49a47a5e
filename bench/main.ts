// make bench: measures the project on this machine, each figure beside its ceiling from the same run.
//
//   node dist/bench/main.js [--only NAME]... [--seconds N] [--out FOLDER] [--profile FOLDER]
//
// Writes latest.json and latest.md, of the measurements that ran, and a line per figure. Exit code 1 when one of them failed; a bar that is
// not met is no failure. --profile: processes of the cluster leave CPU profiles (V8's format) there when they end.

import { mkdir, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { parseArgs } from 'node:util';
import { packageRoot } from '../src/process/version.js';
import type { Figure, Measurement, Setting } from './figure.js';
import { adaptive } from './figures/adaptive.js';
import { latency } from './figures/latency.js';
import { nano } from './figures/nano.js';
import { overload } from './figures/overload.js';
import { prefix } from './figures/prefix.js';
import { saturation } from './figures/saturation.js';
import { scale } from './figures/scale.js';
import { throughput } from './figures/throughput.js';
import { machineWords, pageOf, type Result } from './page.js';
import { optionsOf, refuse } from './usage.js';

const all: readonly Measurement[] = [throughput, latency, saturation, nano, adaptive, prefix, overload, scale];
const names = all.map(({ name }) => name).join(', ');

const values = optionsOf(
  () =>
    parseArgs({
      options: {
        only: { type: 'string', multiple: true },
        seconds: { type: 'string', default: '8' },
        out: { type: 'string', default: join(packageRoot, 'bench', 'results') },
        profile: { type: 'string' },
      },
    }).values,
);
const seconds = Number(values.seconds);
if (!(seconds > 0 && seconds <= 600)) refuse(`--seconds ${values.seconds}: expected above 0, at most 600`);
for (const name of values.only ?? []) {
  if (!all.some((each) => each.name === name)) refuse(`--only ${name}: expected one of ${names}`);
}
const wanted = all.filter(({ name }) => values.only?.includes(name) ?? true);

const say = (line: string): void => void process.stdout.write(`${line}\n`);

async function run(measurement: Measurement, setting: Setting): Promise<Result> {
  say(measurement.title);
  try {
    const figures = await measurement.measure(setting);
    figures.forEach(tellFigure);
    return { measurement, figures };
  } catch (error) {
    const failure = error instanceof Error ? error.message : String(error);
    say(`  failed: ${failure}`);
    return { measurement, figures: [], failure };
  }
}

function tellFigure({ name, value, unit, ratio, bar, met }: Figure): void {
  const beside = ratio === null ? '' : `, ${ratio.toFixed(2)} of its ceiling`;
  const judged =
    bar === null ? '' : ` (${bar}: ${met === null ? 'not judged, the ceiling is none' : met ? 'met' : 'not met'})`;
  say(`  ${name}: ${value.toPrecision(4)} ${unit}${beside}${judged}`);
}

const machine = machineWords();
const setting: Setting = { seconds, profileDir: values.profile, tell: (words) => say(`  ${words}`) };
const results: Result[] = [];
for (const measurement of wanted) results.push(await run(measurement, setting));
await mkdir(values.out, { recursive: true });
const figures = results.flatMap((result) => result.figures);
await writeFile(join(values.out, 'latest.json'), `${JSON.stringify(figures, undefined, 2)}\n`);
await writeFile(join(values.out, 'latest.md'), pageOf(results, machine, seconds));
say(`written: ${join(values.out, 'latest.md')}`);
// Connections of held requests would keep the process.
process.exit(results.some(({ failure }) => failure !== undefined) ? 1 : 0);
