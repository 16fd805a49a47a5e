// Trouble: what a caller is told while the service does not answer, or cannot take requests, and is tried again.

import type { Fault } from '../fault.js';

/** `leftMs`: at most so long, and the call ends with that fault. `back`: what that fault said was away is there again. */
export type Trouble =
  | { readonly kind: 'away'; readonly fault: Fault; readonly leftMs: number }
  | { readonly kind: 'back'; readonly fault: Fault };

/** Told at once, and then so often while it lasts. */
const tellEveryMs = 5_000;

export class TroubleTeller {
  #told: { readonly fault: Fault; readonly atMs: number } | undefined;

  constructor(
    private readonly hear: (trouble: Trouble) => void,
    private readonly now: () => number,
  ) {}

  away(fault: Fault, leftMs: number): void {
    const nowMs = this.now();
    if (this.#told && this.#told.fault.kind === fault.kind && nowMs - this.#told.atMs < tellEveryMs) return;
    this.#told = { fault, atMs: nowMs };
    this.hear({ kind: 'away', fault, leftMs: Math.max(0, leftMs) });
  }

  back(): void {
    if (!this.#told) return;
    const { fault } = this.#told;
    this.#told = undefined;
    this.hear({ kind: 'back', fault });
  }
}
