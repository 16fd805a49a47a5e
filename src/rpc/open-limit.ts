// Open limit: how many requests of long work may be open at once. Pure.
//
//   OL1. As many as the cluster's slots take up twice over, and one more: a slot that becomes free finds a sample, and no request waits long
//        before an engine takes it up. Slots come and go; the limit goes with them.
//   OL2. Or as many as are answered within `aheadMs`, where that is more: of fast samples most of a request's time is not an engine's.
//   OL3. A service that sheds, or whose time ends before its samples are there, halves what may be open (at most once in `shedEveryMs`); every
//        answer gives a little back. TCP's rule (additive increase, multiplicative decrease), so that several runs share what there is.
//   OL4. Without engines nothing more is opened. What cannot be known (a token that may not ask for the cluster's state) limits nothing.

import type { GetStatusResponse, Node } from '../wire/gen/grm/v1/cluster.js';
import { ActorState } from '../wire/gen/grm/v1/cluster.js';

/** What serves the samples, as a coordinator sees it. */
export interface Serving {
  readonly slots: number;
  /** None serves, and some engine is being started. */
  readonly coming: boolean;
  /** Why one that is up does not serve, where none does. */
  readonly why?: string;
}

const slotsAhead = 2;
const aheadMs = 5_000;
const shedEveryMs = 1_000;
/** Before anything is known of the slots. */
const atFirst = 8;
/** Samples per request, before an answer tells. */
const samplesAtFirst = 8;
/** Weight of the newest answer in the mean of samples per request. */
const samplesGain = 0.05;
/** Times that tell the rate. */
const marksKept = 256;

export class OpenLimit {
  #slots: number | 'asked' | 'unknown' = 'asked';
  #samples: number | undefined;
  /** OL3. */
  #share: number;
  #shedAtMs = -Infinity;
  /** When the first request was opened, then of the last answers, oldest first. */
  readonly #marksMs: number[] = [];

  constructor(private readonly max: number) {
    this.#share = max;
  }

  /** `undefined`: it cannot be known. */
  serving(found: Serving | undefined): void {
    this.#slots = found === undefined ? 'unknown' : found.slots;
  }

  /** @param k samples of the request, where it says so itself */
  opened(k: number | undefined, nowMs: number): void {
    this.#samples ??= k;
    if (this.#marksMs.length === 0) this.#marksMs.push(nowMs);
  }

  /** @param k samples that the request had */
  answered(k: number, nowMs: number): void {
    this.#samples = this.#samples === undefined ? k : this.#samples + samplesGain * (k - this.#samples);
    this.#marksMs.push(nowMs);
    if (this.#marksMs.length > marksKept) this.#marksMs.shift();
    this.#share = Math.min(this.max, this.#share + 1 / this.#share);
  }

  /** @param open requests that are open */
  shed(open: number, nowMs: number): void {
    if (nowMs - this.#shedAtMs < shedEveryMs) return;
    this.#shedAtMs = nowMs;
    this.#share = Math.max(1, Math.min(this.#share, open) / 2);
  }

  now(nowMs: number): number {
    if (this.#slots === 0) return 0;
    const bySlots =
      this.#slots === 'unknown'
        ? this.max
        : this.#slots === 'asked'
          ? atFirst
          : Math.ceil((slotsAhead * this.#slots) / (this.#samples ?? samplesAtFirst)) + 1;
    return Math.max(1, Math.floor(Math.min(this.max, this.#share, Math.max(bySlots, this.#byRate(nowMs)))));
  }

  /** OL2. Over the last answers, and over the time since: it falls while nothing comes. */
  #byRate(nowMs: number): number {
    const [first] = this.#marksMs;
    return first === undefined ? 0 : ((this.#marksMs.length - 1) * aheadMs) / Math.max(1, nowMs - first);
  }
}

/** The pool that the answering coordinator draws from; without a coordinator in the answer all workers count. */
export function servingOf({ nodes }: Pick<GetStatusResponse, 'nodes'>): Serving {
  const pools = new Set(nodes.filter(({ role }) => role === 'coordinator').map(({ pool }) => pool));
  const workers = nodes.filter(
    ({ role, pool, draining }) => role === 'grm-worker' && !draining && (pools.size === 0 || pools.has(pool)),
  );
  const slots = workers.reduce((sum, node) => sum + node.slots, 0);
  if (slots > 0) return { slots, coming: false };
  const actors = workers.flatMap((worker) => worker.actors);
  const why = actors.find(({ stateReason, state }) => stateReason !== '' && !starting.has(state))?.stateReason;
  return { slots, coming: workers.some(mayServe), ...(why !== undefined && { why }) };
}

const starting: ReadonlySet<ActorState> = new Set([ActorState.PENDING, ActorState.STARTING, ActorState.RESTARTING]);

/** A node that has just begun has not made its engines yet. One whose engines are up and refuse their work does not come by waiting. */
function mayServe({ actors }: Node): boolean {
  return actors.length === 0 || actors.some(({ state }) => starting.has(state));
}
