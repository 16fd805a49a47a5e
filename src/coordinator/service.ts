// Service: the coordinator that the doors talk to. It tells requests apart, joins callers to runs, and looks after what others left behind.

import { FaultError, fault, type Fault } from '../fault.js';
import { resolvePatience } from '../work/plan.js';
import type { DeadLetters } from '../queue/queue.js';
import { askedOf, checked, JudgeNames, mayJoin, resolveAsked } from './asked.js';
import type { Caller, Coordinator, CoordinatorLoad, ScoreInput, ScoreOutcome } from './coordinator.js';
import type { CoordinatorContext } from './context.js';
import { isRequestId, requestIdOfKey } from './identity.js';
import { Inflight } from './inflight.js';
import { scoreRequest, type Job } from './score.js';
import { retryDead } from './retry.js';
import { takeover } from './takeover.js';
import type { StoredVerdict } from '../grm/verdict.js';

export interface RunningCoordinator extends Coordinator {
  /** Call when the connection to the queue came back: running requests read the ledger. */
  reconnected(): void;
  /** Call when a coordinator is known to be dead: its requests are taken over. */
  membersChanged(): void;
  /** Somebody waits at another coordinator, for so long still, for a request that may run here. */
  wanted(requestId: string, forMs: number): void;
  /** All requests that run here, and since when the oldest does: for the janitor. Whoever sends the list on cuts it, and says so. */
  busy(): { readonly requestIds: readonly string[]; readonly oldestOpenAtMs: number };
}

export function openCoordinator(context: CoordinatorContext, dead: DeadLetters): RunningCoordinator {
  const { clock, admission, dispatcher, ledger, storage, room, events, settings } = context;
  const inflight = new Inflight(clock, settings.lingerMs);

  const names = new JudgeNames();

  const run = (requestId: string, digest: string, job: Job, endsAtMs?: number): void => {
    const judge = job.kind === 'new' ? job.asked.judge : job.record.judge;
    inflight.start(requestId, digest, (each) => scoreRequest(job, each, context), judge, endsAtMs);
  };
  const resume = (job: Extract<Job, { kind: 'resume' }>): void => {
    const { requestId, digest, plan } = job.record;
    if (!inflight.has(requestId)) run(requestId, digest, job, clock.now() + plan.timeBudgetMs);
  };

  /** Whether a request of this id was accepted under that judge; a fault when nobody can tell now. */
  const isOf = async (judge: string | undefined, requestId: string): Promise<boolean | Fault> => {
    try {
      return (await ledger.record(requestId))?.judge?.id === judge;
    } catch (error) {
      if (error instanceof FaultError) return error.fault;
      events.emit('trouble', { where: 'score', error, requestId });
      return fault('internal', 'the request failed inside the coordinator');
    }
  };

  const takeovers = takeover(context, {
    running: (id) => inflight.has(id),
    resume: (record) => resume({ kind: 'resume', record }),
  });
  let cancelTick = clock.after(1_000, function onTick() {
    inflight.tick('tick');
    cancelTick = clock.after(1_000, onTick);
  });

  const endLooks = storage.onLook(({ lost, isIdle }) => {
    room.note();
    if (lost.length > 0) inflight.tick('lost');
    else if (isIdle) inflight.tick('idle');
  });

  return {
    templates: context.templateNames,

    async score(input: ScoreInput, caller: Caller): Promise<ScoreOutcome> {
      const asked = askedOf(input, names, context);
      if (asked.kind === 'fault') return asked;
      const { identity } = asked;
      if (asked.refused && !inflight.has(identity.requestId)) {
        const known = await isOf(input.expectedJudge, identity.requestId);
        if (known !== true) return { kind: 'fault', fault: known === false ? asked.refused : known };
      }
      const passing = inflight.passing(identity.requestId, caller);
      if (passing) {
        const ended = await passing;
        if (ended) return ended;
      }
      const running = inflight.digest(identity.requestId);
      if (running !== undefined && running !== identity.digest) {
        return {
          kind: 'fault',
          fault: fault('key_reused', 'this idempotency key belongs to a running request with other content or options'),
        };
      }
      const another = running !== undefined && mayJoin(inflight.judge(identity.requestId), input, asked, context);
      if (another) return { kind: 'fault', fault: another };
      if (running !== undefined) events.emit('request.known', { requestId: identity.requestId, how: 'joined' });
      else {
        const leftMs = caller.deadlineAtMs - clock.now();
        if (leftMs <= 0) {
          return { kind: 'fault', fault: fault('deadline_exceeded', 'the deadline had passed when the request came') };
        }
        run(identity.requestId, identity.digest, { kind: 'new', input, asked });
      }
      const outcome = await inflight.join(
        identity.requestId,
        caller,
        resolvePatience(input.options, settings.defaults),
      );
      return checked(outcome, input, asked, names, context);
    },

    judge(options) {
      const resolved = resolveAsked(options, context);
      return resolved.kind === 'fault' ? resolved : { kind: 'judge', judge: resolved.judge };
    },

    async stored(idOrKey: string, tenant: string): Promise<StoredVerdict | undefined> {
      const requestId = isRequestId(idOrKey) ? idOrKey : requestIdOfKey(idOrKey, tenant);
      const verdict = await ledger.verdict(requestId);
      if (!verdict) return undefined;
      const record = await ledger.record(requestId);
      return {
        verdict: { ...verdict, stored: true },
        ...(record && { content: record.content, tenant: record.tenant }),
      };
    },

    cancel: (requestId) => Promise.resolve(inflight.cancel(requestId)),

    retryDead: (ids) => retryDead(ids, dead, ledger, (record) => resume({ kind: 'resume', record })),

    load(): CoordinatorLoad {
      const { requests, samples, bytes } = admission.load;
      return {
        requestsInFlight: requests,
        samplesInFlight: samples,
        bytesInFlight: bytes,
        waiting: dispatcher.waiting,
      };
    },

    async drain(graceMs: number): Promise<void> {
      admission.drain();
      takeovers.close();
      await inflight.drained(graceMs);
      endLooks();
      cancelTick();
    },

    reconnected: () => inflight.tick('reconnected'),
    membersChanged: () => takeovers.look(),
    wanted: (requestId, forMs) => inflight.wanted(requestId, forMs),
    busy: () => ({
      requestIds: [...inflight.ids()],
      oldestOpenAtMs: inflight.oldestAtMs(),
    }),
  };
}
