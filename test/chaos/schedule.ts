// Schedule: which faults strike when, from a seed. Real processes take their own time, so a seed replays the blows and not what follows
// from them to the millisecond.

import { limits } from '../../src/limits.js';
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
  'disk full',
  'partition worker',
  'partition meta worker',
  'partition coordinator',
  'partition nats',
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
 * kill: SIGKILL, and started again after a while. freeze: SIGSTOP for a while. drain: SIGTERM, and started again. disk full: a nats-server's disk
 * takes no more for a while, then there is room and the server is restarted. partition: all that a process says and hears is lost, for
 * longer than a lease lives. link: what stands between a process and the nats-servers; door: between callers and a coordinator. engine hang: a worker's engine says nothing, then breaks.
 * poison: a request that kills whoever works on it.
 */
export type FaultKind = (typeof faultKinds)[number];

export interface Strike {
  /** Since the load began. */
  readonly atMs: number;
  readonly kind: FaultKind;
  /** 0 <= pick < 1: which of those that can be struck. */
  readonly pick: number;
  /** How long it lasts, or how long until what was ended is started again. Of a partition, above the time of a lease. */
  readonly forMs: number;
}

export interface Pace {
  readonly durationMs: number;
  /** Mean time between two strikes. */
  readonly everyMs: number;
  readonly forMsMax: number;
}

/**
 * Every kind strikes once before any strikes twice, in an order of its own each round.
 * @param barred kinds that the machine does not allow: their blows are left out, and all others come when they come elsewhere
 */
export function scheduleOf(
  seed: number,
  { durationMs, everyMs, forMsMax }: Pace,
  barred: { has(kind: FaultKind): boolean } = new Set(),
): readonly Strike[] {
  const chance = chanceOf(seed, 'schedule');
  const strikes: Strike[] = [];
  let deck: FaultKind[] = [];
  let atMs = 0;
  for (;;) {
    atMs += Math.round(everyMs * (0.5 + chance.ratio()));
    if (atMs >= durationMs) return strikes;
    if (deck.length === 0) deck = shuffled(faultKinds, chance);
    const kind = deck.pop()!;
    const strike = { atMs, kind, pick: chance.ratio(), forMs: chance.whole(Math.ceil(forMsMax / 10), forMsMax) };
    if (barred.has(kind)) continue;
    strikes.push(isPartition(kind) ? { ...strike, forMs: limits.leaseMs + strike.forMs } : strike);
  }
}

/** Its process is cut off from all others. */
export function isPartition(kind: FaultKind): boolean {
  return kind.startsWith('partition ');
}

function shuffled<T>(items: readonly T[], chance: Chance): T[] {
  const left = [...items];
  return items.map(() => left.splice(chance.whole(0, left.length - 1), 1)[0]!);
}
