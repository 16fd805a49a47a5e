// Inflight: the requests that run on this coordinator, and who waits for each.
//
//   I1. One run per request id, however many callers.
//   I2. A run ends with the longest time that its callers gave, not with the first one's; a run that was taken up again without one, no
//       sooner than its plan's. A caller's time is its time budget or its deadline, whichever ends first.
//   I5. A caller whose time budget ends before the run is answered with a vote over what is there. That vote is nobody else's: it is not stored,
//       and the run goes on for the others. One whose deadline passes first is told so. What was cut short by time counts for each caller by its
//       own quorum.
//   I6. A run that time has ended is not joined: who comes then waits for its end, and the request runs anew, from the samples that are there.
//   I3. A run whose last caller left goes on for `lingerMs` (a retry may join it), then it is cancelled. A run without callers from the
//       start (a take-over) is never cancelled for want of them.
//   I4. A cancelled run takes its time to clean up, and much of it while NATS is away. Whoever asks meanwhile has cancelled nothing: it waits
//       for that end, limits.waitersMax of them at most, and then the request runs anew.

import { fault } from '../fault.js';
import type { Sample } from '../grm/sample.js';
import type { Judge } from '../grm/judge.js';
import { underQuorum } from '../grm/vote.js';
import { limits } from '../limits.js';
import type { Clock } from '../process/clock.js';
import type { Patience } from '../work/plan.js';
import type { Caller, ScoreOutcome } from './coordinator.js';
import type { EarlyVote, Run, StopReason, TickReason } from './run.js';

type Tick = (why: TickReason) => void;

interface Running {
  readonly requestId: string;
  readonly digest: string;
  /** Under which it was accepted. */
  readonly judge: Judge | undefined;
  readonly startedAtMs: number;
  readonly controller: AbortController;
  readonly samples: Map<number, Sample>;
  readonly watchers: Set<(sample: Sample) => void>;
  readonly outcome: Promise<ScoreOutcome>;
  /** When the most patient caller so far wants the answer; undefined while there was none and the plan's end holds. */
  endsAtMs: number | undefined;
  callers: number;
  hadCallers: boolean;
  /** I6. */
  ending: boolean;
  /** I5. Absent while there is nothing to vote on. */
  earlyVote: EarlyVote | undefined;
  isElsewhere: boolean;
  endLinger: () => void;
}

/** A run that is not accepted yet has nothing to vote on: the next look for a caller whose time is over. */
const earlyAgainMs = 100;

export class Inflight {
  readonly #running = new Map<string, Running>();
  readonly #ticks = new Set<Tick>();
  readonly #idle = new Set<() => void>();
  #started = 0;

  constructor(
    private readonly clock: Clock,
    private readonly lingerMs: number,
  ) {}

  get size(): number {
    return this.#running.size;
  }

  digest(requestId: string): string | undefined {
    return this.#running.get(requestId)?.digest;
  }

  judge(requestId: string): Judge | undefined {
    return this.#running.get(requestId)?.judge;
  }

  has(requestId: string): boolean {
    return this.#running.has(requestId);
  }

  ids(): IterableIterator<string> {
    return this.#running.keys();
  }

