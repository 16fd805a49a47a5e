// Request: a ScoreRequest message to a checked request, with what the token allows.

import { fault, type Fault, type Violation } from '../fault.js';
import { intake, type RawScore } from '../coordinator/intake.js';
import type { ScoreInput } from '../coordinator/coordinator.js';
import { classTable, stopRuleTable, voteMethodTable } from '../wire/convert.js';
import type { ScoreOptions } from '../wire/gen/grm/v1/judgement.js';
import { Detail, type ScoreRequest } from '../wire/gen/grm/v1/reward.js';
import { mayActFor, tenantFor, type Grant } from './auth.js';

export type Asked =
  | { readonly kind: 'ok'; readonly input: ScoreInput; readonly detail: Detail }
  | { readonly kind: 'fault'; readonly fault: Fault };

/** @param templates names of the loaded ones */
export function readRequest(request: ScoreRequest | undefined, grant: Grant, templates: readonly string[]): Asked {
  const detail = request?.detail ?? Detail.UNSPECIFIED;
  const raw: RawScore = {
    idempotencyKey: request?.idempotencyKey,
    tenant: tenantFor(grant, request?.tenant ?? ''),
    class: word(request?.class ?? 0, classTable.from),
    content: request?.content,
    options: request?.options && rawOptions(request.options),
    fresh: request?.fresh,
    expectedJudge: request?.expectedJudge,
    allowJudgeChange: request?.allowJudgeChange,
  };
  const result = intake(raw, templates);
  const violations: Violation[] = result.kind === 'violations' ? result.violations : [];
  if (!(detail in detailNames)) {
    violations.push({
      field: 'detail',
      description: `came ${detail}, expected ${Object.values(detailNames).join(', ')}`,
    });
  }
  if (result.kind === 'violations' || violations.length > 0) return { kind: 'fault', fault: invalid(violations) };
  const refused = mayActFor(grant, result.input.tenant);
  if (refused) return { kind: 'fault', fault: refused };
  return { kind: 'ok', input: result.input, detail: detail === Detail.UNSPECIFIED ? Detail.FULL : detail };
}

/** Options alone, checked as those of a request. */
export function readOptions(
  options: ScoreOptions | undefined,
  templates: readonly string[],
): Extract<Asked, { kind: 'fault' }> | { readonly kind: 'ok'; readonly options: ScoreInput['options'] } {
  const any = { query: 'q', responses: ['r'] };
  const result = intake({ content: any, options: options && rawOptions(options) }, templates);
  if (result.kind === 'violations') return { kind: 'fault', fault: invalid(result.violations) };
  return { kind: 'ok', options: result.input.options };
}

export function invalid(violations: readonly Violation[]): Fault {
  const [first] = violations;
  const more = violations.length > 1 ? ` (and ${violations.length - 1} more violations in the details)` : '';
  const message = first ? `${first.field}: ${first.description}${more}` : 'invalid request';
  return fault('invalid_request', message, { violations });
}

const detailNames: Readonly<Record<number, string>> = {
  [Detail.UNSPECIFIED]: 'absent',
  [Detail.FULL]: 'FULL',
  [Detail.SCORES]: 'SCORES',
  [Detail.REWARDS]: 'REWARDS',
};

function rawOptions(options: ScoreOptions): unknown {
  return {
    ...options,
    vote: word(options.vote, voteMethodTable.from),
    stop: word(options.stop, stopRuleTable.from),
  };
}

/** An enum number as its word; UNSPECIFIED is absent, and an unknown number stays one, for intake to refuse. */
function word<W extends string>(number: number, from: (number: number) => W): W | number | undefined {
  if (number === 0) return undefined;
  try {
    return from(number);
  } catch {
    return number;
  }
}
