// Asked: what a request comes to under the server's defaults and what judges now: its plan, its judge, its identity. And whether an answer is
// by the judge that the caller wants.
//
//   K1. A caller who named a judge gets an answer of that judge or the fault judge_changed, wherever the answer comes from; what had been
//       accepted under that judge is still finished and answered, so that a retry over a change loses nothing (promise P1).
//   K2. A key whose stored verdict, or whose running request, is of another judge is refused, unless the caller allows it.
//   K3. A meta RM that is away for a while is no change of judge: who pinned a judge that it belongs to is judged under it, and a verdict without its
//       rewards says so (`meta_unavailable`).

import { fault, type Fault } from '../fault.js';
import { isKnown, isSameJudge, judgeWords, type Judge } from '../grm/judge.js';
import type { Plan } from '../grm/query.js';
import { limits } from '../limits.js';
import { resolvePlan } from '../work/plan.js';
import type { CoordinatorContext } from './context.js';
import type { ScoreInput, ScoreOptions, ScoreOutcome } from './coordinator.js';
import { identify, type Identity } from './identity.js';
import { judgeChanged, judgeOf, keyOfAnother } from './judge.js';

export interface Asked {
  readonly kind: 'asked';
  readonly plan: Plan;
  readonly judge: Judge;
  readonly identity: Identity;
  /** K1: another judge is wanted. Only what was accepted before is answered. */
  readonly refused?: Fault;
}

type Resolved =
  | { readonly kind: 'resolved'; readonly plan: Plan; readonly judge: Judge }
  | { readonly kind: 'fault'; readonly fault: Fault };

/** Defaults applied, template named by hash, judge as it is now. */
export function resolveAsked(
  options: ScoreOptions,
  context: CoordinatorContext,
  metaServing = context.members.metaExpected(),
): Resolved {
  const { settings, members } = context;
  const template = context.template(options.template);
  if (template === undefined) {
    const description = `no template "${options.template ?? ''}" is loaded; there is ${context.templateNames.join(', ')}`;
    return {
      kind: 'fault',
      fault: fault('invalid_request', description, { violations: [{ field: 'options.template', description }] }),
    };
  }
  const { title, hash: templateHash } = template;
  const plan = resolvePlan(options, settings.defaults, { metaServing, templateHash });
  const { models, meta } = members.judges();
  const judge = judgeOf({ models, template: title, templateHash, ...(plan.meta && { meta }) });
  return { kind: 'resolved', plan, judge };
}

/** The judges that this coordinator has met, in words: a caller names one by its id. */
export class JudgeNames {
  readonly #words = new Map<string, string>();

  note(judge: Judge | undefined): void {
    if (!isKnown(judge) || this.#words.has(judge.id)) return;
    if (this.#words.size >= limits.judgesNamedMax) this.#words.delete(this.#words.keys().next().value!);
    this.#words.set(judge.id, judgeWords(judge));
  }

  of(id: string): string {
    return this.#words.get(id) ?? `[${id}]`;
  }
}

/** K3. */
function resolvePinned(options: ScoreOptions, expected: string | undefined, context: CoordinatorContext): Resolved {
  const resolved = resolveAsked(options, context);
  if (resolved.kind === 'fault' || expected === undefined || resolved.judge.id === expected) return resolved;
  const ranked = resolveAsked(options, context, true);
  return ranked.kind === 'resolved' && ranked.judge.id === expected ? ranked : resolved;
}

export function askedOf(
  input: ScoreInput,
  names: JudgeNames,
  context: CoordinatorContext,
): Asked | Extract<Resolved, { kind: 'fault' }> {
  const { expectedJudge: expected } = input;
  const resolved = resolvePinned(input.options, expected, context);
  if (resolved.kind === 'fault') return resolved;
  const { plan, judge } = resolved;
  names.note(judge);
  const another = expected !== undefined && input.allowJudgeChange !== true && isKnown(judge) && judge.id !== expected;
  const under = { judge: another ? expected : judge.id, defaults: context.settings.defaults };
  const asked = { kind: 'asked', plan, judge, identity: identify(input, under) } as const;
  return another ? { ...asked, refused: notExpected(names.of(expected), judge) } : asked;
}

/** K2, of a request that runs. */
export function mayJoin(
  running: Judge | undefined,
  input: ScoreInput,
  { judge }: Asked,
  context: CoordinatorContext,
): Fault | undefined {
  if (running === undefined || input.allowJudgeChange === true || input.expectedJudge === running.id) return undefined;
  return isSameJudge(running, judge, context.members.judges().meta) ? undefined : keyOfAnother(running, judge);
}

/** K1 and K2, of an answer. */
export function checked(
  outcome: ScoreOutcome,
  input: ScoreInput,
  { judge: now }: Asked,
  names: JudgeNames,
  context: CoordinatorContext,
): ScoreOutcome {
  if (outcome.kind === 'fault' || input.allowJudgeChange === true) return outcome;
  const { judge, stored } = outcome.verdict;
  names.note(judge);
  const { expectedJudge: expected, idempotencyKey: key = '' } = input;
  if (expected !== undefined && isKnown(judge)) {
    return judge.id === expected ? outcome : { kind: 'fault', fault: notExpected(names.of(expected), judge) };
  }
  if (key === '' || stored !== true || !isKnown(now)) return outcome;
  // A verdict of a version that told no judge may be anybody's.
  if (judge !== undefined && isSameJudge(judge, now, context.members.judges().meta)) return outcome;
  return { kind: 'fault', fault: keyOfAnother(judge, now) };
}

function notExpected(expected: string, now: Judge): Fault {
  return judgeChanged(expected, judgeWords(now), 'begin anew with it, or allow_judge_change');
}
