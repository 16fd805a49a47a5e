// Cut: a vote over what is there before all of it is.

import { whoJudged, type Judge } from '../grm/judge.js';
import type { Sample } from '../grm/sample.js';
import { stopCase } from '../grm/stop.js';
import type { Missing, Stopping, Verdict } from '../grm/verdict.js';
import { vote } from '../grm/vote.js';
import { gather, startGather, type Gather } from '../work/gather.js';
import { lanesOf } from '../work/lane.js';
import type { MetaResult, RequestRecord } from '../work/shard.js';
import type { CoordinatorContext } from './context.js';
import { judgeOf } from './judge.js';
import type { Cut } from './run.js';

/** What a vote needs besides the record and its samples. */
export interface VoteTimes {
  /** A stream had no room at some time since: that may be why samples are missing. */
  readonly storageFull?: boolean;
  /** From acceptance until now. */
  readonly durationMs: number;
  readonly finishedAtMs: number;
}

/** A vote for one caller alone, whose time has ended before the request was done: its own quorum counts, and the verdict says TIME_BUDGET. */
export interface ForOne {
  readonly quorum: number;
}

/** Whether samples are missing because time ran out. */
export function isCut(collected: Gather): boolean {
  return collected.samples.size < collected.k && stoppedBy(collected) === undefined;
}

/** The verdict over what was collected. */
export function verdictOf(
  record: RequestRecord,
  collected: Gather,
  missing: Missing | undefined,
  { durationMs, finishedAtMs, storageFull = false }: VoteTimes,
  early?: ForOne,
): Verdict {
  const { samples, metas } = collected;
  // By index, so that nothing depends on the order of arrival (promise P3).
  const ranked = [...metas.values()].filter((result) => result.kind === 'ranked').sort((a, b) => a.index - b.index);
  const stopping = stoppingOf(record, collected);
  const cut = isCut(collected);
  const { changed, judge } = judgedBy(record, [...samples.values()], ranked);
  return vote({
    requestId: record.requestId,
    plan: { ...record.plan, quorum: Math.min(record.plan.k, early?.quorum ?? record.plan.quorum) },
    n: record.content.responses.length,
    samples: [...samples.values()],
    metaRewards: new Map(ranked.map(({ index, metaReward }) => [index, metaReward])),
    metaModel: ranked[0]?.model ?? '',
    expired: cut || early !== undefined,
    durationMs,
    finishedAtMs,
    nonce: record.nonce,
    judge,
    judgeChanged: changed,
    ...(stopping && { stopping }),
    ...(cut && missing && { missing }),
    storageFull,
  });
}

/** The judge under which the request was accepted, unless something else judged. */
function judgedBy(
  { judge: accepted, plan: { templateHash } }: RequestRecord,
  samples: readonly Sample[],
  ranked: readonly MetaResult[],
): { readonly judge: Judge; readonly changed: boolean } {
  const { changed, ...judged } = whoJudged(accepted, samples, ranked);
  return {
    changed,
    judge: judgeOf({ template: accepted?.template ?? templateHash.slice(0, 8), templateHash, ...judged }),
  };
}

/** What the ledger holds of a request that runs elsewhere; undefined when nothing is missing: then its verdict is on the way. */
export async function cutInLedger(
  record: RequestRecord,
  { ledger }: Pick<CoordinatorContext, 'ledger'>,
): Promise<Cut | undefined> {
  const { requestId, plan, content } = record;
  const all = Array.from({ length: plan.k }, (_, index) => index);
  const lanes = [...lanesOf(record, all).keys()];
  const [metas, samples] = await Promise.all([
    plan.meta ? Promise.all(lanes.map((lane) => ledger.metas(requestId, lane))) : [],
    Promise.all(lanes.map((lane) => ledger.samples(requestId, lane))),
  ]);
  let state = startGather(plan.k, plan.meta, stopCase(requestId, plan, content.responses.length));
  state = gather(state, { kind: 'asked', reach: plan.k });
  state = gather(state, { kind: 'metas', results: metas.flatMap(({ entries }) => [...entries.values()]) });
  const found = samples.flatMap(({ entries }) => [...entries.values()]).sort((a, b) => a.index - b.index);
  for (const sample of found) state = gather(state, { kind: 'samples', samples: [sample] });
  if (state.kind !== 'gathering') return undefined;
  // How far the others have come is the other coordinator's to know.
  const missing = { notAsked: 0, waiting: 0, unfinished: plan.k - state.samples.size };
  return { gather: gather(state, { kind: 'expired' }), missing };
}

function stoppedBy(collected: Gather): Stopping['stopped'] {
  return collected.kind === 'decided' && collected.why !== 'complete' ? collected.why : undefined;
}

function stoppingOf({ plan: { stop } }: RequestRecord, state: Gather): Stopping | undefined {
  if (stop === undefined) return undefined;
  const stopped = stoppedBy(state);
  const samplesSaved = stopped === undefined ? 0 : state.k - state.upTo;
  const kDrawn = state.kind === 'decided' ? state.upTo : state.reach;
  return { stop, kDrawn, ...(stopped !== undefined && { stopped }), samplesSaved };
}
