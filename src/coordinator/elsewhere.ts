// Elsewhere: a request whose record is in the ledger already. Its verdict may be stored, another coordinator may be at it, or nobody.

import { fault, type Fault } from '../fault.js';
import type { Verdict } from '../grm/verdict.js';
import { sleep } from '../process/clock.js';
import type { RequestRecord } from '../work/shard.js';
import type { CoordinatorContext } from './context.js';
import type { ScoreOutcome } from './coordinator.js';
import { cutInLedger, verdictOf } from './cut.js';
import { endOf, type EarlyVote, type Run, type StopReason } from './run.js';
import { chosen } from './takeover.js';

export type Elsewhere = ScoreOutcome | { readonly kind: 'ours_to_finish'; readonly record: RequestRecord };

/** How often a request that runs elsewhere is looked after, besides the notices. */
const lookEveryMs = 1_000;
/** Looks in a row at which a record may be unreadable: a replica that lags has it by then. */
const unreadableMax = 2;

/** For the votes of those whose time budget has just ended (inflight.ts, I5). */
const earlyVotesMs = 1_000;

/**
 * Waits for the verdict of a request that was accepted before, or says that it is ours to finish. Bounded by the time of those who wait for it here
 * and by `run.signal`. Whose time budget ends before there is a verdict is answered with a vote over what the ledger holds; the request goes on
 * elsewhere.
 * @param refused why the draft itself may not be accepted, should the other record be gone. What is found at once is told as stored.
 */
export async function finishedElsewhere(
  draft: RequestRecord,
  run: Run,
  context: CoordinatorContext,
  refused?: Fault,
): Promise<Elsewhere> {
  const { ledger, members, clock, events } = context;
  const { requestId } = draft;
  const begunMs = clock.steadyNow();
  const deadlineAtMs = clock.now() + draft.plan.timeBudgetMs;
  let known = draft;
  const earlyVote: EarlyVote = async (quorum) => {
    const cut = await cutInLedger(known, context);
    const times = { durationMs: clock.steadyNow() - begunMs, finishedAtMs: clock.now() };
    return cut && verdictOf(known, cut.gather, cut.missing, times, { quorum });
  };

  let notice: Verdict | undefined;
  let unreadable = 0;
  let wake = new AbortController();
  const following = await ledger.follow(requestId, {
    samples: (samples) => {
      for (const sample of samples) run.onSample(sample);
    },
    verdict: (verdict) => {
      notice = verdict;
      wake.abort();
    },
  });
  const stop = (): void => wake.abort();
  run.votesEarly?.(earlyVote, 'elsewhere');
  run.signal.addEventListener('abort', stop);
  try {
    for (let look = 0; ; look++) {
      // Made before the looks: a notice that comes during them ends the sleep that follows.
      wake = new AbortController();
      const record = await ledger.record(requestId);
      if (record && record.digest !== draft.digest) {
        return {
          kind: 'fault',
          fault: fault('key_reused', 'this idempotency key belongs to a request with other content or options'),
        };
      }
      known = record ?? draft;
      const verdict = notice ?? (await ledger.verdict(requestId));
      if (verdict) {
        events.emit('request.known', { requestId, how: look === 0 ? 'stored' : 'elsewhere' });
        return { kind: 'verdict', verdict: look === 0 ? { ...verdict, stored: true } : verdict };
      }
      // The record is gone without a verdict: it was cancelled a moment ago, and this is its retry.
      if (!record) {
        if (refused) return { kind: 'fault', fault: refused };
        const accepted = await ledger.accept(draft);
        if (accepted.kind === 'new') return { kind: 'ours_to_finish', record: draft };
        if (accepted.kind === 'full') return { kind: 'fault', fault: ledgerFull() };
        // It is there and cannot be read: its content is damaged, or gone. This caller has brought it again.
        unreadable++;
        if (unreadable > unreadableMax) await ledger.forget(requestId);
      } else if (isOurs(record, context)) {
        return { kind: 'ours_to_finish', record: withPatienceOf(draft, record) };
      }
      if (run.signal.aborted) {
        const gone = fault('cancelled', 'the caller went away; the request goes on elsewhere');
        return { kind: 'fault', fault: run.signal.reason === 'abandoned' ? stopFault('abandoned') : gone };
      }
      const leftMs = endOf(run, deadlineAtMs) - clock.now();
      if (leftMs <= -earlyVotesMs) {
        const words = 'the request is running elsewhere and was not finished within this time budget';
        return { kind: 'fault', fault: fault('deadline_exceeded', words) };
      }
      // The coordinator that is at it must not take it for abandoned while somebody waits here, nor end it sooner than they do.
      if (leftMs > 0) members.want(requestId, leftMs);
      await sleep(clock, Math.min(lookEveryMs, leftMs > 0 ? leftMs : leftMs + earlyVotesMs), wake.signal);
    }
  } finally {
    run.votesEarly?.(undefined);
    run.signal.removeEventListener('abort', stop);
    following.close();
  }
}

/** Of a dead coordinator's requests each survivor takes its own (takeover.ts): two that run one request would only stand in each other's way. */
function isOurs({ requestId, owner }: RequestRecord, { settings, members }: CoordinatorContext): boolean {
  if (owner === settings.nodeId) return true;
  return members.alive(owner) === false && chosen(requestId, members.coordinators()) === settings.nodeId;
}

/** The record as it was accepted, with the time and the quorum that this caller gave: they say how long to wait, not what is asked. */
function withPatienceOf(draft: RequestRecord, record: RequestRecord): RequestRecord {
  const { timeBudgetMs, quorum } = draft.plan;
  return { ...record, plan: { ...record.plan, timeBudgetMs, quorum: Math.min(record.plan.k, quorum) } };
}

export function ledgerFull(): Fault {
  return fault('overloaded', 'the request ledger is full', { retryAfterMs: 2_000 });
}

export function stopFault(why: StopReason): Fault {
  return why === 'cancelled'
    ? fault('cancelled', 'the request was cancelled; samples already drawn are kept for a retry')
    : fault('draining', 'this coordinator went away; retry: the request goes on at another', { retryAfterMs: 500 });
}
