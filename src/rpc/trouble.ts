// Trouble: what a caller is told while the service does not answer, or cannot take requests, and is tried again.

import type { Fault } from '../fault.js';

/** `leftMs`: at most so long, and the call ends with that fault. `back`: it answers again. */
export type Trouble =
  { readonly kind: 'away'; readonly fault: Fault; readonly leftMs: number } | { readonly kind: 'back' };

/** Told at once, and then so often while it lasts. */
const tellEveryMs = 5_000;

export class TroubleTeller {
  #toldAtMs: number | undefined;

  constructor(
    private readonly hear: (trouble: Trouble) => void,
    private readonly now: () => number,
  ) {}

  away(fault: Fault, leftMs: number): void {
    const nowMs = this.now();
    if (this.#toldAtMs !== undefined && nowMs - this.#toldAtMs < tellEveryMs) return;
    this.#toldAtMs = nowMs;
    this.hear({ kind: 'away', fault, leftMs: Math.max(0, leftMs) });
  }

  back(): void {
    if (this.#toldAtMs === undefined) return;
    this.#toldAtMs = undefined;
    this.hear({ kind: 'back' });
  }
}
