// Waves: how far ahead of its rule a request with adaptive k asks for samples. With free slots it asks for more than the rule looks at next,
// which saves time; without, for no more, which saves samples. The verdict is the same (work/gather.ts, G5).

import type { CoordinatorContext } from './context.js';

/**
 * Samples that one request may ask for ahead: its share of the slots that are free, among the requests that run. 0 while anything waits.
 * What was sent a moment ago is in no lease yet, so this coordinator's own account of it counts where it is more.
 */
export function roomAhead({
  settings,
  members,
  dispatcher,
  admission,
}: Pick<CoordinatorContext, 'settings' | 'members' | 'dispatcher' | 'admission'>): number {
  if (settings.waves === 'small' || dispatcher.waiting > 0) return 0;
  const { slots, busyRatio } = members.fleet();
  const free = slots - Math.max(Math.round(slots * busyRatio), dispatcher.out);
  const sharers = Math.max(1, admission.load.requests) * Math.max(1, members.coordinators().length);
  return Math.max(0, Math.floor(free / sharers));
}
