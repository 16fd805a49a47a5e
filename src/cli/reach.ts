// Reach: what long work says of a coordinator that is away.

import { GrmError, type Trouble } from '../rpc/client.js';
import { causeOf, connect, type Door, type ResolvedConfig } from './context.js';
import { printable } from './printable.js';
import type { Session } from './session.js';

/** A service that is away, or does not know the caller, is told at once and not after the patience of long work. */
export async function checkReachable(
  session: Session,
  resolved: ResolvedConfig,
  door: Door,
  signal: AbortSignal,
): Promise<void> {
  using client = connect(session.options, resolved, door);
  try {
    await client.verdict('is anybody there', { signal });
  } catch (error) {
    // A token may be for the tenants that the rows name.
    if (!(error instanceof GrmError) || error.kind !== 'permission_denied') throw error;
  }
}

export function troubleText(json: boolean, { address }: Door, trouble: Trouble): string {
  const { fault } = trouble;
  const [what, again] = wordsOf(fault);
  if (trouble.kind === 'back')
    return json ? JSON.stringify({ event: 'back', address }) : `the coordinator at ${address} ${again}`;
  const reason = fault.kind === 'unreachable' ? causeOf(fault.message) : `${fault.kind}: ${fault.message}`;
  const seconds = Math.ceil(trouble.leftMs / 1_000);
  if (json) return JSON.stringify({ event: 'away', address, reason, seconds_left: seconds });
  return printable(`the coordinator at ${address} ${what} (${reason}); trying again for ${seconds} s at most`);
}

function wordsOf({ kind }: Trouble['fault']): readonly [string, string] {
  if (kind === 'unreachable') return ['is not reachable', 'answers again'];
  if (kind === 'no_engine') return ['has nobody to draw samples', 'has engines again'];
  return ['cannot take requests now', 'answers again'];
}
