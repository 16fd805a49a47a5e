// Gather: collects the samples and meta rewards of one request.
//
// A pure reducer: no timers, no queue. The caller turns a deadline into an event, so that any interleaving can be replayed.
//
//   G1. A sample counts once, and so does its meta reward. Delivery is at-least-once, so a second one is normal and changes nothing:
//       the very same state object comes back (promise P2).
//   G2. `decided` and `expired` are final.
//   G3. samples.size + missing(state).length = upTo <= k, in every state.
//   G4. Nothing is decided while a valid sample may still get the meta reward that the plan wants.
//   G5. With adaptive k (grm/stop.ts) the rule looks once per wave, when all of samples 0..upTo-1 are there and ranked: what it sees, and so
//       where it stops, does not depend on the order of arrival (promise P3). Samples past the wave change nothing.

import type { StoppedBy } from '../grm/query.js';
import type { Sample } from '../grm/sample.js';
import { stopReason, waveEnd, type StopCase } from '../grm/stop.js';
import type { MetaResult } from './shard.js';

interface Collected {
  readonly k: number;
  /** Samples asked for so far: the end of the present wave, k where there are no waves. */
  readonly upTo: number;
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
  | { readonly kind: 'sample'; readonly sample: Sample }
  | { readonly kind: 'meta'; readonly result: MetaResult }
  | { readonly kind: 'meta_gone' }
  | { readonly kind: 'expired' };

export function startGather(k: number, meta: boolean, adaptive?: StopCase): Gather {
  return {
    kind: 'gathering',
    k,
    upTo: adaptive ? waveEnd(adaptive.stop, k, 0) : k,
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
    case 'sample': {
      const { sample } = event;
      if (sample.index < 0 || sample.index >= state.upTo || state.samples.has(sample.index)) return state;
      return settle({ ...state, samples: new Map(state.samples).set(sample.index, sample) });
    }
    case 'meta': {
      const { result } = event;
      if (result.index < 0 || result.index >= state.upTo || state.metas.has(result.index)) return state;
      return settle({ ...state, metas: new Map(state.metas).set(result.index, result) });
    }
    case 'meta_gone':
      return state.meta === 'wanted' ? settle({ ...state, meta: 'gone' }) : state;
    case 'expired':
      return { ...state, kind: 'expired' };
  }
}

function settle(state: Extract<Gather, { kind: 'gathering' }>): Gather {
  const { k, upTo, adaptive } = state;
  const complete = state.samples.size === upTo && (state.meta !== 'wanted' || unranked(state).length === 0);
  if (!complete) return state;
  if (upTo === k || adaptive === undefined) return { ...state, kind: 'decided', why: 'complete' };
  const why = stopReason(adaptive, [...state.samples.values()], metaRewards(state));
  return why === undefined ? { ...state, upTo: waveEnd(adaptive.stop, k, upTo) } : { ...state, kind: 'decided', why };
}

/** Sample index -> logit, of the samples that were ranked. */
function metaRewards(state: Gather): ReadonlyMap<number, number> {
  const rewards = new Map<number, number>();
  for (const result of state.metas.values()) if (result.kind === 'ranked') rewards.set(result.index, result.metaReward);
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
  for (let index = 0; index < state.upTo; index++) if (!state.samples.has(index)) indexes.push(index);
  return indexes;
}
