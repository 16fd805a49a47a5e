// Progress: how long work gets on. A bar with rate and ETA on a terminal, a plain line now and then in a pipe, JSON lines with --json. Always on stderr.

import { SingleBar } from 'cli-progress';

export interface Progress {
  /** `done` of `total` (undefined while the total is not known), of which `invalid` are no numbers. */
  update(done: number, invalid: number, total: number | undefined): void;
  end(): void;
}

const plainEveryMs = 5_000;

export function openProgress(
  mode: 'auto' | 'json' | 'none',
  what: string,
  startAt: number,
  stream: NodeJS.WriteStream = process.stderr,
): Progress {
  if (mode === 'none') return { update: () => undefined, end: () => undefined };
  const startedAtMs = Date.now();
  const rate = (done: number): number => (done - startAt) / Math.max(0.001, (Date.now() - startedAtMs) / 1_000);
  const etaSeconds = (done: number, total: number | undefined): number | undefined =>
    total === undefined || done <= startAt ? undefined : Math.max(0, Math.ceil((total - done) / rate(done)));

  if (mode === 'auto' && stream.isTTY) {
    const bar = new SingleBar({
      format: `${what} {bar} {value}/{shownTotal}  {rate}/s  ETA {eta}  {invalid} invalid`,
      stream,
      hideCursor: true,
      barsize: 30,
      clearOnComplete: false,
      noTTYOutput: false,
      etaBuffer: 100,
    });
    let started = false;
    return {
      update(done, invalid, total) {
        const eta = etaSeconds(done, total);
        const payload = {
          shownTotal: total ?? '?',
          rate: rate(done).toFixed(1),
          invalid,
          eta: eta === undefined ? '-' : clockText(eta),
        };
        if (!started) {
          bar.start(total ?? Math.max(1, done), done, payload);
          started = true;
        }
        bar.setTotal(total ?? Math.max(1, done));
        bar.update(done, payload);
      },
      end: () => bar.stop(),
    };
  }

  let last: { done: number; invalid: number; total: number | undefined } | undefined;
  let writtenAtMs = startedAtMs;
  const write = (): void => {
    if (!last) return;
    const { done, invalid, total } = last;
    const eta = etaSeconds(done, total);
    stream.write(
      mode === 'json'
        ? `${JSON.stringify({ event: 'progress', what, done, total: total ?? null, invalid, rate_per_second: round(rate(done)), eta_seconds: eta ?? null })}\n`
        : `${what} ${done}/${total ?? '?'}  ${rate(done).toFixed(1)}/s  ${invalid} invalid${eta === undefined ? '' : `  ETA ${clockText(eta)}`}\n`,
    );
    last = undefined;
  };
  return {
    update(done, invalid, total) {
      last = { done, invalid, total };
      const now = Date.now();
      if (now - writtenAtMs < plainEveryMs) return;
      writtenAtMs = now;
      write();
    },
    end: write,
  };
}

function clockText(seconds: number): string {
  const [h, m, s] = [Math.floor(seconds / 3_600), Math.floor(seconds / 60) % 60, seconds % 60];
  const two = (n: number): string => String(n).padStart(2, '0');
  return h > 0 ? `${h}:${two(m)}:${two(s)}` : `${m}:${two(s)}`;
}

function round(value: number): number {
  return Math.round(value * 10) / 10;
}
