// Lane: which samples of a request are stored together. A lane is a log of appends in the ledger, and its writers take turns (queue/lanes.ts),
// so that a sample is in it once (promise P2).
//
//   A1. A sample's lane depends on nothing but its index: whoever plans whatever is left of a request, in whatever shards, finds the same samples
//       in the same lanes.
//   A2. A lane holds neighbours, limits.laneSamplesMax of them at most, whatever their orders: a request that is drawn by one worker costs one
//       task, one look and one append for each so many samples.
//   A3. A lane's name holds what tells requests of one id apart (the nonce), the template, and what judged how. What was drawn for another content,
//       of a cancelled request whose key came back, with another template, by another judge or in another way, is in other lanes, and nobody
//       comes across it.

import type { Judge } from '../grm/judge.js';
import type { Plan } from '../grm/query.js';
import { deriveSeed } from '../grm/seed.js';
import { limits } from '../limits.js';
import type { MetaTask, RequestRecord } from './shard.js';

/** Number of the lane of a sample. */
export function laneNumber(index: number): number {
  return Math.floor(index / limits.laneSamplesMax);
}

/** Common beginning of the names of all lanes of a request. (A version whose lanes were of one order each wrote '-' at its end.) */
export function lanePrefix({ nonce, plan, judge }: Pick<RequestRecord, 'nonce' | 'plan' | 'judge'>): string {
  return `${nonce}${plan.templateHash.slice(0, 8)}${judge === undefined ? '' : wayOf(judge, plan)}_`;
}

/** Eight hexadecimal digits. */
function wayOf({ id }: Judge, { temperature, topP, maxTokens }: Plan): string {
  return deriveSeed('lane', id, temperature, topP, maxTokens).toString(16).padStart(8, '0');
}

/** Name of a sample's lane: a single token of a subject. */
export function laneOf(record: RequestRecord, index: number): string {
  return `${lanePrefix(record)}${laneNumber(index)}`;
}

/** The lanes of these samples, each with those of them that it holds. */
export function lanesOf(record: RequestRecord, indexes: Iterable<number>): ReadonlyMap<string, readonly number[]> {
  const lanes = new Map<string, number[]>();
  for (const index of indexes) {
    const lane = laneOf(record, index);
    const those = lanes.get(lane);
    if (those) those.push(index);
    else lanes.set(lane, [index]);
  }
  return lanes;
}

/** The lowest index of a meta task: the number of its unit. */
export function firstOf({ items }: MetaTask): number {
  return Math.min(...items.map(({ index }) => index));
}

/** All indexes of a meta task: two tasks of one epoch are the same when these are. */
export function indexesOf({ items }: MetaTask): string {
  return items.map(({ index }) => index).join('-');
}
