// Judge pins: a client takes the scores of one judge. What judged its first verdict is asked for by name from then on, so that a judge that is
// changed while a job runs is an error and not another scale of rewards.
//
//   J1. There is a pin for each way of asking that can be judged by others on purpose: its template, its vote, with or without a meta RM.
//   J2. An answer of another judge is the fault judge_changed, which names both. A request that allows the change is neither pinned nor pins.

import { fault, type Fault } from '../fault.js';
import { isKnown, judgeWords, type Judge } from '../grm/judge.js';
import type { Verdict } from '../grm/verdict.js';
import { limits } from '../limits.js';
import type { ScoreRequest as WireRequest } from '../wire/gen/grm/v1/reward.js';

export class JudgePins {
  readonly #pins = new Map<string, Judge>();

  /** @param allowed a change of judge is no error for this client */
  constructor(private readonly allowed: boolean) {}

  /** The message with what is pinned for it. Messages that name a judge themselves, or allow any, are left as they are. */
  stamped(message: WireRequest): WireRequest {
    if (message.allowJudgeChange || message.expectedJudge !== '') return message;
    if (this.allowed) return { ...message, allowJudgeChange: true };
    const pin = this.#pins.get(wayOf(message));
    return pin ? { ...message, expectedJudge: pin.id } : message;
  }

  /** The fault that a verdict is for this message (as it was before it was stamped); undefined when it is by the judge that is wanted. */
  refuse(message: WireRequest, { judge }: Pick<Verdict, 'judge'>): Fault | undefined {
    if (this.allowed || message.allowJudgeChange || message.expectedJudge !== '' || !isKnown(judge)) return undefined;
    const way = wayOf(message);
    const pin = this.#pins.get(way);
    if (!pin) {
      if (this.#pins.size < limits.judgePinsMax) this.#pins.set(way, judge);
      return undefined;
    }
    return pin.id === judge.id ? undefined : changed(judgeWords(pin), judgeWords(judge));
  }

  /** The service knows the wanted judge by its id alone: its words are put in place of it. */
  worded(message: WireRequest, it: Fault): Fault {
    const pin = it.kind === 'judge_changed' ? this.#pins.get(wayOf(message)) : undefined;
    if (!pin) return it;
    return { ...it, message: it.message.replace(`[${pin.id}]`, judgeWords(pin)) };
  }
}

function changed(before: string, now: string): Fault {
  return fault(
    'judge_changed',
    `the judge was ${before}, and now it is ${now}: begin anew with it, or allow the change`,
  );
}

/** J1. The default of k is the server's, so that k = 1, which is asked without a meta RM, is one of them. */
function wayOf({ options }: WireRequest): string {
  return JSON.stringify([options?.template ?? '', options?.vote ?? 0, options?.meta ?? null, options?.k === 1]);
}
