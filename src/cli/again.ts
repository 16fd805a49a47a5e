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
  readonly signal: AbortSignal;
  /** Thrown when the file was not written for this input. */
  readonly otherInput: CliError;
}

/** Each round must leave fewer rows than the one before. */
export async function tryAgain<R extends RowPlace>(rounds: Rounds<R>): Promise<void> {
  let left = Infinity;
  for (let round = 0; round < limits.mendRoundsMax && !rounds.signal.aborted; round++) {
    const waiting = rounds.waiting(round);
    if (waiting === 0 || waiting >= left) return;
    left = waiting;
    const mending = await rounds.mend();
    try {
      await rounds.pass(rowsAgain(rounds, mending, round), mending, waiting);
    } finally {
      // What was done anew counts also where the service went away in between.
      await mending.finish();
    }
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
