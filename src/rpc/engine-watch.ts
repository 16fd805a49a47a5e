// Engine watch: asks every few seconds what serves, for long work. Its work waits while no engine serves, and gives up after a while.

import { fault, type Fault } from '../fault.js';
import { limits } from '../limits.js';
import type { Clock } from '../process/clock.js';
import type { Serving } from './open-limit.js';

export interface EngineHearer {
  /** After each look; undefined: it cannot be known, and there is no further look. */
  found(serving: Serving | undefined): void;
  /** No engine serves; after `leftMs` it is over. */
  away(it: Fault, leftMs: number): void;
  back(): void;
  over(it: Fault): void;
}

export class EngineWatch {
  #cancel: () => void = () => undefined;
  #awaySinceMs: number | undefined;
  #closed = false;

  /**
   * @param ask rejects when it is to be asked again
   * @param patienceMs how long no engine may serve; default: limits.noEngineMs, or limits.engineStartingMs while one is being started
   */
  constructor(
    private readonly ask: () => Promise<Serving | undefined>,
    private readonly hearer: EngineHearer,
    private readonly clock: Pick<Clock, 'steadyNow' | 'after'>,
    private readonly patienceMs?: number,
  ) {
    void this.#look();
  }

  get away(): boolean {
    return this.#awaySinceMs !== undefined;
  }

  close(): void {
    this.#closed = true;
    this.#cancel();
  }

  async #look(): Promise<void> {
    try {
      const serving = await this.ask();
      if (this.#closed) return;
      this.#judge(serving);
      this.hearer.found(serving);
      if (serving === undefined) return;
    } catch {
      // A service that is away is told of by the calls that it does not answer.
    }
    if (!this.#closed) this.#cancel = this.clock.after(limits.servingAskEveryMs, () => void this.#look());
  }

  #judge(serving: Serving | undefined): void {
    const { hearer } = this;
    if (serving?.slots !== 0) {
      if (!this.away) return;
      this.#awaySinceMs = undefined;
      return hearer.back();
    }
    const nowMs = this.clock.steadyNow();
    this.#awaySinceMs ??= nowMs;
    const { coming, why } = serving;
    const patienceMs = this.patienceMs ?? (coming ? limits.engineStartingMs : limits.noEngineMs);
    const leftMs = this.#awaySinceMs + patienceMs - nowMs;
    const words = coming ? 'no engine serves yet; one is being started' : 'no engine serves';
    const it = fault('no_engine', why === undefined ? words : `${words}: ${why}`);
    if (leftMs > 0) hearer.away(it, leftMs);
    else hearer.over(it);
  }
}
