// Weather: what the network does to each call, notice and ack of a simulation, until it is told to calm down.

import type { Crossing, Weather } from '../support/memory-wire.js';
import type { Chance } from './chance.js';
import type { NetworkPlan } from './scenario.js';

export interface SimulatedWeather extends Weather {
  /** Whether the answer to a caller is lost. */
  replyLost(): boolean;
  /** From now on all is well, at once. */
  calm(): void;
}

/** @param tell what went wrong, in words */
export function weatherOf(plan: NetworkPlan, chance: Chance, tell: (what: string) => void): SimulatedWeather {
  let isCalm = Object.values(plan).every((share) => share === 0);
  const slowMs = (): number => chance.whole(1, Math.max(1, plan.slowMsMax));
  const crossing = (client: string, what: string): Crossing => {
    const dice = chance.ratio();
    if (dice < plan.refused) {
      tell(`${client} ${what}: refused`);
      return { kind: 'refused', afterMs: slowMs() };
    }
    if (dice < plan.refused + plan.unanswered) {
      tell(`${client} ${what}: done, and the answer is lost`);
      return { kind: 'unanswered', afterMs: slowMs() };
    }
    if (!chance.is(plan.slow)) return { kind: 'ok' };
    return { kind: 'ok', toMs: chance.is(0.5) ? slowMs() : 0, backMs: chance.is(0.5) ? slowMs() : 0 };
  };
  return {
    call: (client, what) => (isCalm || client === 'publisher' ? { kind: 'ok' } : crossing(client, what)),
    stale: (client, what) => {
      if (isCalm || !chance.is(plan.stale)) return false;
      tell(`${client} ${what}: read at a replica that lags`);
      return true;
    },
    notice: (client, what) => {
      if (isCalm) return [0];
      if (chance.is(plan.noticeLost)) {
        tell(`${client}: a notice is lost (${what})`);
        return [];
      }
      const delay = (): number => (chance.is(plan.noticeLate) ? slowMs() : 0);
      return chance.is(plan.noticeTwice) ? [delay(), delay()] : [delay()];
    },
    settle: (client, how) => {
      if (isCalm) return 0;
      if (chance.is(plan.settleLost)) {
        tell(`${client} ${how}: lost`);
        return undefined;
      }
      return chance.is(plan.settleLate) ? slowMs() : 0;
    },
    replyLost: () => !isCalm && chance.is(plan.replyLost),
    calm: () => void (isCalm = true),
  };
}
