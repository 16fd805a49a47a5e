// Bottleneck: which part is full first as the cluster grows. Utilisation at one size is carried on in a straight line: what a sample costs stays
// what it is, except for leases, which every coordinator reads of every node, so that their cost grows with both.

import { limits } from '../../src/limits.js';
import type { Result } from './simulate.js';

export interface Bottleneck {
  readonly name: string;
  /** Of the busiest one of its kind, at the size that was simulated. */
  readonly utilisation: number;
  /** Workers at which it is full, all else as it was simulated (partitions and coordinators too). */
  readonly fullAtWorkers: number;
}

/** The fullest first. Engines are left out: to be full is what they are for. */
export function bottlenecks({ scenario, utilisation, deliveriesOutRatio }: Result): readonly Bottleneck[] {
  const rows = Object.entries({ ...utilisation, 'deliveries out': deliveriesOutRatio })
    .filter(([name, used]) => name !== 'engines' && name !== 'meta engines' && used > 0)
    .map(([name, used]) => ({ name, utilisation: used, fullAtWorkers: Math.floor(scenario.workers / used) }));
  return rows.sort((a, b) => b.utilisation - a.utilisation);
}

/** Seconds until a stream's share of `storageBytes` is full at the simulated rate, if nothing left it. */
export function fullAfterS(result: Result, stream: 'GRM_REQ' | 'GRM_RES' | 'GRM_FIN', storageBytes: number): number {
  const share = { GRM_REQ: 0.2, GRM_RES: 0.25, GRM_FIN: 0.25 }[stream];
  const perSecond = (result.storedBytes[stream] * result.samplesPerSecond) / result.scenario.partitions;
  return (storageBytes * share) / perSecond;
}

export const storageBytesDefault = limits.storageBytesDefault;
