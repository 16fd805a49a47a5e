// Window: how many samples one coordinator lets into the work queue. Enough that no slot waits for it, and no more: what waits behind it
// is ordered by class and tenant, what is in the queue is not.

import { limits } from '../limits.js';
import type { Members } from './context.js';

export interface WindowSettings {
  /** Samples in the work queue at once; 'auto': by the fleet. */
  readonly dispatchSamplesMax: number | 'auto';
  readonly samplesInFlightMax: number;
}

/** Of its share of the slots, so that a slot that becomes free finds work though its notice is on its way. */
const ahead = 1.25;

/**
 * The window now, samples. By itself it is this coordinator's share of the pool's slots and a quarter more, at least
 * limits.dispatchSamplesMin and at most what admission lets in.
 */
export function windowOf(
  { dispatchSamplesMax, samplesInFlightMax }: WindowSettings,
  members: Pick<Members, 'fleet' | 'coordinators'>,
): number {
  if (dispatchSamplesMax !== 'auto') return dispatchSamplesMax;
  const share = (ahead * members.fleet().slots) / Math.max(1, members.coordinators().length);
  return Math.min(samplesInFlightMax, Math.max(limits.dispatchSamplesMin, Math.ceil(share)));
}
