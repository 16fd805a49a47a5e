// Waves: how far ahead of its rule a request with adaptive k asks for samples. With free slots it asks for more than the rule looks at next,
// which saves time; without, for no more, which saves samples. The verdict is the same (work/gather.ts, G5).

import type { CoordinatorContext } from './context.js';

/**
 * Slots of the fleet that are free, 0 while anything waits. What was sent a moment ago is in no lease yet, so this coordinator's own account of
 * it counts where it is more.
 */
export function freeSlots({ members, dispatcher }: Pick<CoordinatorContext, 'members' | 'dispatcher'>): number {
  if (dispatcher.waiting > 0) return 0;
  const { slots, busyRatio } = members.fleet();
  return Math.max(0, slots - Math.max(Math.round(slots * busyRatio), dispatcher.out));
}

/** Samples that one request may ask for ahead: its share of the slots that are free, among the requests that run. */
export function roomAhead(
  context: Pick<CoordinatorContext, 'settings' | 'members' | 'dispatcher' | 'admission'>,
): number {
  const { settings, members, admission } = context;
  if (settings.waves === 'small') return 0;
  const sharers = Math.max(1, admission.load.requests) * Math.max(1, members.coordinators().length);
  return Math.floor(freeSlots(context) / sharers);
}
