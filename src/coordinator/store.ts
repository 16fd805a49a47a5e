// Store: a verdict into the ledger, where the first one stays.

import type { Verdict } from '../grm/verdict.js';
import { sleep } from '../process/clock.js';
import type { CoordinatorContext } from './context.js';

/** Together with the pauses about five seconds: an election, or a replica that catches up. */
const triesMax = 10;
const pauseMs = 100;

/**
 * The verdict as stored: another coordinator's, when that one came first. A cluster of nats-servers refuses the second one before any of
 * them can read the first, so it is looked for again: two callers must never be told two verdicts. One that cannot be read for so long is
 * no verdict that anybody could be told: then ours is answered. Rejects like the ledger.
 */
export async function storeVerdict(
  verdict: Verdict,
  { ledger, clock, passes }: Pick<CoordinatorContext, 'ledger' | 'clock' | 'passes'>,
): Promise<Verdict> {
  for (let tries = 1; ; tries++) {
    const put = await ledger.putVerdict(verdict);
    passes?.('stored');
    if (put === 'stored') return verdict;
    const there = await ledger.verdict(verdict.requestId);
    if (there) return there;
    if (tries >= triesMax) return verdict;
    await sleep(clock, pauseMs * tries);
  }
}
