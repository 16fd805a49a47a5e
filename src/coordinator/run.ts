// Run: one run of a request at this coordinator, as those see it who do its work. Who waits for it is inflight.ts's to know.

import type { Sample } from '../grm/sample.js';
import type { Missing, Verdict } from '../grm/verdict.js';
import type { Gather } from '../work/gather.js';

export type StopReason = 'cancelled' | 'abandoned';

/** `lost`: messages of a stream went without us; `idle`: the work queues are empty. */
export type TickReason = 'tick' | 'reconnected' | 'lost' | 'idle';

/** The run that a collection belongs to; `signal.reason` is a StopReason. */
export interface Run {
  /** Distinct for every run of this process. */
  readonly serial: number;
  readonly signal: AbortSignal;
  readonly onSample: (sample: Sample) => void;
  /** Called whenever more samples are asked for, with how many are now. */
  readonly onAsked?: (samples: number) => void;
  /** When the most patient caller wants the answer; it may move away while the run goes on. Infinity without callers. */
  readonly endsAtMs: () => number;
  /** Tells how a caller is answered whose time budget ends before the run; undefined: no more. The run itself is here, or elsewhere and has no end of its own here. */
  readonly votesEarly?: (vote: EarlyVote | undefined, where?: 'here' | 'elsewhere') => void;
  /** Time has ended the run: nobody is to join it any more. */
  readonly onTimeUp?: () => void;
  /** Registers a call for every tick of the shared clock (about one per second), for every reconnect and for what a look at the streams found; returns how to end it. */
  readonly onTick: (tick: (why: TickReason) => void) => () => void;
}

/** A vote over what is there now, which is not stored. Undefined: the run's own answer is on its way. */
export type EarlyVote = (quorum: number) => Promise<Verdict | undefined>;

/** What a collection has when time ends, the run's or one caller's. */
export interface Cut {
  readonly gather: Gather;
  readonly missing: Missing;
}

/** When a run ends: with the most patient of its callers, or without callers with the time budget that it was given. */
export function endOf(run: Run, budgetEndsAtMs: number): number {
  const endsAtMs = run.endsAtMs();
  return Number.isFinite(endsAtMs) ? endsAtMs : budgetEndsAtMs;
}
