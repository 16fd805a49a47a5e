// Foreign: samples that another content left under a request's id (a cancelled request's key, used again). Workers find them and may not
// remove them, since whoever may remove one sample may remove any; the coordinator that runs the request does.
//
//   F1. What is removed is read off the ledger, and not of the record's plan. So no notice, whoever sends it, removes a good sample.
//   F2. One look per request at a time, however many notices come.

import type { Events } from '../observe/events.js';
import type { Ledger } from '../queue/queue.js';
import { isOfPlan } from '../work/plan.js';

/** Never rejects. */
export function openForeign(ledger: Ledger, events: Events, runs: (requestId: string) => boolean) {
  const looking = new Set<string>();
  return {
    /** A worker found such samples under this id. */
    async found(requestId: string): Promise<void> {
      if (!runs(requestId) || looking.has(requestId)) return;
      looking.add(requestId);
      try {
        const record = await ledger.record(requestId);
        if (!record) return;
        const samples = await ledger.samples(
          requestId,
          Array.from({ length: record.plan.k }, (_, index) => index),
        );
        const foreign = [...samples.values()].flatMap((each) => (isOfPlan(each, record) ? [] : [each.index]));
        if (foreign.length > 0) await ledger.discard(requestId, foreign);
      } catch (error) {
        events.emit('trouble', { where: 'foreign samples', error, requestId });
      } finally {
        looking.delete(requestId);
      }
    },
  };
}
