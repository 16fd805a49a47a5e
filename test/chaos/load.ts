// Load: what a chaos run asks for. Request `number` of a seed is always the same request, under the same key, so that an undisturbed run
// can be asked for exactly the same.

import type { FaultKind } from '../../src/fault.js';
import { requestIdOfKey } from '../../src/coordinator/identity.js';
import type { Degraded } from '../../src/grm/verdict.js';
import type { ScoreRequest } from '../../src/rpc/client.js';
import type { Allowance } from '../sim/allowance.js';
import { chanceOf } from '../sim/chance.js';

export const manners = ['steady', 'streamed', 'watched', 'pair', 'brief', 'lost'] as const;
/**
 * steady: asks until there is a verdict. streamed: the same, over one ScoreStream with others. watched: the same, and sees samples pass.
 * pair: two callers ask for it at two doors. brief: has little time, takes what there is by then, asks again when there is too little.
 * lost: asks once; when the connection breaks it never learns the answer.
 */
export type Manner = (typeof manners)[number];

export interface RequestPlan {
  readonly name: string;
  readonly requestId: string;
  readonly manner: Manner;
  /** A worker that reads one order of its responses dies (fleet.ts). */
  readonly isPoison: boolean;
  readonly request: ScoreRequest;
}

const tenant = 'chaos';
/** Nothing but a brief request may end for want of time. */
const patientMs = 3_600_000;
const briefMs = 5_000;
/** In the text of the response that kills, and of the one that stands before it in the order that is harmless. */
export const poisonMarks = { kills: 'POISON', harmless: 'HARMLESS' } as const;

/** @param kind streamed requests go over one stream, poison kills workers, plain ones are of every other manner */
export function requestOf(seed: number, number: number, kind: 'plain' | 'streamed' | 'poison'): RequestPlan {
  const name = `${kind}-${seed}-${number}`;
  const chance = chanceOf(seed, name);
  const manner = kind === 'plain' ? mannerOf(chance.ratio()) : kind === 'streamed' ? 'streamed' : 'steady';
  const responses = Array.from({ length: chance.whole(2, 4) }, (_, at) => {
    const mark = kind !== 'poison' ? '' : ` ${at === 0 ? poisonMarks.kills : poisonMarks.harmless}`;
    return `Answer ${at} of quality=${chance.whole(1, 9)} to ${name}.${mark}`;
  });
  const stop = kind === 'plain' && manner !== 'brief' && chance.is(0.2) ? ('outcome_fixed' as const) : undefined;
  return {
    name,
    requestId: requestIdOfKey(name, tenant),
    manner,
    isPoison: kind === 'poison',
    request: {
      query: `Which answer to ${name} is better?`,
      responses: kind === 'poison' ? responses.slice(0, 2) : responses,
      idempotencyKey: name,
      tenant,
      class: chance.of(['interactive', 'rl', 'batch'] as const),
      k: kind === 'poison' ? 4 : chance.whole(1, 8),
      meta: true,
      vote: 'meta_topk',
      timeBudgetMs: manner === 'brief' ? briefMs : patientMs,
      ...(stop && { stop }),
    },
  };
}

function mannerOf(ratio: number): Manner {
  if (ratio < 0.45) return 'steady';
  if (ratio < 0.65) return 'watched';
  if (ratio < 0.8) return 'pair';
  return ratio < 0.9 ? 'brief' : 'lost';
}

/** The request as an undisturbed run asks for it: in no hurry. Time is no part of what is asked, so it is the same request. */
export function unhurried({ request }: RequestPlan): ScoreRequest {
  return { ...request, timeBudgetMs: patientMs };
}

/** What its callers may be told, and how its verdict may fall short of an undisturbed run's. Dead letters excuse more (sim/check.ts). */
export function allowanceOf({ manner }: RequestPlan): Allowance {
  const faults = new Set<FaultKind>(['unreachable', 'queue_unavailable', 'draining', 'overloaded']);
  const degraded = new Set<Degraded>();
  if (manner === 'brief') {
    faults.add('deadline_exceeded');
    for (const why of ['time_budget', 'meta_partial', 'meta_unavailable'] as const) degraded.add(why);
  }
  // A brief caller asks again with a time budget that may end before that of a coordinator which has taken its request over.
  return { faults, degraded, mayBeForgotten: manner === 'brief' || manner === 'lost', early: manner === 'brief' };
}
