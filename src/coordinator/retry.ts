// Retry: takes quarantined shards back. The failures that stand for them in the ledger are removed, and the request runs again from
// the samples that are good. A request that still runs is refused: it has counted the failure already, and its verdict would stand for both.
//
//   Y1. Units that are named are looked up by their names, however many others are quarantined; without names all are taken, page by page.
//   Y2. One request that cannot be taken up is refused with the reason and keeps none of the others.

import { limits } from '../limits.js';
import type { DeadLetters, Ledger } from '../queue/queue.js';
import { lanesOf } from '../work/lane.js';
import type { DeadLetter, RequestRecord, Stage } from '../work/shard.js';

/** What of a letter a retry needs: with all of them in hand their reasons would be much. */
type Unit = Pick<DeadLetter, 'requestId' | 'stage' | 'unit' | 'samples'>;

export interface Retried {
  readonly requestIds: readonly string[];
  /** Quarantined shards that were taken back. */
  readonly shards: number;
  /** By id, with the reason; of many the first limits.deadListMax. */
  readonly refused: ReadonlyMap<string, string>;
  readonly refusedCount: number;
}

export function deadId({ requestId, stage, unit }: Pick<Unit, 'requestId' | 'stage' | 'unit'>): string {
  return `${requestId}.${stage}.${unit}`;
}

/** @param ids "<request>.<stage>.<unit>"; empty = all */
export async function retryDead(
  ids: readonly string[],
  dead: DeadLetters,
  ledger: Ledger,
  resume: (record: RequestRecord) => void,
): Promise<Retried> {
  const refused = new Map<string, string>();
  let refusedCount = 0;
  const refuse = (id: string, why: string): void => {
    refusedCount++;
    if (refused.size < limits.deadListMax) refused.set(id, why);
  };

  const byRequest = new Map<string, Unit[]>();
  const take = ({ requestId, stage, unit, samples }: Unit): void => {
    byRequest.set(requestId, [...(byRequest.get(requestId) ?? []), { requestId, stage, unit, samples }]);
  };
  if (ids.length === 0) await takeAll(dead, take);
  for (const id of new Set(ids)) {
    const name = parseDeadId(id);
    const letter = name && (await dead.letter(name.requestId, name.stage, name.unit));
    if (letter) take(letter);
    else refuse(id, 'no such quarantined shard');
  }

  const requestIds: string[] = [];
  let shards = 0;
  for (const [requestId, units] of byRequest) {
    const why = await retryOne(requestId, units, dead, ledger, resume).catch((error: unknown) =>
      error instanceof Error ? error.message : String(error),
    );
    if (why === undefined) {
      requestIds.push(requestId);
      shards += units.length;
    } else for (const unit of units) refuse(deadId(unit), why);
  }
  return { requestIds, shards, refused, refusedCount };
}

/** Why not; undefined when it runs again. */
async function retryOne(
  requestId: string,
  units: readonly Unit[],
  dead: DeadLetters,
  ledger: Ledger,
  resume: (record: RequestRecord) => void,
): Promise<string | undefined> {
  const record = await ledger.record(requestId);
  if (!record) return 'its request is no longer kept';
  if (!(await ledger.verdict(requestId))) return 'its request still runs: try again when it has its verdict';
  const samples = new Set(units.flatMap((unit) => unit.samples));
  await ledger.reopen(requestId, lanesOf(record, samples));
  for (const { stage, unit } of units) await dead.remove(requestId, stage, unit);
  resume(record);
  return undefined;
}

/** All that are there now, at most limits.deadRetryMax: newer ones come before the first page. */
async function takeAll(dead: DeadLetters, take: (unit: Unit) => void): Promise<void> {
  let left: number = limits.deadRetryMax;
  for (let before: number | undefined; left > 0;) {
    const page = await dead.page(Math.min(left, limits.deadListMax), before);
    for (const letter of page.letters) take(letter);
    left -= page.letters.length;
    if (page.next === undefined) return;
    before = page.next;
  }
}

function parseDeadId(id: string): { requestId: string; stage: Stage; unit: number } | undefined {
  const [, requestId, stage, unit] = /^([A-Za-z0-9_-]{1,128})\.(sample|meta)\.(\d{1,9})$/.exec(id) ?? [];
  if (requestId === undefined || (stage !== 'sample' && stage !== 'meta')) return undefined;
  return { requestId, stage, unit: Number(unit) };
}
