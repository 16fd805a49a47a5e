// One request of scoreMany, from being read to its answer: its tries and how long each of them waits.

import type { ScoreRequest as WireRequest } from '../wire/gen/grm/v1/reward.js';
import { limits } from '../limits.js';
import { samplesOf, Tries, type Outcome } from './again.js';
import { answerMs, deadlineMsOf, type ScoreRequest } from './score-request.js';

export interface Waiting {
  /** Of all tries; undefined: that of a single call, and none for patient work. */
  readonly deadlineMs?: number;
  readonly patient?: boolean;
}

export class Entry<R extends ScoreRequest> {
  /** Correlation id, another one for each time that it is asked again: the service may still be at the last one. */
  key: string;
  /** Tries in a row that found the service away or full. */
  failures = 0;
  /** Waits for its next try. */
  timer: NodeJS.Timeout | undefined;
  readonly #patient: boolean;
  readonly #endsAtMs: number;
  readonly #tries: Tries;
  #message: WireRequest;
  #budgetMs: number;
  #deadlineAtMs: number;

  constructor(
    readonly index: number,
    readonly request: R,
    message: WireRequest,
    { deadlineMs, patient = false }: Waiting,
    nowMs: number,
  ) {
    this.key = String(index);
    this.#patient = patient;
    this.#budgetMs = request.timeBudgetMs ?? limits.timeBudgetMsMax;
    this.#message = patient ? withBudget(message, this.#budgetMs) : message;
    this.#endsAtMs = nowMs + (deadlineMs ?? (patient ? Infinity : deadlineMsOf(request)));
    this.#deadlineAtMs = this.#endsAtMs;
    this.#tries = new Tries(nowMs);
    this.#wait(nowMs);
  }

  get message(): WireRequest {
    return this.#message;
  }

  /** When an answer to this try is not waited for any more. */
  get deadlineAtMs(): number {
    return this.#deadlineAtMs;
  }

  /** When it was first asked, or a new sample was heard of. */
  get newsAtMs(): number {
    return this.#tries.newsAtMs;
  }

  /** Makes it the next try, with more time; false when there is none. `outcome`: how time ended the last one. */
  again(outcome: Outcome, nowMs: number): boolean {
    const budgetMs = this.#tries.next(samplesOf(outcome), this.#budgetMs, nowMs);
    if (budgetMs === undefined || nowMs >= this.#endsAtMs) return false;
    clearTimeout(this.timer);
    this.timer = undefined;
    this.failures = 0;
    this.key = `${this.index}.${this.#tries.count}`;
    this.#budgetMs = budgetMs;
    this.#message = withBudget(this.#message, budgetMs);
    this.#wait(nowMs);
    return true;
  }

  /** Nothing could be drawn until now: that time is nobody's. */
  resumed(nowMs: number): void {
    this.#tries.resumed(nowMs);
    this.#wait(nowMs);
  }

  #wait(nowMs: number): void {
    if (this.#patient) this.#deadlineAtMs = Math.min(this.#endsAtMs, nowMs + answerMs(this.#budgetMs));
  }
}

function withBudget(message: WireRequest, timeBudgetMs: number): WireRequest {
  return { ...message, options: message.options && { ...message.options, timeBudgetMs } };
}
