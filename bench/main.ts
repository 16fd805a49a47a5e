// make bench: measures the project on this machine, each figure beside its ceiling from the same run.
//
//   node dist/bench/main.js [--only NAME]... [--seconds N] [--minutes N] [--out FOLDER] [--profile FOLDER]
//
// Lines per figure on standard output, where the run stands on standard error; latest.json and latest.md are written anew after every
// measurement, with what is unfinished and why. Never longer than --minutes: each measurement has its part of them, and what it leaves over.
// Exit code 1 when a figure has no number or the folder is full, 2 for options that it does not take (a folder that cannot be written is one), 130
// after Ctrl-C, 143 after SIGTERM; a bar that is not met is no failure. --profile: processes of the cluster leave CPU profiles (V8's format)
// there when they end.

import { join } from 'node:path';
import { parseArgs } from 'node:util';
import { clockText } from '../src/cli/pace.js';
import { exitCodes, type ExitCode } from '../src/process/run.js';
import { packageRoot } from '../src/process/version.js';
import { etaSeconds, openAhead, secondsFor } from './ahead.js';
import { measuredApart } from './apart.js';
import { unfinished, type Figure, type Measurement } from './figure.js';
import { measurements } from './measurements.js';
import { machineWords, pageOf, type Result } from './page.js';
import { needFolder, writeWhole } from './places.js';
import { optionsOf, refuse } from './usage.js';

const names = measurements.map(({ name }) => name).join(', ');
const values = optionsOf(
  () =>
    parseArgs({
      options: {
        only: { type: 'string', multiple: true },
        seconds: { type: 'string', default: '8' },
        minutes: { type: 'string', default: '10' },
        out: { type: 'string', default: join(packageRoot, 'bench', 'results') },
        profile: { type: 'string' },
      },
    }).values,
);
const seconds = Number(values.seconds);
if (!(seconds > 0 && seconds <= 600)) refuse(`--seconds ${values.seconds}: expected above 0, at most 600`);
const minutes = Number(values.minutes);
if (!(minutes > 0 && minutes <= 600)) refuse(`--minutes ${values.minutes}: expected above 0, at most 600`);
for (const name of values.only ?? []) {
  if (!measurements.some((each) => each.name === name)) refuse(`--only ${name}: expected one of ${names}`);
}
const wanted = measurements.filter(({ name }) => values.only?.includes(name) ?? true);
const files = { json: 'latest.json', page: 'latest.md' } as const;
needFolder('--out', values.out, Object.values(files));
if (values.profile !== undefined) needFolder('--profile', values.profile);

const ahead = openAhead(process.stderr);
const say = (line: string): void => {
  ahead.clear();
  process.stdout.write(`${line}\n`);
};

function tellFigure({ name, value, unit, error, ratio, bar, met }: Figure): void {
  const beside = ratio === null ? '' : `, ${ratio.toFixed(2)} of its ceiling`;
  const judged =
    bar === null ? '' : ` (${bar}: ${met === null ? 'not judged, the ceiling is none' : met ? 'met' : 'not met'})`;
  const spread = error === undefined ? '' : ` ± ${error.toPrecision(2)}`;
  say(`  ${name}: ${(value ?? NaN).toPrecision(4)}${spread} ${unit}${beside}${judged}`);
}

const interrupt = new AbortController();
let stoppedWith: ExitCode | undefined;
for (const [signal, code] of [['SIGINT', exitCodes.interrupted] as const, ['SIGTERM', exitCodes.terminated] as const]) {
  // On and not once: a second one changes nothing, while the first is obeyed.
  process.on(signal, () => {
    stoppedWith ??= code;
    interrupt.abort();
  });
}
const machine = machineWords();
const startedAt = performance.now();
const goneSeconds = (): number => (performance.now() - startedAt) / 1_000;
const results: Result[] = [];
const done: { usualSeconds: number; tookSeconds: number }[] = [];

for (const [at, measurement] of wanted.entries()) {
  const rest = wanted.slice(at + 1);
  const figures = await run(measurement, rest, `${at + 1} of ${wanted.length}`);
  results.push({ measurement, figures });
  write([...results, ...rest.map(notReached)]);
}
ahead.end();
say(`written: ${join(values.out, files.page)}, after ${clockText(Math.round(goneSeconds()))}`);
const isWhole = results.every(({ figures }) => figures.every(({ value }) => value !== null));
process.exit(stoppedWith ?? (isWhole ? exitCodes.ok : exitCodes.failure));

async function run(measurement: Measurement, rest: readonly Measurement[], place: string): Promise<readonly Figure[]> {
  const beganAt = goneSeconds();
  const secondsMax = secondsFor(measurement, rest, minutes * 60 - beganAt);
  say(measurement.title);
  ahead.begin(() => {
    const gone = goneSeconds() - beganAt;
    const left = clockText(etaSeconds(done, measurement, gone, rest));
    return `bench ${place}: ${measurement.name}, ${clockText(Math.round(gone))} of at most ${clockText(Math.round(secondsMax))}; all in about ${left}`;
  });
  const figures = await measuredApart(measurement, {
    seconds,
    profileDir: values.profile,
    secondsMax,
    tell: (words) => ahead.note(`  ${words}`),
    found: tellFigure,
    signal: interrupt.signal,
  });
  for (const { name, unfinished: why } of figures) if (why !== undefined) say(`  ${name}: unfinished, ${why}`);
  const tookSeconds = goneSeconds() - beganAt;
  done.push({ usualSeconds: measurement.usualSeconds, tookSeconds });
  ahead.note(`bench ${place}: ${measurement.name} took ${clockText(Math.round(tookSeconds))}`);
  return figures;
}

function notReached(measurement: Measurement): Result {
  return { measurement, figures: measurement.figures.map((plan) => unfinished(plan, 'the run did not come so far')) };
}

function write(all: readonly Result[]): void {
  const figures = all.flatMap((result) => result.figures);
  ahead.clear();
  writeWhole(join(values.out, files.json), `${JSON.stringify(figures, undefined, 2)}\n`);
  writeWhole(join(values.out, files.page), pageOf(all, machine, seconds));
}
