// Store: a verdict into the ledger, where the first one stays.

import { FaultError } from '../fault.js';
import type { Verdict } from '../grm/verdict.js';
import { sleep } from '../process/clock.js';
import type { CoordinatorContext } from './context.js';

/** Together with the pauses about five seconds: an election, or a replica that catches up. */
const triesMax = 10;
const pauseMs = 100;
/** A verdict for which the ledger has no room is offered again so long, by when the janitor has made some; then the request is left for another look. */
const heldMs = 60_000;
const offerEveryMs = 500;

/**
 * The verdict as stored: another coordinator's, when that one came first. A cluster of nats-servers refuses the second one before any of
 * them can read the first, so it is looked for again: two callers must never be told two verdicts. One that cannot be read for so long is
 * no verdict that anybody could be told: then ours is answered. Rejects like the ledger.
 */
export async function storeVerdict(
  verdict: Verdict,
  context: Pick<CoordinatorContext, 'ledger' | 'clock' | 'passes'>,
): Promise<Verdict> {
  const { ledger, clock, passes } = context;
  for (let tries = 1; ; tries++) {
    const put = await putPatiently(verdict, context);
    passes?.('stored');
    if (put === 'stored') return verdict;
    const there = await ledger.verdict(verdict.requestId);
    if (there) return there;
    if (tries >= triesMax) return verdict;
    await sleep(clock, pauseMs * tries);
  }
}

async function putPatiently(verdict: Verdict, { ledger, clock }: Pick<CoordinatorContext, 'ledger' | 'clock'>) {
  const giveUpAtMs = clock.steadyNow() + heldMs;
  for (;;) {
    try {
      return await ledger.putVerdict(verdict);
    } catch (error) {
      const isAway = error instanceof FaultError && error.fault.kind === 'queue_unavailable';
      if (!isAway || clock.steadyNow() >= giveUpAtMs) throw error;
      await sleep(clock, offerEveryMs);
    }
  }
}
