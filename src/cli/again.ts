// Again: the rounds in which a command tries again what only time ended, when all other rows are written.

import { limits } from '../limits.js';
import type { CliError } from './context.js';
import type { Mending, Place } from './mend.js';
import { rowHeadBytesMax } from './output.js';
import type { RowPlace } from './row-line.js';

export interface Rounds<R extends RowPlace> {
  readonly mend: () => Promise<Mending>;
  /** All rows of the input. */
  readonly rows: () => AsyncIterable<R>;
  /** How many lines are tried again in this round, from 0, and whether this one is. */
  readonly waiting: (round: number) => number;
  readonly wanted: (place: Place, round: number) => boolean;
  readonly pass: (
    rows: AsyncIterable<{ readonly row: R; readonly place: Place }>,
    mending: Mending,
    total: number,
  ) => Promise<unknown>;
  /** Less than limits.mendRoundsMax where the input can be read but once. */
  readonly roundsMax?: number;
  readonly signal: AbortSignal;
  /** Thrown when the file was not written for this input. */
  readonly otherInput: CliError;
}

/** Each round must leave fewer rows than the one before. */
export async function tryAgain<R extends RowPlace>(rounds: Rounds<R>): Promise<void> {
  const { roundsMax = limits.mendRoundsMax } = rounds;
  let left = Infinity;
  for (let round = 0; round < roundsMax && !rounds.signal.aborted; round++) {
    const waiting = rounds.waiting(round);
    if (waiting === 0 || waiting >= left) return;
    left = waiting;
    const mending = await rounds.mend();
    try {
      await rounds.pass(rowsAgain(rounds, mending, round), mending, waiting);
    } catch (error) {
      // What was done anew counts also where the service went away in between; a file of another input stays as it is.
      if (error === rounds.otherInput) await mending.drop();
      else await mending.finish();
      throw error;
    }
    await mending.finish();
  }
}

async function* rowsAgain<R extends RowPlace>(
  { rows, wanted, otherInput }: Rounds<R>,
  mending: Mending,
  round: number,
): AsyncGenerator<{ readonly row: R; readonly place: Place }, void, undefined> {
  const input = rows()[Symbol.asyncIterator]();
  try {
    for await (const place of mending.places(rowHeadBytesMax)) {
      const next = await input.next();
      if (next.done || next.value.number !== place.number || next.value.digest !== place.digest) throw otherInput;
      if (wanted(place, round)) yield { row: next.value, place };
    }
  } finally {
    await input.return?.();
  }
}

/** One reading of rows that several take turns at: who stops before its end leaves the rest to the next. */
export function inTurns<R>(rows: AsyncIterable<R>): AsyncIterable<R> {
  const reading = rows[Symbol.asyncIterator]();
  return { [Symbol.asyncIterator]: () => ({ next: () => reading.next() }) };
}
