// Score: one request from the door to the answer, top to bottom.
//
//   S1. Nothing is drawn before the request's record is stored, and no verdict is given before it is stored: whoever dies in between,
//       another coordinator finishes the request from the ledger (promise P1).
//   S2. Every way out releases the ticket, the subscription and what the queues and engines still hold of the request.
//   S3. A verdict that is INVALID only because time ran out is answered and not stored: a retry goes on from the samples that are there. Nor is
//       what one caller is answered whose time ends before the others' (inflight.ts, I5).

import { FaultError, fault, type Fault } from '../fault.js';
import { contentChars } from '../grm/query.js';
import { stopCase } from '../grm/stop.js';
import type { Accepted } from '../queue/queue.js';
import { missing, unranked, type Gather } from '../work/gather.js';
import type { RequestRecord } from '../work/shard.js';
import type { Asked } from './asked.js';
import { collect, type Collected } from './collect.js';
import type { CoordinatorContext } from './context.js';
import type { ScoreInput, ScoreOutcome } from './coordinator.js';
import { isCut, verdictOf } from './cut.js';
import { finishedElsewhere, ledgerFull, stopFault } from './elsewhere.js';
import type { Run } from './run.js';
import type { EventMap } from '../observe/events.js';
import type { NoRoom } from './room.js';
import { storeVerdict } from './store.js';

/** A request that came through a door, or one that a dead coordinator left behind. */
export type Job =
  | {
      readonly kind: 'new';
      readonly input: ScoreInput;
      readonly asked: Asked;
    }
  | { readonly kind: 'resume'; readonly record: RequestRecord };

/** Never rejects. */
export async function scoreRequest(job: Job, run: Run, context: CoordinatorContext): Promise<ScoreOutcome> {
  const { admission, clock, events } = context;
  const startedAtMs = clock.now();
  const begunMs = clock.steadyNow();

  // 1. Admission: within bounds, or shed with a retry delay. What was accepted before and finds no room now stays accepted: the next look
  //    for unfinished requests brings it again.
  const { record, contentBytes } = draft(job, startedAtMs, context);
  const noRoom = job.kind === 'new' ? context.room.refuses(record.plan.k, contentBytes) : undefined;
  if (noRoom) return (await answeredBefore(record, noRoom, context)) ?? turnedAway(record, noRoom, context);
  const admitted = admission.admit(record.plan.k, contentBytes, record.tenant, record.class, {
    resumed: job.kind === 'resume',
    adaptive: stopCase(record.requestId, record.plan, record.content.responses.length) !== undefined,
  });
  if (admitted.kind === 'refused') return turnedAway(record, admitted, context);
  context.passes?.('admitted');

  let accepted: RequestRecord | undefined;
  try {
    // 2. Durable acceptance, or the verdict of whoever accepted it before.
    const mine =
      job.kind === 'resume'
        ? await resume(record, context)
        : await accept(record, contentBytes, job.asked.refused, run, context);
    if (mine.kind !== 'mine') return mine;
    accepted = mine.record;

    // 3. Samples are drawn and ranked until all are there, the outcome is decided or the time budget ends.
    const name = `${context.settings.nodeId}-${startedAtMs.toString(36)}-${run.serial}`;
    const deadlineAtMs = startedAtMs + mine.record.plan.timeBudgetMs;
    const counted = { ...run, onAsked: (samples: number) => admitted.ticket.asked(samples) };
    const ours = mine.record;
    const collected = await collect(ours, mine.fresh, name, deadlineAtMs, counted, context, (look) => {
      run.votesEarly?.(
        look &&
          (async (quorum) => {
            const cut = await look();
            return (
              cut &&
              verdictOf(
                ours,
                cut.gather,
                cut.missing,
                { durationMs: clock.steadyNow() - begunMs, finishedAtMs: clock.now() },
                { quorum },
              )
            );
          }),
      );
    });
    if (collected.kind === 'gathered' && collected.gather.kind === 'decided')
      admitted.ticket.drew(collected.gather.reach);

    // 4. Vote, store, answer.
    const outcome = await conclude(mine, collected, name, begunMs, context);
    report(ours, outcome, begunMs, context, collected.kind === 'gathered' ? ahead(collected.gather) : 0);
    return outcome;
  } catch (error) {
    const failed =
      error instanceof FaultError ? error.fault : fault('internal', 'the request failed inside the coordinator');
    if (!(error instanceof FaultError)) {
      events.emit('trouble', { where: 'score', error, requestId: record.requestId });
      // A request that a bug of ours cannot finish must not come back at every look for unfinished ones.
      if (accepted) await attempt('forget', record.requestId, context, () => context.ledger.forget(record.requestId));
    }
    const outcome: ScoreOutcome = { kind: 'fault', fault: failed };
    report(record, outcome, begunMs, context);
    return outcome;
  } finally {
    admitted.ticket.release();
  }
}

