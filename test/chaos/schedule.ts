// Schedule: which faults strike when, from a seed. Real processes take their own time, so a seed replays the blows and not what follows
// from them to the millisecond.

import { chanceOf, type Chance } from '../sim/chance.js';

export const faultKinds = [
  'kill worker',
  'kill meta worker',
  'kill coordinator',
  'freeze worker',
  'freeze meta worker',
  'freeze coordinator',
  'drain worker',
  'drain meta worker',
  'drain coordinator',
  'kill nats',
  'freeze nats',
  'link delay',
  'link black hole',
  'link mute',
  'link slow reader',
  'link cut',
  'door delay',
  'door black hole',
  'door mute',
  'door slow reader',
  'door cut',
  'engine hang',
  'poison',
] as const;
/**
 * kill: SIGKILL, and started again after a while. freeze: SIGSTOP for a while. drain: SIGTERM, and started again. link: what stands between a
 * process and the nats-servers; door: between callers and a coordinator. engine hang: a worker's engine says nothing, then breaks.
 * poison: a request that kills whoever works on it.
 */
export type FaultKind = (typeof faultKinds)[number];

export interface Strike {
  /** Since the load began. */
  readonly atMs: number;
  readonly kind: FaultKind;
  /** 0 <= pick < 1: which of those that can be struck. */
  readonly pick: number;
  /** How long it lasts, or how long until what was ended is started again. */
  readonly forMs: number;
}

export interface Pace {
  readonly durationMs: number;
  /** Mean time between two strikes. */
  readonly everyMs: number;
  readonly forMsMax: number;
}

/** Every kind strikes once before any strikes twice, in an order of its own each round. */
export function scheduleOf(seed: number, { durationMs, everyMs, forMsMax }: Pace): readonly Strike[] {
  const chance = chanceOf(seed, 'schedule');
  const strikes: Strike[] = [];
  let deck: FaultKind[] = [];
  let atMs = 0;
  for (;;) {
    atMs += Math.round(everyMs * (0.5 + chance.ratio()));
    if (atMs >= durationMs) return strikes;
    if (deck.length === 0) deck = shuffled(faultKinds, chance);
    const kind = deck.pop()!;
    strikes.push({ atMs, kind, pick: chance.ratio(), forMs: chance.whole(Math.ceil(forMsMax / 10), forMsMax) });
  }
}

function shuffled<T>(items: readonly T[], chance: Chance): T[] {
  const left = [...items];
  return items.map(() => left.splice(chance.whole(0, left.length - 1), 1)[0]!);
}
