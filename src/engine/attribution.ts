// Attribution: whose fault a failure is, the engine's or the work's, and with it whether the engine gets work at all.
//
// A status alone does not tell: a gateway answers 404 for a second, a prompt can bring a server to answer 500. So a probe decides, a tiny
// request of the same make by the same way with the same key: where it fails as well, the engine is out of service and the work goes
// elsewhere; where it passes, the work is at fault. The work waits for that in its slot, so an engine that refuses fast draws no more of it.
//
//   T1. A failure is put down to the work only after a probe that began later has passed, or where a death is at hand (T3).
//   T2. An engine whose probe fails is out of service, unless it does what others ask of it: then it is what this work asks for.
//   T3. A connection that breaks under the work, with nobody there afterwards, counts against the work: it may be what killed the engine (P5).
//   T4. An engine out of service is probed until it serves again, and never otherwise; close() ends that.

import type { Clock } from '../process/clock.js';
import { closedBreaker, nextBreaker, type Breaker, type BreakerEvent, type Outage } from './breaker.js';
import type { EngineTrouble, OutOfService } from './engine.js';

/** What came of a probe. `unknown`: it says nothing, because it was called off or waited for a slot too long. */
export type ProbeFinding =
  { readonly kind: 'passed' } | { readonly kind: 'failing'; readonly outage: Outage } | { readonly kind: 'unknown' };

/** @typeParam M the make of work: what of it may decide whether an engine takes it, without what it asks */
export interface AttributionOptions<M> {
  /** Asks the engine for as little as work of that make can. */
  readonly probe: (make: M, signal: AbortSignal) => Promise<ProbeFinding>;
  /** Work of one make shares a probe. */
  readonly keyOf: (make: M) => string;
  /** The same without what a caller may choose, for a probe while nothing was ever drawn. */
  readonly plain: (make: M) => M;
  readonly clock: Clock;
  /** 0..1, for jitter. */
  readonly random: () => number;
  /** Called when the engine goes out of service and when it is back (undefined). */
  readonly onChange: (out: OutOfService | undefined) => void;
}

export type Culprit = 'work' | 'engine';

export class Attribution<M> {
  readonly #options: AttributionOptions<M>;
  readonly #closing = new AbortController();
  /** Probes under way by make. */
  readonly #probes = new Map<string, Promise<ProbeFinding>>();
  #breaker: Breaker = closedBreaker;
  /** Of the last work that succeeded; an object, because a make may be undefined. */
  #proven: { readonly make: M } | undefined;
  #cancelTimer = (): void => undefined;

  constructor(options: AttributionOptions<M>) {
    this.#options = options;
  }

  outOfService(): OutOfService | undefined {
    const breaker = this.#breaker;
    if (breaker.kind === 'closed') return undefined;
    return { cause: breaker.outage.cause, reason: breaker.outage.reason, sinceMs: breaker.sinceMs };
  }

  succeeded(make: M): void {
    this.#proven = { make };
    this.#apply({ kind: 'succeeded' }, make);
  }

  /** Resolves to whose fault it is; 'engine' as well where that cannot be told, and at once when `signal` aborts. Never rejects. */
  async whose(failed: Outage, make: M, signal: AbortSignal): Promise<Culprit> {
    const { cause } = failed;
    if (cause === 'busy') {
      this.#apply({ kind: 'busy', outage: failed }, make);
      return 'engine';
    }
    const found = await orAborted(this.#find(make), signal);
    if (found.kind === 'passed') return cause === 'away' ? 'engine' : 'work';
    if (found.kind === 'unknown') return 'engine';
    const { outage } = found;
    // T2.
    const proven = this.#proven;
    if (this.#breaker.kind === 'closed' && proven !== undefined && this.#keyOf(proven.make) !== this.#keyOf(make)) {
      const others = await orAborted(this.#find(proven.make), signal);
      if (others.kind === 'passed') return 'work';
      if (others.kind === 'unknown') return 'engine';
    }
    this.#apply({ kind: 'broken', outage }, make);
    // T3.
    return cause === 'broke' && outage.cause === 'away' ? 'work' : 'engine';
  }

  close(): void {
    this.#closing.abort();
    this.#cancelTimer();
  }

  /** What a probe that begins after this call finds; out of service, what is known. */
  async #find(make: M): Promise<ProbeFinding> {
    const key = this.#keyOf(make);
    // One that began before says enough when it fails (T1).
    const before = this.#probes.get(key);
    if (before !== undefined) {
      const found = await before;
      if (found.kind !== 'passed') return found;
    }
    if (this.#breaker.kind !== 'closed') return { kind: 'failing', outage: this.#breaker.outage };
    return this.#probes.get(key) ?? this.#probe(make);
  }

  #probe(make: M): Promise<ProbeFinding> {
    const key = this.#keyOf(make);
    const probe = (async (): Promise<ProbeFinding> => {
      try {
        return await this.#options.probe(make, this.#closing.signal);
      } catch (error) {
        const reason = error instanceof Error ? error.message : String(error);
        return { kind: 'failing', outage: { cause: 'failing', reason } };
      } finally {
        this.#probes.delete(key);
      }
    })();
    this.#probes.set(key, probe);
    return probe;
  }

  #keyOf(make: M): string {
    return this.#options.keyOf(make);
  }

  #apply(event: BreakerEvent, make: M): void {
    const { clock, random, onChange } = this.#options;
    const before = this.#breaker;
    const now = nextBreaker(before, event, clock.steadyNow(), random());
    this.#breaker = now;
    if (now === before || this.#closing.signal.aborted) return;
    if (now.kind === 'open') {
      this.#cancelTimer();
      this.#cancelTimer = clock.after(now.probeAtMs - clock.steadyNow(), () => void this.#probeAgain(make));
    }
    const changed = (before.kind === 'closed') !== (now.kind === 'closed') || reasonOf(before) !== reasonOf(now);
    if (changed) onChange(this.outOfService());
  }

  /** T4. */
  async #probeAgain(make: M): Promise<void> {
    this.#apply({ kind: 'due' }, make);
    const found = await this.#probe(this.#proven ? this.#proven.make : this.#options.plain(make));
    if (this.#closing.signal.aborted) return;
    if (found.kind === 'failing') this.#apply({ kind: 'failed', outage: found.outage }, make);
    else if (found.kind === 'passed') this.#apply({ kind: 'passed' }, make);
    else if (this.#breaker.kind === 'probing') this.#apply({ kind: 'failed', outage: this.#breaker.outage }, make);
  }
}

function reasonOf(breaker: Breaker): string {
  return breaker.kind === 'closed' ? '' : breaker.outage.reason;
}

/** What was found, or that nothing is known once `signal` has aborted. */
function orAborted(finding: Promise<ProbeFinding>, signal: AbortSignal): Promise<ProbeFinding> {
  return new Promise((resolve) => {
    const leave = (): void => resolve({ kind: 'unknown' });
    if (signal.aborted) return leave();
    signal.addEventListener('abort', leave, { once: true });
    void finding.then((found) => {
      signal.removeEventListener('abort', leave);
      resolve(found);
    });
  });
}

/** The outage that a failed sample or text tells of; undefined when it says nothing of its engine. */
export function outageOf(failed: {
  readonly reason: string;
  readonly trouble?: EngineTrouble;
  readonly retryAfterMs?: number;
}): Outage | undefined {
  const { trouble, reason, retryAfterMs } = failed;
  return trouble && { cause: trouble, reason, ...(retryAfterMs !== undefined && { retryAfterMs }) };
}