function turnedAway(
  { tenant, class: klass }: RequestRecord,
  { why, fault: told }: { readonly why: EventMap['admission.rejected']['why']; readonly fault: Fault },
  { events }: CoordinatorContext,
): ScoreOutcome {
  events.emit('admission.rejected', { tenant, class: klass, reason: told.kind, why });
  return { kind: 'fault', fault: told };
}

/** The verdict of a request that needs no room, because it has one: a retry must not wait for the storage. */
async function answeredBefore(
  { requestId, digest }: RequestRecord,
  { why }: NoRoom,
  { ledger, events }: CoordinatorContext,
): Promise<ScoreOutcome | undefined> {
  if (why !== 'storage') return undefined;
  try {
    const [there, verdict] = await Promise.all([ledger.record(requestId), ledger.verdict(requestId)]);
    if (!verdict || there?.digest !== digest) return undefined;
    events.emit('request.known', { requestId, how: 'stored' });
    return { kind: 'verdict', verdict: { ...verdict, stored: true } };
  } catch {
    return undefined; // what is away is told by the refusal
  }
}

interface Drafted {
  readonly record: RequestRecord;
  readonly contentBytes: number;
}

/** The record as it will be stored. */
function draft(job: Job, nowMs: number, { settings }: CoordinatorContext): Drafted {
  // UTF-16 units as a stand-in for bytes, which the door did not measure.
  if (job.kind === 'resume') return { record: job.record, contentBytes: contentChars(job.record.content) };
  const { input, asked } = job;
  const { identity, plan, judge } = asked;
  const record: RequestRecord = {
    requestId: identity.requestId,
    digest: identity.digest,
    tenant: input.tenant,
    class: input.class ?? settings.defaultClass,
    content: input.content,
    plan,
    nonce: identity.nonce,
    owner: settings.nodeId,
    acceptedAtMs: nowMs,
    judge,
  };
  return { record, contentBytes: input.contentBytes };
}

type Mine = { readonly kind: 'mine'; readonly record: RequestRecord; readonly fresh: boolean } | ScoreOutcome;

async function accept(
  record: RequestRecord,
  contentBytes: number,
  refused: Fault | undefined,
  run: Run,
  context: CoordinatorContext,
): Promise<Mine> {
  const { ledger, events } = context;
  // What is refused now was accepted before, or nothing is.
  const accepted: Accepted = refused ? { kind: 'known' } : await ledger.accept(record);
  switch (accepted.kind) {
    case 'new':
      events.emit('request.accepted', {
        requestId: record.requestId,
        tenant: record.tenant,
        class: record.class,
        k: record.plan.k,
        responses: record.content.responses.length,
        contentBytes,
      });
      context.passes?.('accepted');
      return { kind: 'mine', record, fresh: true };
    case 'full':
      events.emit('admission.rejected', {
        tenant: record.tenant,
        class: record.class,
        reason: 'overloaded',
        why: 'queue_full',
      });
      return { kind: 'fault', fault: ledgerFull() };
    case 'known': {
      const found = await finishedElsewhere(record, run, context, refused);
      return found.kind === 'ours_to_finish' ? await resumed(found.record, context) : found;
    }
  }
}

/** Between the look for unfinished requests and now it may have been answered or cancelled. */
async function resume(record: RequestRecord, context: CoordinatorContext): Promise<Mine> {
  const { requestId } = record;
  const verdict = await context.ledger.verdict(requestId);
  if (verdict) return { kind: 'verdict', verdict };
  if (!(await context.ledger.record(requestId))) return { kind: 'fault', fault: stopFault('cancelled') };
  return resumed(record, context);
}

async function resumed(record: RequestRecord, context: CoordinatorContext): Promise<Extract<Mine, { kind: 'mine' }>> {
  const { requestId, owner } = record;
  if (owner !== context.settings.nodeId) context.events.emit('request.taken_over', { requestId, owner });
  // What an earlier run has left in the queues would be drawn besides what is planned now.
  await attempt('withdraw', requestId, context, () => context.work.withdraw(requestId));
  context.passes?.('resumed');
  return { kind: 'mine', record, fresh: false };
}

