// Retry: takes quarantined shards back. The failures that stand for them in the ledger are removed, and the request runs again from
// the samples that are good. A request that still runs is refused: it has counted the failure already, and its verdict would stand for both.

import { limits } from '../limits.js';
import type { DeadLetters, Ledger } from '../queue/queue.js';
import { lanesOf } from '../work/lane.js';
import type { DeadLetter, RequestRecord } from '../work/shard.js';

export function deadId(letter: DeadLetter): string {
  return `${letter.requestId}.${letter.stage}.${letter.unit}`;
}

/** @param ids "<request>.<stage>.<unit>"; empty = all */
export async function retryDead(
  ids: readonly string[],
  dead: DeadLetters,
  ledger: Ledger,
  resume: (record: RequestRecord) => void,
): Promise<{ requestIds: readonly string[]; refused: ReadonlyMap<string, string> }> {
  const refused = new Map<string, string>();
  const letters = await dead.list(limits.deadListMax);
  const wanted = ids.length === 0 ? letters : letters.filter((letter) => ids.includes(deadId(letter)));
  const found = new Set(wanted.map(deadId));
  for (const id of ids) if (!found.has(id)) refused.set(id, 'no such quarantined shard');

  const byRequest = new Map<string, DeadLetter[]>();
  for (const letter of wanted) byRequest.set(letter.requestId, [...(byRequest.get(letter.requestId) ?? []), letter]);

  const requestIds: string[] = [];
  for (const [requestId, group] of byRequest) {
    const record = await ledger.record(requestId);
    const verdict = record && (await ledger.verdict(requestId));
    if (!verdict) {
      const why = record
        ? 'its request still runs: try again when it has its verdict'
        : 'its request is no longer kept';
      for (const letter of group) refused.set(deadId(letter), why);
      continue;
    }
    const samples = new Set(group.flatMap((letter) => letter.samples));
    await ledger.reopen(requestId, lanesOf(record, samples));
    for (const letter of group) await dead.remove(letter.requestId, letter.stage, letter.unit);
    resume(record);
    requestIds.push(requestId);
  }
  return { requestIds, refused };
}
