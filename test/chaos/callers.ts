// Callers of a chaos run: real gRPC clients, each with its manner (load.ts), that write down what they ask and what they are told.

import { setTimeout as sleep } from 'node:timers/promises';
import { faults } from '../../src/fault.js';
import type { Verdict } from '../../src/grm/verdict.js';
import { encodeSample, encodeVerdict } from '../../src/queue/codec.js';
import { GrmClient, GrmError, type FaultKind } from '../../src/rpc/client.js';
import { summaryOf, valueOf } from '../sim/callers.js';
import type { Chance } from '../sim/chance.js';
import type { History } from '../sim/history.js';
import type { RequestPlan } from './load.js';

export interface Door {
  readonly name: string;
  readonly client: GrmClient;
  /** Fails where the other would try again. */
  readonly hasty: GrmClient;
}

export interface CallersWorld {
  readonly doors: readonly Door[];
  readonly history: History;
  readonly chance: Chance;
  /** Aborts when nobody waits any longer: whoever still does then has no end in the history. */
  readonly given: AbortSignal;
}

const patientMs = 3_600_000;
/** Above the time budget of a brief request, so that it is the budget that ends it. */
const briefMs = 15_000;
/** Tries of a brief request that finds too little time each time. */
const briefTriesMax = 200;

export function openDoor(name: string, address: string): Door {
  return {
    name,
    client: GrmClient.connect({ address }),
    hasty: GrmClient.connect({ address, retries: { triesMax: 1 } }),
  };
}

/** Asks for one request until its manner is content. Never rejects for what a caller may be told. */
export async function call(plan: RequestPlan, world: CallersWorld): Promise<void> {
  if (plan.manner !== 'pair') return ask(plan, `${plan.name}/0`, world);
  await Promise.all([0, 1].map((at) => ask(plan, `${plan.name}/${at}`, world)));
}

async function ask(plan: RequestPlan, caller: string, world: CallersWorld): Promise<void> {
  const { history, chance, doors, given } = world;
  const { name: request, manner } = plan;
  const done = (how: 'content' | 'lost' | 'tired'): void => history.add({ kind: 'done', request, caller, how });
  const isGivenUp = (): boolean => given.aborted;
  for (let calls = 1; !isGivenUp(); calls++) {
    const door = chance.of(doors);
    history.add({ kind: 'asked', request, caller, node: door.name });
    try {
      const verdict = await tryOnce(plan, caller, calls, door, world);
      tell(request, caller, verdict, history);
      const isShort = verdict.kind === 'invalid' && verdict.degraded.includes('time_budget');
      if (manner !== 'brief' || !isShort) return done('content');
      if (calls >= briefTriesMax) return done('tired');
    } catch (error) {
      if (!(error instanceof GrmError)) throw error;
      if (isGivenUp()) return;
      refuse(request, caller, error, history);
      if (manner === 'lost') return done('lost');
      if (isFinal(error.kind)) return done('tired');
    }
    await sleep(chance.whole(100, 500));
  }
}

async function tryOnce(
  plan: RequestPlan,
  caller: string,
  calls: number,
  door: Door,
  { history, given }: CallersWorld,
): Promise<Verdict> {
  const { manner, request, name } = plan;
  const limits = { deadlineMs: manner === 'brief' ? briefMs : patientMs, signal: given };
  if (manner !== 'watched') return (manner === 'lost' ? door.hasty : door.client).score(request, limits);
  for await (const seen of door.client.watch(request, limits)) {
    if (seen.kind === 'verdict') return seen.verdict;
    const { sample } = seen.sample;
    const value = valueOf(encodeSample(sample));
    history.add({ kind: 'watched', request: name, caller, call: calls, index: sample.index, value });
  }
  throw new Error(`${caller}: the watch ended without a verdict`);
}

/** Asks for many over one stream, and over another when that one breaks, until each is answered. */
export async function stream(plans: readonly RequestPlan[], world: CallersWorld): Promise<void> {
  const { doors, chance, history, given } = world;
  const open = new Map(plans.map((plan) => [plan.name, plan]));
  const isGivenUp = (): boolean => given.aborted;
  while (open.size > 0 && !isGivenUp()) {
    const door = chance.of(doors);
    for (const { name } of open.values()) {
      history.add({ kind: 'asked', request: name, caller: `${name}/0`, node: door.name });
    }
    try {
      const requests = [...open.values()].map(({ request }) => request);
      for await (const result of door.client.scoreMany(requests, { deadlineMs: patientMs, signal: given })) {
        const request = result.request.idempotencyKey ?? '';
        const caller = `${request}/0`;
        if (result.kind === 'verdict') {
          tell(request, caller, result.verdict, history);
          history.add({ kind: 'done', request, caller, how: 'content' });
          open.delete(request);
          continue;
        }
        const error = new GrmError(result.fault);
        refuse(request, caller, error, history);
        if (!isFinal(error.kind)) continue;
        history.add({ kind: 'done', request, caller, how: 'tired' });
        open.delete(request);
      }
    } catch (error) {
      if (!(error instanceof GrmError)) throw error;
      const [first] = open.keys();
      if (first !== undefined && !isGivenUp()) refuse(first, `${first}/0`, error, history);
    }
    await sleep(chance.whole(100, 500));
  }
}

function tell(request: string, caller: string, verdict: Verdict, history: History): void {
  const outcome = { kind: 'verdict', value: valueOf(encodeVerdict(verdict)), summary: summaryOf(verdict) } as const;
  history.add({ kind: 'answered', request, caller, outcome });
}

function refuse(request: string, caller: string, { kind, message }: GrmError, history: History): void {
  history.add({ kind: 'answered', request, caller, outcome: { kind: 'fault', fault: kind, message } });
}

function isFinal(kind: FaultKind): boolean {
  return faults[kind].disposition === 'terminal';
}
