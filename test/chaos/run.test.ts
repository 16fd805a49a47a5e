// A short chaos run, always the same one; `make chaos MINUTES=30 SEED=n NATS=3` makes long ones.

import { mkdir, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { expect, test } from 'vitest';
import { trace } from '../sim/history.js';
import { markdown } from './report.js';
import { runChaos, type ChaosOptions, type ChaosRan } from './run.js';

const minute = 60_000;
const folder = join('.grm', 'chaos');

/** A seed with every kind, none of whose four blows at nats-server falls into another: only one is struck at a time, and a partition is long. */
const short: ChaosOptions = {
  seed: 1923,
  servers: 1,
  pace: { durationMs: 18_000, everyMs: 600, forMsMax: 2_500 },
  perSecond: 10,
  generationMs: 80,
  settleMs: 2 * minute,
  progress: () => undefined,
};

/** What `make chaos` asks for; undefined in a run of all tests. */
function asked({
  GRM_CHAOS_MINUTES: minutes = '',
  GRM_CHAOS_SEED: seed = '',
  GRM_CHAOS_NATS: nats = '',
}: NodeJS.ProcessEnv): ChaosOptions | undefined {
  if (minutes === '') return undefined;
  const whole = (name: string, text: string, otherwise: number): number => {
    if (text === '') return otherwise;
    if (!/^[1-9]\d{0,5}$/.test(text)) throw new RangeError(`${name}: came ${text}, expected a whole number from 1`);
    return Number(text);
  };
  const servers = whole('NATS', nats, 1);
  if (servers !== 1 && servers !== 3) throw new RangeError(`NATS: came ${servers}, expected 1 or 3 nats-servers`);
  return {
    seed: whole('SEED', seed, Math.floor(Date.now() / 1_000) % 100_000),
    servers,
    pace: { durationMs: whole('MINUTES', minutes, 1) * minute, everyMs: 1_500, forMsMax: 10_000 },
    perSecond: 3,
    generationMs: 150,
    settleMs: 5 * minute,
    progress: (line) => console.log(line),
  };
}

/** The report, and the history line by line. */
async function save({ report, entries, startMs }: ChaosRan): Promise<string> {
  await mkdir(folder, { recursive: true });
  const name = join(folder, `seed-${report.seed}-nats-${report.natsServers}`);
  await writeFile(`${name}.json`, `${JSON.stringify(report, undefined, 2)}\n`);
  await writeFile(`${name}.md`, markdown(report));
  await writeFile(`${name}.history.txt`, `${trace(entries, startMs)}\n`);
  return name;
}

const long = asked(process.env);
const options = long ?? short;

test(
  'P1-P7: processes and nats-server die, freeze, drain and are cut off, a disk is full, links lose and delay, an engine hangs, poison kills: every promise holds',
  async () => {
    if (long)
      console.log(`chaos: seed ${long.seed}, ${long.pace.durationMs / minute} minutes, ${long.servers} nats-server(s)`);
    const ran = await runChaos(options);
    const { report } = ran;
    if (long || report.violations.length > 0) {
      const name = await save(ran);
      console.log(`${markdown(report)}\n${name}.md, .json and .history.txt hold all of it`);
    }
    expect(report.violations).toEqual([]);
    // A run in which nothing happened has shown nothing.
    const struck = Object.values(report.faults).reduce((sum, each) => sum + each.struck, 0);
    expect(struck).toBeGreaterThan(10);
    expect(report.verdicts.valid).toBeGreaterThan(10);
  },
  options.pace.durationMs + 30 * minute,
);
