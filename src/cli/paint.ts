// Paint: colours for each of our two streams by itself: one may be a terminal while the other goes into a file.

import pc from 'picocolors';
import { environment } from '../process/environment.js';

export type Paint = ReturnType<typeof pc.createColors>;

function paintFor(stream: { readonly isTTY?: boolean }): Paint {
  const { NO_COLOR, FORCE_COLOR, TERM } = environment();
  if (FORCE_COLOR !== undefined && FORCE_COLOR !== '') return pc.createColors(FORCE_COLOR !== '0');
  return pc.createColors(stream.isTTY === true && !NO_COLOR && TERM !== 'dumb');
}

/** For what goes to standard output. */
export const paint = paintFor(process.stdout);
/** For what goes to standard error. */
export const paintErr = paintFor(process.stderr);
