// Flood: requests offered at a rate, whatever becomes of those before, and what became of each. No call is tried again.

import { setTimeout as sleep } from 'node:timers/promises';
import type { Class } from '../src/grm/query.js';
import { callOnce, openChannel } from '../src/rpc/channel.js';
import type { ScoreRequest } from '../src/rpc/client.js';
import { GrmError } from '../src/rpc/grm-error.js';
import { toMessage } from '../src/rpc/score-request.js';
import { verdictFromProto } from '../src/wire/convert.js';
import { residentBytes } from './proc.js';
import { requestOf } from './payload.js';

export interface FloodFlow {
  readonly tenant: string;
  readonly class: Class;
  /** Requests offered each second. */
  readonly perSecond: number;
}

export interface FlowTally {
  offered: number;
  /** A valid verdict with all its samples. */
  answered: number;
  /** Of these, those that came once `skipped` were there in all, and before the offering ended: what shares are counted of. */
  counted: number;
  /** RESOURCE_EXHAUSTED with a retry delay. */
  shed: number;
  /** Told in words: a refusal without a delay, another fault, a verdict that is not whole. */
  readonly odd: string[];
  /**
   * Of the counted ones, from the call to the verdict: of those that came after the skipped ones were answered. Whoever comes first finds
   * more room than is his part in a flood, is served by his weight all the same, and waits the longer: that is over when the first ones are.
   */
  readonly latenciesMs: number[];
  /** Of the same, from admission to the verdict, as the coordinator says: without the way to it and what waits at its door. */
  readonly heldMs: number[];
}

export interface FloodPlan {
  readonly address: string;
  readonly flows: readonly FloodFlow[];
  readonly request: Omit<Partial<ScoreRequest>, 'query'>;
  /** Answers at the beginning that do not count: until every flow holds its part. */
  readonly skipped: number;
  /** The offering ends when so many count. */
  readonly counted: number;
  /** And at the latest now. */
  readonly secondsMax: number;
  /** Processes whose memory is looked at meanwhile. */
  readonly pids?: readonly number[];
}

export interface Flood {
  readonly tallies: readonly FlowTally[];
  /** Counted answers per second. */
  readonly perSecond: number;
  /** The most that each process had, bytes. */
  readonly residentBytesMax: readonly number[];
}

/** Longer than any backlog takes. */
const deadlineMs = 600_000;
const tickMs = 10;
const oddMax = 20;
/** A caller that is itself too slow offers no more than this at once. */
const openMax = 1_000;

/** Resolves when all that was offered is answered or refused. */
export async function flood(plan: FloodPlan): Promise<Flood> {
  const { flows, skipped, counted, secondsMax, pids = [] } = plan;
  // GrmClient would try what was shed again until its deadline.
  const channel = openChannel({ address: plan.address });
  const { reward, metadata } = channel;
  const tallies = flows.map((): FlowTally => ({
    offered: 0,
    answered: 0,
    counted: 0,
    shed: 0,
    odd: [],
    latenciesMs: [],
    heldMs: [],
  }));
  const residentBytesMax = pids.map(residentBytes);
  const open = new Set<Promise<void>>();
  let answers = 0;
  let offering = true;
  let countedFromMs = skipped > 0 ? Infinity : performance.now();

  const offer = async ({ tenant, class: klass }: FloodFlow, tally: FlowTally): Promise<void> => {
    tally.offered++;
    const startedAtMs = performance.now();
    const odd = (words: string): void => {
      if (tally.odd.length < oddMax) tally.odd.push(words);
    };
    try {
      const asking = toMessage(requestOf({ ...plan.request, class: klass }), tenant);
      if (asking.kind === 'fault') throw new GrmError(asking.fault);
      const endAtMs = Date.now() + deadlineMs;
      const response = await callOnce(reward.score.bind(reward), asking.message, metadata, endAtMs, undefined);
      const verdict = response.verdict && verdictFromProto(response.verdict);
      if (verdict?.kind !== 'valid' || verdict.kValid !== verdict.k) return odd(`${verdict?.kValid ?? 0} samples`);
      tally.answered++;
      answers++;
      if (answers === skipped) countedFromMs = performance.now();
      if (answers <= skipped || !offering) return;
      tally.counted++;
      if (startedAtMs < countedFromMs) return;
      tally.latenciesMs.push(performance.now() - startedAtMs);
      tally.heldMs.push(verdict.durationMs);
    } catch (error) {
      if (!(error instanceof GrmError)) throw error;
      if (error.kind === 'overloaded' && (error.retryAfterMs ?? 0) > 0) tally.shed++;
      else odd(`${error.kind}: ${error.message}`);
    }
  };

  const startedAtMs = performance.now();
  const all = (): number => tallies.reduce((sum, each) => sum + each.counted, 0);
  const secondsGone = (): number => (performance.now() - startedAtMs) / 1_000;
  const failures: unknown[] = [];
  const due = flows.map(() => 0);
  while (failures.length === 0 && all() < counted && secondsGone() < secondsMax) {
    flows.forEach((flow, at) => {
      for (; due[at]! < secondsGone() * flow.perSecond; due[at]!++) {
        if (open.size >= openMax) continue;
        const call = offer(flow, tallies[at]!)
          .catch((error: unknown) => void failures.push(error))
          .finally(() => open.delete(call));
        open.add(call);
      }
    });
    pids.forEach((pid, at) => (residentBytesMax[at] = Math.max(residentBytesMax[at]!, residentBytes(pid))));
    await sleep(tickMs);
  }
  offering = false;
  if (answers < skipped)
    throw new Error(`only ${answers} answers came in ${secondsMax} s, and ${skipped} do not count`);
  const perSecond = all() / ((performance.now() - countedFromMs) / 1_000);
  await Promise.all(open);
  channel.close();
  if (failures.length > 0) throw failures[0];
  return { tallies, perSecond, residentBytesMax };
}
