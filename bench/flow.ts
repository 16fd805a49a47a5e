// Requests through a cluster: a steady flow, and what came of it.

import { setTimeout as sleep } from 'node:timers/promises';
import type { GrmClient, ScoreRequest } from '../src/rpc/client.js';
import { requestOf } from './payload.js';

export interface Flow {
  readonly samples: number;
  readonly requests: number;
  readonly perSecond: number;
  readonly promptTokens: number;
  readonly cachedTokens: number;
  readonly completionTokens: number;
}

/** At most so many requests are open on one stream (limits.streamOpenMax). */
const perStreamMax = 256;

export interface FlowEnd {
  /** No more requests; those that are open are waited for. */
  readonly stop?: AbortSignal;
  /** Drops those that are open: the flow rejects. */
  readonly cancel?: AbortSignal;
  /** So many of the first requests come evenly spread over so long, the others as they may; absent: none waits. */
  readonly ramp?: { readonly requests: number; readonly ms: number };
}

/** Keeps `inFlight` requests open until `seconds` are over; throws on the first fault. */
export async function flow(
  client: GrmClient,
  inFlight: number,
  seconds: number,
  options: Omit<Partial<ScoreRequest>, 'query'>,
  end: FlowEnd = {},
): Promise<Flow> {
  const startedAt = performance.now();
  const endsAt = startedAt + seconds * 1_000;
  const sum = { samples: 0, requests: 0, promptTokens: 0, cachedTokens: 0, completionTokens: 0 };
  let begun = 0;
  const dueInMs = ({ requests, ms }: NonNullable<FlowEnd['ramp']>): number => {
    const at = begun++;
    return at < requests ? startedAt + (at * ms) / requests - performance.now() : 0;
  };
  const manyOptions = (concurrency: number) => ({ concurrency, ...(end.cancel && { signal: end.cancel }) });
  const stream = async (concurrency: number): Promise<void> => {
    const requests = function* (): Generator<ScoreRequest> {
      while (performance.now() < endsAt && end.stop?.aborted !== true) yield requestOf(options);
    };
    const source = end.ramp ? spread(requests(), () => dueInMs(end.ramp!)) : requests();
    for await (const result of client.scoreMany(source, manyOptions(concurrency))) {
      if (result.kind === 'fault') throw new Error(`a request of the bench failed: ${result.fault.message}`);
      const { kValid, usage } = result.verdict;
      sum.samples += kValid;
      sum.requests += 1;
      sum.promptTokens += usage.promptTokens;
      sum.cachedTokens += usage.cachedTokens;
      sum.completionTokens += usage.completionTokens;
    }
  };
  const streams = Math.max(Math.ceil(inFlight / perStreamMax), inFlight > 1 ? 2 : 1);
  await Promise.all(Array.from({ length: streams }, () => stream(Math.ceil(inFlight / streams))));
  return { ...sum, perSecond: sum.samples / ((performance.now() - startedAt) / 1_000) };
}

/** Each item so many milliseconds late; not late where that is 0 or less. */
async function* spread<T>(items: Iterable<T>, dueInMs: () => number): AsyncGenerator<T, void, undefined> {
  for (const item of items) {
    const waitMs = dueInMs();
    if (waitMs > 0) await sleep(waitMs);
    yield item;
  }
}
