// Allowance: what the promises let a caller be told in one scenario, and how far its verdicts may fall short of an undisturbed run's.

import type { FaultKind } from '../../src/fault.js';
import type { Degraded } from '../../src/grm/verdict.js';
import type { RequestPlan, Scenario } from './scenario.js';

export interface Allowance {
  /** Faults that some call for this request may end with. */
  readonly faults: ReadonlySet<FaultKind>;
  /** Why its verdict may say less than an undisturbed one. */
  readonly degraded: ReadonlySet<Degraded>;
  /** Its record may be removed without a verdict. */
  readonly mayBeForgotten: boolean;
  /** A caller's time budget may end before the run's: it may be told what is there then, and the run goes on (inflight.ts, I5). */
  readonly early?: boolean;
}

export function allowanceOf(scenario: Scenario, plan: RequestPlan): Allowance {
  const { network, engine, faults: happens } = scenario;
  const is = (...kinds: string[]): boolean => happens.some(({ kind }) => kinds.includes(kind));
  const away = network.refused > 0 || network.unanswered > 0 || is('server away');
  const hasty = plan.callers.some(({ manner }) => manner === 'hasty');
  // A call that breaks, or is given up, leaves its run without a caller: it lingers a while and is then cancelled, which nobody is told.
  const leaves = plan.callers.some(({ manner }) => manner !== 'steady') || network.replyLost > 0;
  const cancelled = plan.cancelAtMs !== undefined;
  const crowded = scenario.requestsMax < 1_000 || scenario.workMessagesMax < 1_000_000;
  const hangs = engine.hangs > 0;
  const ownTime = plan.callers.some(({ own }) => own !== undefined);
  // Without a sample that hangs no other time budget ends.
  const early = ownTime || (hangs && (plan.callers.length > 1 || scenario.coordinators > 1));

  const faults = new Set<FaultKind>();
  if (away) faults.add('queue_unavailable');
  if (hasty || hangs || ownTime) faults.add('deadline_exceeded');
  if (cancelled) faults.add('cancelled');
  if (crowded) faults.add('overloaded');
  if (is('drain')) faults.add('draining');

  const degraded = new Set<Degraded>();
  // A deadline ends the run when nobody is more patient: it then answers with what there is.
  if (hangs || hasty || ownTime) degraded.add('time_budget');
  if (is('kill', 'stall', 'drain', 'server away', 'membership unknown') && plan.meta) {
    degraded.add('meta_unavailable');
    degraded.add('meta_partial');
  }
  if ((hangs || hasty || ownTime || away || crowded) && plan.meta) {
    degraded.add('meta_unavailable');
    degraded.add('meta_partial');
  }
  return { faults, degraded, mayBeForgotten: leaves || cancelled || crowded || away || hangs || ownTime, early };
}
