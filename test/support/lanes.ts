// Lanes for tests: single results in and out of the ledger. Where a test has no plan, each sample has a lane of its own.

import { decodeAppend, decodeMetaResult, decodeSample, encodeMetaResult, encodeSample } from '../../src/queue/codec.js';
import type { Sample } from '../../src/grm/sample.js';
import type { LaneLog, Ledger, Put } from '../../src/queue/queue.js';
import { lanesOf } from '../../src/work/lane.js';
import type { MetaResult, RequestRecord } from '../../src/work/shard.js';

export const ownLane = (index: number): string => `own-${index}`;

export async function putSample(
  ledger: Ledger,
  id: string,
  sample: Sample,
  lane = ownLane(sample.index),
): Promise<Put> {
  const { stored } = await ledger.addSamples(id, lane, await ledger.samples(id, lane), [sample]);
  return stored.length > 0 ? 'stored' : 'exists';
}

export async function putMeta(ledger: Ledger, result: MetaResult, lane = ownLane(result.index)): Promise<Put> {
  const { requestId } = result;
  const { stored } = await ledger.addMetas(requestId, lane, await ledger.metas(requestId, lane), [result]);
  return stored.length > 0 ? 'stored' : 'exists';
}

export function samplesOf(ledger: Ledger, id: string, indexes: readonly number[]): Promise<Map<number, Sample>> {
  return found(indexes, new Map(indexes.map((index) => [ownLane(index), [index]])), (lane) => ledger.samples(id, lane));
}

export function metasOf(ledger: Ledger, id: string, indexes: readonly number[]): Promise<Map<number, MetaResult>> {
  return found(indexes, new Map(indexes.map((index) => [ownLane(index), [index]])), (lane) => ledger.metas(id, lane));
}

/** What is stored of a plan. */
export function storedOf(
  ledger: Ledger,
  record: RequestRecord,
  indexes: readonly number[],
): Promise<Map<number, Sample>> {
  return found(indexes, lanesOf(record, indexes), (lane) => ledger.samples(record.requestId, lane));
}

async function found<T>(
  indexes: readonly number[],
  lanes: ReadonlyMap<string, readonly number[]>,
  read: (lane: string) => Promise<LaneLog<T>>,
): Promise<Map<number, T>> {
  const all = new Map<number, T>();
  for (const lane of lanes.keys()) for (const [index, result] of (await read(lane)).entries) all.set(index, result);
  return new Map(indexes.flatMap((index) => (all.has(index) ? [[index, all.get(index)!] as const] : [])));
}

/** The results in an append as a history knows them, by index; none for bytes that are no append. */
export function resultsIn(
  stream: 'res' | 'mres',
  bytes: Uint8Array,
): { readonly index: number; readonly bytes: Uint8Array }[] {
  return decodeAppend(bytes).map((each) =>
    stream === 'res'
      ? { index: decodeSample(each).index, bytes: encodeSample(decodeSample(each)) }
      : { index: decodeMetaResult(each).index, bytes: encodeMetaResult(decodeMetaResult(each)) },
  );
}
