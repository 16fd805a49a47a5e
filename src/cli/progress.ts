// Progress: how long work gets on. A bar with rate and ETA on a terminal, a plain line now and then in a pipe, JSON lines with --json.
// Always on standard error: standard output belongs to the rows.

import { SingleBar } from 'cli-progress';
import type { Clock } from '../process/clock.js';
import { clockText, Pace } from './pace.js';

export interface Counts {
  readonly done: number;
  /** Of those done: verdicts without numbers, and rows without a verdict. */
  readonly invalid: number;
  readonly failed: number;
}

export interface Progress {
  update(counts: Counts): void;
  /** A line of its own. */
  note(text: string): void;
  /** Nothing is written after it. `whole`: the work came to its end, or was interrupted, and its last state is shown; else an error follows. */
  end(whole: boolean): void;
}

export interface ProgressOptions {
  readonly mode: 'auto' | 'json' | 'none';
  /** "scored". */
  readonly what: string;
  /** Done by an earlier run: no part of the rate. */
  readonly startAt: number;
  /** Undefined while it cannot be known. */
  readonly total: number | undefined;
  readonly clock: Pick<Clock, 'now' | 'after'>;
  readonly stream: NodeJS.WritableStream & { readonly isTTY?: boolean };
}

const barEveryMs = 500;
/** In a pipe: often at first, to see that it works; then seldom, for a log that is read later. */
const lineEveryMs = { first: 5_000, later: 30_000 } as const;
const firstLines = 12;

/** Shows where the work stands at once, and then at intervals, whether something is done or not. */
export function openProgress(options: ProgressOptions): Progress {
  const { mode, startAt, clock, stream } = options;
  if (mode === 'none')
    return { update: () => undefined, note: (text) => void stream.write(`${text}\n`), end: () => undefined };
  const pace = new Pace(startAt, clock.now());
  let counts: Counts = { done: startAt, invalid: 0, failed: 0 };
  const now = (): Shown => {
    const atMs = clock.now();
    const { total } = options;
    return {
      ...counts,
      total,
      perSecond: pace.perSecond(atMs) ?? 0,
      etaSeconds: total === undefined ? undefined : pace.etaSeconds(total, atMs),
    };
  };
  const view = mode === 'auto' && stream.isTTY ? barView(options, now()) : lineView(options);
  let ended = false;
  let cancel = clock.after(view.everyMs(), function again() {
    view.show(now());
    cancel = clock.after(view.everyMs(), again);
  });
  return {
    update(fresh) {
      counts = fresh;
      pace.note(fresh.done, clock.now());
    },
    note: (text) => view.note(text),
    end(whole) {
      if (ended) return;
      ended = true;
      cancel();
      if (whole) view.show(now());
      view.end();
    },
  };
}

interface Shown extends Counts {
  readonly total: number | undefined;
  readonly perSecond: number;
  readonly etaSeconds: number | undefined;
}

interface View {
  everyMs(): number;
  show(shown: Shown): void;
  note(text: string): void;
  end(): void;
}

function barView({ what, stream }: ProgressOptions, first: Shown): View {
  const bar = new SingleBar({
    format: `${what} {bar} {value}/{shownTotal}  {rate}/s  ETA {left}{trouble}`,
    stream,
    // A killed process could not bring it back.
    hideCursor: false,
    barsize: 30,
    barCompleteChar: '█',
    barIncompleteChar: '░',
    // Ours would be a second, later word about Ctrl-C.
    gracefulExit: false,
    // It comes back below a note.
    forceRedraw: true,
    fps: 2,
  });
  // Without a total the bar stays empty: it must not look finished.
  const scale = (shown: Shown): number => Math.max(1, shown.total ?? shown.done * 1_000);
  const payload = (shown: Shown): object => ({
    shownTotal: shown.total ?? '?',
    rate: shown.perSecond.toFixed(1),
    left: shown.etaSeconds === undefined ? '-' : clockText(shown.etaSeconds),
    trouble: troubleText(shown),
  });
  bar.start(scale(first), first.done, payload(first));
  const show = (shown: Shown): void => {
    bar.setTotal(scale(shown));
    bar.update(shown.done, payload(shown));
  };
  return {
    everyMs: () => barEveryMs,
    show,
    note: (text) => void stream.write(`\r\u001b[K${text}\n`),
    end: () => bar.stop(),
  };
}

function lineView({ mode, what, stream }: ProgressOptions): View {
  let lines = 0;
  const show = (shown: Shown): void => {
    lines++;
    const { done, total, invalid, failed, perSecond, etaSeconds } = shown;
    const rounded = Math.round(perSecond * 10) / 10;
    stream.write(
      mode === 'json'
        ? `${JSON.stringify({ event: 'progress', what, done, total: total ?? null, invalid, failed, rate_per_second: rounded, eta_seconds: etaSeconds ?? null })}\n`
        : `${what} ${done}/${total ?? '?'}  ${rounded.toFixed(1)}/s  ETA ${etaSeconds === undefined ? '-' : clockText(etaSeconds)}${troubleText(shown)}\n`,
    );
  };
  return {
    everyMs: () => (lines < firstLines ? lineEveryMs.first : lineEveryMs.later),
    show,
    note: (text) => void stream.write(`${text}\n`),
    end: () => undefined,
  };
}

function troubleText({ invalid, failed }: Counts): string {
  return `${invalid > 0 ? `  ${invalid} invalid` : ''}${failed > 0 ? `  ${failed} failed` : ''}`;
}
