// Apart: runs one measurement in a process of its own (child.ts), at most for its time, and keeps what it found.

import { fork } from 'node:child_process';
import { once } from 'node:events';
import { fileURLToPath } from 'node:url';
import type { News } from './child.js';
import { dropOwned, forgetOwned, hearOwned } from './owned.js';
import { figure, unfinished, type Figure, type Measurement } from './figure.js';

export interface ApartOptions {
  readonly seconds: number;
  readonly profileDir: string | undefined;
  /** Then it is cut off, seconds. */
  readonly secondsMax: number;
  readonly tell: (words: string) => void;
  readonly found: (figure: Figure) => void;
  /** Cuts it off early. */
  readonly signal: AbortSignal;
}

/** Longer than it takes to kill what a measurement started. */
const killMs = 10_000;

/** All figures of the measurement, those without a number with the reason. Never rejects. */
export async function measuredApart(measurement: Measurement, options: ApartOptions): Promise<readonly Figure[]> {
  const { seconds, profileDir, secondsMax, tell, signal } = options;
  if (signal.aborted) return measurement.figures.map((plan) => unfinished(plan, interrupted));
  const found = new Map<string, Figure>();
  let failure: string | undefined;
  const args = [measurement.name, String(seconds), ...(profileDir === undefined ? [] : [profileDir])];
  const child = fork(fileURLToPath(new URL('child.js', import.meta.url)), args);
  const gone = once(child, 'exit') as Promise<[number | null, NodeJS.Signals | null]>;
  // Its last words may come after its end.
  const heard = once(child, 'disconnect');
  let kill: NodeJS.Timeout | undefined;
  const cut = (why: string): void => {
    failure ??= why;
    child.kill('SIGTERM');
    kill ??= setTimeout(() => child.kill('SIGKILL'), killMs);
  };
  const hear = (news: News): void => {
    if (news.kind === 'failed') failure ??= news.why;
    else if (news.kind === 'tell') {
      if (news.words !== '') tell(news.words);
    } else if (news.kind !== 'found') hearOwned(news);
    if (news.kind !== 'found') return;
    const plan = measurement.figures.find(({ name }) => name === news.name);
    if (!plan) return cut(`it found "${news.name}", which is none of its figures`);
    const one = figure(plan, news.value, news.ceiling, news.error);
    found.set(plan.name, one);
    options.found(one);
  };
  child.on('message', hear);
  const interrupt = (): void => cut(interrupted);
  signal.addEventListener('abort', interrupt, { once: true });
  const limit = setTimeout(() => cut(`its time was over after ${Math.round(secondsMax)} s`), secondsMax * 1_000);
  const [code, killedBy] = await gone;
  await heard;
  clearTimeout(limit);
  clearTimeout(kill);
  signal.removeEventListener('abort', interrupt);
  // A process that did not end in good order may have left what it had.
  if (code === 0) forgetOwned();
  else dropOwned();
  if (code !== 0) failure ??= `its process ended with ${killedBy ?? `exit code ${code}`}`;
  const why = failure ?? 'it was not found';
  return measurement.figures.map((plan) => found.get(plan.name) ?? unfinished(plan, why));
}

const interrupted = 'the run was interrupted';
