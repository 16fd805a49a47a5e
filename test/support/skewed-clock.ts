// A clock that is wrong, for a process of the build: its system's clock is off, and may be set while it runs. Timers and performance.now go
// on as they were, as they do when a real clock is set.
//
//   await using clock = await skewedClock(30_000);
//   const worker = await cluster.start('grm-worker', clock.env);
//   await clock.set(-600_000, worker);

import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { pathToFileURL } from 'node:url';
import type { ServiceProcess } from './cluster.js';

export interface SkewedClock extends AsyncDisposable {
  /** For the environment of the process. */
  readonly env: Readonly<Record<string, string>>;
  /** Sets it for the processes that have it. They read it on SIGUSR2. */
  set(skewMs: number, ...services: readonly Pick<ServiceProcess, 'kill'>[]): Promise<void>;
}

/** Loaded before the process's own code (node --import). */
const shift = `
import { readFileSync } from 'node:fs';
let skewMs = 0;
const read = () => (skewMs = Number(readFileSync(process.env.SKEWED_CLOCK, 'utf8')));
read();
process.on('SIGUSR2', read);
const RealDate = Date;
const now = () => RealDate.now() + skewMs;
globalThis.Date = class Date extends RealDate {
  constructor(...given) {
    if (given.length === 0) super(now());
    else super(...given);
  }
  static now() {
    return now();
  }
};
`;

/** @param skewMs how far it is ahead of the clock of this machine */
export async function skewedClock(skewMs: number): Promise<SkewedClock> {
  const dir = await mkdtemp(join(tmpdir(), 'grm-clock-'));
  const file = join(dir, 'skew_ms');
  const module = join(dir, 'shift.mjs');
  await writeFile(file, String(skewMs));
  await writeFile(module, shift);
  return {
    env: { NODE_OPTIONS: `--import=${pathToFileURL(module).href}`, SKEWED_CLOCK: file },
    async set(ms, ...services) {
      await writeFile(file, String(ms));
      for (const service of services) service.kill('SIGUSR2');
    },
    [Symbol.asyncDispose]: () => rm(dir, { recursive: true, force: true }),
  };
}
