// Takeover: finishes what a dead coordinator had accepted. No leader: every survivor sees the same members and the same unfinished
// records, and the one with the highest hash of (request, member) takes it (rendezvous hashing, Thaler and Ravishankar 1998). Should
// two disagree on the members for a moment, both run it: samples, meta rewards and verdicts are write-once, so the work is shared.
//
//   T1. Nothing is taken over while membership is unknown.
//   T2. One look at a time; a look that is asked for during another follows it.
//   T3. One request that cannot be taken up keeps none of the others.
//   T4. A look takes up at most limits.takenUpPerLookMax; the next one follows soon.

import { createHash } from 'node:crypto';
import { limits } from '../limits.js';
import type { RequestRecord } from '../work/shard.js';
import type { CoordinatorContext } from './context.js';

/** T4: time for those that were taken up to be finished. */
const moreAfterMs = 5_000;

export interface Takeovers {
  /** Look now (membership changed). */
  look(): void;
  close(): void;
}

export interface TakeoverHooks {
  readonly running: (requestId: string) => boolean;
  resume(record: RequestRecord): void;
}

export function takeover(context: CoordinatorContext, hooks: TakeoverHooks): Takeovers {
  const { ledger, members, clock, events, settings } = context;
  let looking = false;
  let again = false;
  let closed = false;
  let cancelTimer: () => void = () => undefined;

  const isOurs = (record: RequestRecord): boolean => {
    if (hooks.running(record.requestId)) return false;
    if (record.owner === settings.nodeId) return true;
    if (members.alive(record.owner) !== false) return false;
    return chosen(record.requestId, members.coordinators()) === settings.nodeId;
  };

  /** Not even read: it runs here, or at whoever accepted it. */
  const isElsewhere = (requestId: string, owner: string | undefined): boolean =>
    hooks.running(requestId) || (owner !== undefined && owner !== settings.nodeId && members.alive(owner) !== false);

  /** T3. */
  const takeUp = (record: RequestRecord): boolean => {
    try {
      if (!isOurs(record)) return false;
      hooks.resume(record);
      return true;
    } catch (error) {
      events.emit('trouble', { where: 'takeover', error, requestId: record.requestId });
      return false;
    }
  };

  const look = async (): Promise<void> => {
    if (closed) return;
    if (looking) {
      again = true;
      return;
    }
    looking = true;
    cancelTimer();
    let takenUp = 0;
    try {
      for await (const record of ledger.unfinished(isElsewhere)) {
        if (isClosed() || takenUp === limits.takenUpPerLookMax) break;
        if (takeUp(record)) takenUp++;
      }
    } catch (error) {
      events.emit('trouble', { where: 'takeover', error });
    } finally {
      looking = false;
      if (!isClosed()) {
        const isMore = takenUp === limits.takenUpPerLookMax;
        const nextMs = isMore ? Math.min(moreAfterMs, settings.takeoverEveryMs) : settings.takeoverEveryMs;
        if (again) clock.after(0, () => void look());
        else cancelTimer = clock.after(nextMs, () => void look());
        again = false;
      }
    }
  };
  const isClosed = (): boolean => closed;

  cancelTimer = clock.after(settings.takeoverEveryMs, () => void look());
  return {
    look: () => void look(),
    close: () => {
      closed = true;
      cancelTimer();
    },
  };
}

/** The member with the highest hash for this request; undefined without members. */
export function chosen(requestId: string, memberIds: readonly string[]): string | undefined {
  let best: { id: string; hash: string } | undefined;
  for (const id of memberIds) {
    const hash = createHash('sha256').update(`${requestId}\0${id}`).digest('hex');
    if (!best || hash > best.hash) best = { id, hash };
  }
  return best?.id;
}