async function conclude(
  mine: Extract<Mine, { kind: 'mine' }>,
  collected: Collected,
  run: string,
  begunMs: number,
  context: CoordinatorContext,
): Promise<ScoreOutcome> {
  const { ledger, clock } = context;
  const { record } = mine;
  if (collected.kind === 'answered') {
    // Whoever answered has withdrawn what it knew of; what this run has asked for since would still be drawn, and paid for.
    if (isOutstanding(collected.gather)) await withdraw(record.requestId, run, context);
    return { kind: 'verdict', verdict: collected.verdict };
  }
  if (collected.kind !== 'gathered') {
    await letGo(mine, collected, run, context);
    return { kind: 'fault', fault: collected.kind === 'failed' ? collected.fault : stopFault(collected.why) };
  }

  context.passes?.('gathered');
  const cut = isCut(collected.gather);
  const storageFull = collected.gather.kind === 'expired' && context.room.fullSince(begunMs).length > 0;
  const times = { durationMs: clock.steadyNow() - begunMs, finishedAtMs: clock.now(), storageFull };
  const verdict = verdictOf(record, collected.gather, collected.missing, times);
  if (isOutstanding(collected.gather)) {
    await withdraw(record.requestId, run, context);
    context.passes?.('withdrawn');
  }
  context.passes?.('voted');
  if (cut && verdict.kind === 'invalid') {
    await ledger.forget(record.requestId);
    return { kind: 'verdict', verdict };
  }
  return { kind: 'verdict', verdict: await storeVerdict(verdict, context) };
}

/** Samples that were asked for past the one at which drawing ended. */
function ahead(gather: Gather): number {
  return gather.kind === 'decided' ? gather.reach - gather.upTo : 0;
}

/** Whether queues or engines may still hold something of the request. */
function isOutstanding(gather: Gather): boolean {
  return (
    ahead(gather) > 0 || missing(gather).length > 0 || (gather.meta !== 'not_wanted' && unranked(gather).length > 0)
  );
}

/**
 * A cancelled or shed request leaves the queues and is not taken over. An abandoned one stays accepted for another coordinator, and so does
 * one that was accepted before this run and found the queue full or away.
 */
async function letGo(
  { record, fresh }: Extract<Mine, { kind: 'mine' }>,
  collected: Extract<Collected, { kind: 'stopped' | 'failed' }>,
  run: string,
  context: CoordinatorContext,
): Promise<void> {
  const keep =
    collected.kind === 'stopped'
      ? collected.why === 'abandoned'
      : collected.fault.kind === 'queue_unavailable' || (collected.fault.kind === 'overloaded' && !fresh);
  if (keep) return;
  if (isOutstanding(collected.gather)) await withdraw(record.requestId, run, context);
  await context.ledger.forget(record.requestId);
}

/**
 * Frees engines and queues. It may fail: tasks end by their deadline anyway. The engines that the first notice frees may take up more of
 * the same run before the queues are empty of it: those hear the second. A retry begins only after it.
 */
async function withdraw(requestId: string, run: string, context: CoordinatorContext): Promise<void> {
  context.members.cancel(requestId, run);
  await attempt('withdraw', requestId, context, () => context.work.withdraw(requestId));
  context.members.cancel(requestId, run);
}

/** For what the request can do without. */
async function attempt(
  where: string,
  requestId: string,
  { events }: CoordinatorContext,
  act: () => Promise<void>,
): Promise<void> {
  try {
    await act();
  } catch (error) {
    events.emit('trouble', { where, error, requestId });
  }
}

function report(
  record: RequestRecord,
  outcome: ScoreOutcome,
  begunMs: number,
  context: CoordinatorContext,
  samplesAhead = 0,
): void {
  const base = {
    requestId: record.requestId,
    tenant: record.tenant,
    class: record.class,
    durationMs: context.clock.steadyNow() - begunMs,
  };
  if (outcome.kind === 'fault') {
    context.events.emit('request.finished', { ...base, outcome: outcome.fault.kind });
    return;
  }
  const { verdict } = outcome;
  const { stopping } = verdict;
  context.events.emit('request.finished', {
    ...base,
    outcome: verdict.kind,
    verdict: {
      vote: verdict.vote,
      k: verdict.k,
      kValid: verdict.kValid,
      degraded: verdict.degraded,
      ...(stopping && { samplesSaved: stopping.samplesSaved, samplesAhead }),
      ...(verdict.missing && { missing: verdict.missing }),
      ...(stopping?.stopped && { stopped: stopping.stopped }),
      tie: verdict.kind === 'valid' && verdict.tie,
      ...(verdict.kind === 'valid' && verdict.margin !== undefined && { margin: verdict.margin }),
      ...(verdict.kind === 'valid' && verdict.agreement !== undefined && { agreement: verdict.agreement }),
    },
  });
}
