// Gather: collects the samples and meta rewards of one request.
//
// A pure reducer: no timers, no queue. The caller turns a deadline into an event, so that any interleaving can be replayed.
//
//   G1. A sample counts once, and so does its meta reward. Delivery is at-least-once, so a second one is normal and changes nothing:
//       the very same state object comes back (promise P2).
//   G2. `decided` and `expired` are final.
//   G3. samples.size + missing(state).length = reach in every state but `decided`; there it is upTo, and nothing is missing. upTo <= reach <= k.
//   G4. Nothing is decided while a valid sample may still get the meta reward that the plan wants.
//   G5. With adaptive k (grm/stop.ts) the rule looks at samples 0..upTo-1 when all of them are there and ranked, one look after the other: what
//       it sees, and so where it stops, depends neither on the order of arrival nor on how many samples were asked for ahead of it (promise P3).
//       What came ahead of the look that ends drawing is dropped. Samples past `reach` change nothing.

import type { StoppedBy } from '../grm/query.js';
import type { Sample } from '../grm/sample.js';
import { stopReason, nextLook, type StopCase } from '../grm/stop.js';
import type { MetaResult } from './shard.js';

interface Collected {
  readonly k: number;
  /** How many samples the rule looks at next, or looked at when it ended drawing; k where there is no rule. */
  readonly upTo: number;
  /** Samples asked for so far; k where there is no rule. */
  readonly reach: number;
  /** Absent: all k are drawn at once. */
  readonly adaptive?: StopCase;
  /** wanted: wait for a meta result per valid sample; gone: no meta RM serves any more, wait no longer. */
  readonly meta: 'wanted' | 'not_wanted' | 'gone';
  readonly samples: ReadonlyMap<number, Sample>;
  readonly metas: ReadonlyMap<number, MetaResult>;
}

export type Gather =
  | ({ readonly kind: 'gathering' } & Collected)
  | ({ readonly kind: 'decided'; readonly why: 'complete' | StoppedBy } & Collected)
  | ({ readonly kind: 'expired' } & Collected);

export type GatherEvent =
  /** What came together counts together. */
  | { readonly kind: 'samples'; readonly samples: readonly Sample[] }
  | { readonly kind: 'metas'; readonly results: readonly MetaResult[] }
  | { readonly kind: 'meta_gone' }
  /** Samples 0..reach-1 are asked for from now on; less than before changes nothing. */
  | { readonly kind: 'asked'; readonly reach: number }
  | { readonly kind: 'expired' };

export function startGather(k: number, meta: boolean, adaptive?: StopCase): Gather {
  const upTo = adaptive ? nextLook(adaptive.stop, k, 0) : k;
  return {
    kind: 'gathering',
    k,
    upTo,
    reach: upTo,
    ...(adaptive && { adaptive }),
    meta: meta ? 'wanted' : 'not_wanted',
    samples: new Map(),
    metas: new Map(),
  };
}

/** The next state; the same object when the event changes nothing. Never throws: an index outside the plan changes nothing. */
export function gather(state: Gather, event: GatherEvent): Gather {
  if (state.kind !== 'gathering') return state;
  switch (event.kind) {
    case 'samples': {
      const samples = withMore(state.samples, event.samples, state.reach);
      return samples === state.samples ? state : settle({ ...state, samples });
    }
    case 'metas': {
      const metas = withMore(state.metas, event.results, state.reach);
      return metas === state.metas ? state : settle({ ...state, metas });
    }
    case 'meta_gone':
      return state.meta === 'wanted' ? settle({ ...state, meta: 'gone' }) : state;
    case 'asked': {
      const reach = Math.min(state.k, event.reach);
      return reach > state.reach ? { ...state, reach } : state;
    }
    case 'expired':
      return { ...state, kind: 'expired' };
  }
}

/** G1: the very same map when there is nothing new. */
function withMore<T extends { readonly index: number }>(
  known: ReadonlyMap<number, T>,
  results: readonly T[],
  reach: number,
): ReadonlyMap<number, T> {
  let more: Map<number, T> | undefined;
  for (const result of results) {
    const { index } = result;
    if (index >= 0 && index < reach && !(more ?? known).has(index)) (more ??= new Map(known)).set(index, result);
  }
  return more ?? known;
}

function settle(state: Extract<Gather, { kind: 'gathering' }>): Gather {
  const { k, upTo, adaptive, samples, metas } = state;
  for (let index = 0; index < upTo; index++) {
    const sample = samples.get(index);
    if (!sample || (state.meta === 'wanted' && sample.kind === 'scored' && !metas.has(index))) return state;
  }
  if (upTo === k || adaptive === undefined) return { ...state, kind: 'decided', why: 'complete' };
  const seen = { samples: before(samples, upTo), metas: before(metas, upTo) };
  const why = stopReason(adaptive, [...seen.samples.values()], metaRewards(seen.metas));
  if (why !== undefined) return { ...state, ...seen, kind: 'decided', why };
  const next = nextLook(adaptive.stop, k, upTo);
  // The samples of the next look may be there already.
  return settle({ ...state, upTo: next, reach: Math.max(next, state.reach) });
}

function before<T>(results: ReadonlyMap<number, T>, upTo: number): ReadonlyMap<number, T> {
  return new Map([...results].filter(([index]) => index < upTo));
}

/** Sample index -> logit, of the samples that were ranked. */
function metaRewards(metas: ReadonlyMap<number, MetaResult>): ReadonlyMap<number, number> {
  const rewards = new Map<number, number>();
  for (const result of metas.values()) if (result.kind === 'ranked') rewards.set(result.index, result.metaReward);
  return rewards;
}

/** Valid samples without a meta result, by index. */
export function unranked(state: Gather): readonly number[] {
  const indexes: number[] = [];
  for (const sample of state.samples.values()) {
    if (sample.kind === 'scored' && !state.metas.has(sample.index)) indexes.push(sample.index);
  }
  return indexes.sort((a, b) => a - b);
}

/** Samples asked for and not there yet, by index. */
export function missing(state: Gather): readonly number[] {
  const indexes: number[] = [];
  if (state.kind === 'decided') return indexes;
  for (let index = 0; index < state.reach; index++) if (!state.samples.has(index)) indexes.push(index);
  return indexes;
}