  /** When the oldest running request started; now when none runs. */
  oldestAtMs(): number {
    for (const running of this.#running.values()) return running.startedAtMs;
    return this.clock.now();
  }

  /**
   * Starts the run of a request that is not running.
   * @param judge under which it was accepted
   * @param endsAtMs of a run that no caller started: it ends no sooner
   */
  start(
    requestId: string,
    digest: string,
    work: (run: Run) => Promise<ScoreOutcome>,
    judge?: Judge,
    endsAtMs?: number,
  ): void {
    if (this.#running.has(requestId)) throw new Error(`inflight: ${requestId} runs already (I1)`);
    const controller = new AbortController();
    const samples = new Map<number, Sample>();
    const watchers = new Set<(sample: Sample) => void>();
    const run: Run = {
      serial: ++this.#started,
      signal: controller.signal,
      onSample: (sample) => {
        if (samples.has(sample.index)) return;
        samples.set(sample.index, sample);
        for (const watch of watchers) watch(sample);
      },
      endsAtMs: () => this.#running.get(requestId)?.endsAtMs ?? Infinity,
      votesEarly: (earlyVote, where = 'here') => {
        const here = this.#running.get(requestId);
        if (here) Object.assign(here, { earlyVote, isElsewhere: where === 'elsewhere' });
      },
      onTimeUp: () => {
        const here = this.#running.get(requestId);
        if (here) here.ending = true;
      },
      onTick: (tick) => {
        this.#ticks.add(tick);
        return () => void this.#ticks.delete(tick);
      },
    };
    const running: Running = {
      requestId,
      digest,
      judge,
      startedAtMs: this.clock.now(),
      controller,
      samples,
      watchers,
      outcome: work(run).finally(() => {
        running.endLinger();
        this.#running.delete(requestId);
        if (this.#running.size === 0) for (const wake of this.#idle) wake();
      }),
      endsAtMs,
      callers: 0,
      hadCallers: false,
      ending: false,
      earlyVote: undefined,
      isElsewhere: false,
      endLinger: () => undefined,
    };
    this.#running.set(requestId, running);
  }

  /**
   * Waits for a running request on behalf of one caller, within the caller's deadline.
   * @param patience absent: as long as the deadline lets it, and whatever the quorum is that the run was given
   */
  join(requestId: string, caller: Caller, patience?: Patience): Promise<ScoreOutcome> {
    const running = this.#running.get(requestId);
    if (!running)
      return Promise.resolve({ kind: 'fault', fault: fault('not_found', 'the request is not running here') });
    if (running.callers >= limits.waitersMax) {
      return Promise.resolve({
        kind: 'fault',
        fault: fault('overloaded', `${limits.waitersMax} callers wait for this request already`, {
          retryAfterMs: 1_000,
        }),
      });
    }
    running.callers++;
    running.hadCallers = true;
    running.endLinger();
    const now = this.clock.now();
    const leftMs = caller.deadlineAtMs - now;
    const deadlineEndsAtMs = Math.floor(
      caller.deadlineAtMs - Math.min(limits.answerReserveMsMax, Math.max(0, leftMs) / 10),
    );
    const endsAtMs = Math.min(deadlineEndsAtMs, now + (patience?.timeBudgetMs ?? Infinity));
    running.endsAtMs = Math.max(running.endsAtMs ?? -Infinity, endsAtMs);
    const watch = caller.onSample && watcher(caller.onSample);
    if (watch) {
      for (const sample of running.samples.values()) watch(sample);
      running.watchers.add(watch);
    }
    return new Promise((resolve) => {
      let open = true;
      const leave = (outcome: ScoreOutcome): void => {
        if (!open) return;
        open = false;
        caller.signal.removeEventListener('abort', onGone);
        endTimer();
        endEarly();
        if (watch) running.watchers.delete(watch);
        running.callers--;
        if (running.callers === 0 && this.#running.get(requestId) === running) this.#linger(running);
        resolve(patience ? byQuorum(outcome, patience.quorum) : outcome);
      };
      /** I5. */
      const onTimeUp = (): void => {
        if (!patience || running.ending) return;
        if ((running.endsAtMs ?? Infinity) <= endsAtMs && !running.isElsewhere) return;
        if (!running.earlyVote) endEarly = this.clock.after(earlyAgainMs, onTimeUp);
        running.earlyVote?.(patience.quorum).then(
          (verdict) => verdict && leave({ kind: 'verdict', verdict }),
          () => undefined,
        );
      };
      let endEarly =
        patience && endsAtMs < deadlineEndsAtMs ? this.clock.after(endsAtMs - now, onTimeUp) : () => undefined;
      const onGone = (): void => leave({ kind: 'fault', fault: fault('cancelled', 'the caller went away') });
      const endTimer = Number.isFinite(caller.deadlineAtMs)
        ? this.clock.after(caller.deadlineAtMs - this.clock.now(), () =>
            leave({
              kind: 'fault',
              fault: fault(
                'deadline_exceeded',
                'the deadline passed before the verdict; a retry joins the running request',
              ),
            }),
          )
        : () => undefined;
      caller.signal.addEventListener('abort', onGone);
      if (caller.signal.aborted) onGone();
      void running.outcome.then(leave);
    });
  }

  /**
   * I4, I6. Waits for the end of a run that was cancelled or that time has ended; resolves to undefined then, and to the caller's own end where
   * that comes first. Undefined when no such run is there.
   */
  passing(requestId: string, { deadlineAtMs, signal }: Caller): Promise<ScoreOutcome | undefined> | undefined {
    const running = this.#running.get(requestId);
    if (!running?.ending && running?.controller.signal.reason !== 'cancelled') return undefined;
    return this.join(requestId, { deadlineAtMs, signal }).then((ended) =>
      this.#running.get(requestId) === running ? ended : undefined,
    );
  }

  /** Somebody waits for it at another coordinator, for so long still: a lingering run goes on for as long again, and a run to that caller's end (I2). */
  wanted(requestId: string, forMs: number): void {
    const running = this.#running.get(requestId);
    if (!running) return;
    if (running.callers === 0 && running.hadCallers) this.#linger(running);
    if (running.endsAtMs === undefined || running.ending || forMs <= 0) return;
    running.endsAtMs = Math.max(running.endsAtMs, this.clock.now() + Math.min(forMs, limits.timeBudgetMsMax));
  }

  #linger(running: Running): void {
    running.endLinger();
    running.endLinger = this.clock.after(this.lingerMs, () => this.#stop(running, 'cancelled'));
  }

  /** False when it does not run here. */
  cancel(requestId: string): boolean {
    const running = this.#running.get(requestId);
    if (running) this.#stop(running, 'cancelled');
    return running !== undefined;
  }

  tick(why: TickReason): void {
    for (const tick of [...this.#ticks]) tick(why);
  }

  /** Resolves when nothing runs, at the latest after `graceMs`; what still runs then is abandoned to another coordinator. */
  async drained(graceMs: number): Promise<void> {
    if (this.#running.size === 0) return;
    await new Promise<void>((resolve) => {
      const wake = (): void => {
        cancel();
        this.#idle.delete(wake);
        resolve();
      };
      const cancel = this.clock.after(graceMs, wake);
      this.#idle.add(wake);
    });
    const left = [...this.#running.values()];
    for (const running of left) this.#stop(running, 'abandoned');
    await Promise.all(left.map((running) => running.outcome));
  }

  #stop(running: Running, why: StopReason): void {
    running.controller.abort(why);
  }
}

function byQuorum(outcome: ScoreOutcome, quorum: number): ScoreOutcome {
  if (outcome.kind === 'fault') return outcome;
  const verdict = underQuorum(outcome.verdict, quorum);
  return verdict === outcome.verdict ? outcome : { kind: 'verdict', verdict };
}

/** A sample seen before the vote: kept until the vote says otherwise. */
function watcher(onSample: NonNullable<Caller['onSample']>): (sample: Sample) => void {
  return (sample) => onSample({ sample, kept: sample.kind === 'scored' ? 'kept' : 'invalid' });
}
