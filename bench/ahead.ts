// Ahead: what a run of the bench has done and what is before it. A moving line on a terminal, plain lines in a pipe, on standard error.

import type { Measurement } from './figure.js';

type Timed = Pick<Measurement, 'name' | 'usualSeconds' | 'budgetSeconds'>;

/**
 * The seconds that each may take, in proportion to its budget, `left` seconds and no more being left for all of them: what one does not
 * use, the others have.
 */
export function secondsFor(next: Timed, rest: readonly Timed[], left: number): number {
  const budgets = [next, ...rest].reduce((sum, { budgetSeconds }) => sum + budgetSeconds, 0);
  return (left * next.budgetSeconds) / budgets;
}

/** Seconds until all is done, if it goes on as it did: `done` took so many seconds, of the one at hand `gone` are over. */
export function etaSeconds(
  done: readonly { readonly usualSeconds: number; readonly tookSeconds: number }[],
  now: Timed,
  gone: number,
  rest: readonly Timed[],
): number {
  const usual = done.reduce((sum, { usualSeconds }) => sum + usualSeconds, 0);
  const took = done.reduce((sum, { tookSeconds }) => sum + tookSeconds, 0);
  const pace = usual === 0 ? 1 : took / usual;
  const ahead = rest.reduce((sum, { usualSeconds }) => sum + usualSeconds, 0);
  return Math.ceil(Math.max(0, now.usualSeconds * pace - gone) + ahead * pace);
}

export interface Ahead {
  /** The line of a measurement that begins; resolved anew at each look. */
  begin(line: () => string): void;
  /** For a line of its own on standard error. */
  note(text: string): void;
  /** Before something else is written to the terminal. */
  clear(): void;
  end(): void;
}

const lookEveryMs = { terminal: 500, pipe: 30_000 } as const;

export function openAhead(stream: NodeJS.WritableStream & { readonly isTTY?: boolean }): Ahead {
  const isTerminal = stream.isTTY === true;
  let line: (() => string) | undefined;
  const show = (): void => {
    if (line) stream.write(isTerminal ? `\r\u001b[K${line()}` : `${line()}\n`);
  };
  const clear = (): void => {
    if (isTerminal) stream.write('\r\u001b[K');
  };
  let timer: NodeJS.Timeout | undefined;
  return {
    begin(words) {
      line = words;
      clearInterval(timer);
      timer = setInterval(show, isTerminal ? lookEveryMs.terminal : lookEveryMs.pipe);
      show();
    },
    note(text) {
      clear();
      stream.write(`${text}\n`);
    },
    clear,
    end() {
      clearInterval(timer);
      clear();
    },
  };
}
