// Store: what a run itself puts into the ledger: its verdict, where the first one stays, and its record once more, where that was lost.

import { FaultError } from '../fault.js';
import type { Verdict } from '../grm/verdict.js';
import { sleep } from '../process/clock.js';
import type { RequestRecord } from '../work/shard.js';
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

/**
 * The record of a request that still runs, stored again where a stream was removed or emptied. Whoever cancels a request forgets its record, so one
 * that is missing while the request `isOpen` was lost; `signal` aborts when it is cancelled meanwhile. Rejects like the ledger.
 */
export async function keepRecord(
  record: RequestRecord,
  isOpen: () => boolean,
  signal: AbortSignal,
  { ledger }: Pick<CoordinatorContext, 'ledger'>,
): Promise<void> {
  const { requestId } = record;
  if (await ledger.record(requestId)) return;
  if (signal.aborted || !isOpen() || (await ledger.verdict(requestId))) return;
  await ledger.forget(requestId); // what refers to a content that is gone
  await ledger.accept(record);
  if (isAborted(signal)) await ledger.forget(requestId);
}

/** Asked anew: it may have aborted during a wait. */
function isAborted(signal: AbortSignal): boolean {
  return signal.aborted;
}
