// Pace: how fast work gets on, and when it will be done. Pure.
//
// The rate is that of the last half minute: a warm-up, or a pause of an hour ago, tells nothing about now. Of slow work half a minute tells
// nothing either: then it is that of the last `doneMin` that were done.

const windowMs = 30_000;
const doneMin = 8;
const markEveryMs = 1_000;

interface Mark {
  readonly atMs: number;
  readonly done: number;
}

export class Pace {
  /** Oldest first; each after something was done: at most windowMs / markEveryMs + doneMin + 1 of them. */
  #marks: Mark[];
  #done: number;

  constructor(done: number, nowMs: number) {
    this.#marks = [{ atMs: nowMs, done }];
    this.#done = done;
  }

  note(done: number, nowMs: number): void {
    this.#done = done;
    const last = this.#marks.at(-1)!;
    if (done === last.done || nowMs - last.atMs < markEveryMs) return;
    this.#marks.push({ atMs: nowMs, done });
    while (nowMs - this.#marks[1]!.atMs >= windowMs && done - this.#marks[1]!.done >= doneMin) this.#marks.shift();
  }

  /** Undefined until something is done. */
  perSecond(nowMs: number): number | undefined {
    const { atMs, done } = this.#marks[0]!;
    const seconds = (nowMs - atMs) / 1_000;
    return seconds <= 0 || this.#done <= done ? undefined : (this.#done - done) / seconds;
  }

  /** Whole seconds until `total` is done at this rate. */
  etaSeconds(total: number, nowMs: number): number | undefined {
    const rate = this.perSecond(nowMs);
    return rate === undefined ? undefined : Math.max(0, Math.ceil((total - this.#done) / rate));
  }
}

/** "0:07", "12:30", "1:02:03". */
export function clockText(seconds: number): string {
  const [h, m, s] = [Math.floor(seconds / 3_600), Math.floor(seconds / 60) % 60, seconds % 60];
  const two = (n: number): string => String(n).padStart(2, '0');
  return h > 0 ? `${h}:${two(m)}:${two(s)}` : `${m}:${two(s)}`;
}
