// Ground: what a chaos run's processes stand on, as far as the machine allows it: for each nats-server a disk of its own that can be full,
// and for each process a network namespace of its own whose cable can be pulled.
//
//   GR1. What is not allowed is barred by name and with the reason, and the run goes without those faults; it is never just left out.

import { join } from 'node:path';
import { openNetwork, refusalToIsolate, sweepNetworks, type Namespace } from '../support/namespace.js';
import { mountSmallDisk, refusalToMount, sweepSmallDisks, type SmallDisk } from '../support/small-disk.js';
import { faultKinds, isPartition, type FaultKind } from './schedule.js';

export interface Ground extends AsyncDisposable {
  /** Faults that this machine does not allow, and why. */
  readonly barred: ReadonlyMap<FaultKind, string>;
  /** Under which all that runs outside of namespaces is found: proxies, engine, callers. */
  readonly host: string;
  /** A namespace for one process; undefined where that is not allowed. */
  namespace(): Promise<Namespace | undefined>;
  /** A disk for one nats-server; undefined where that is not allowed. */
  disk(): Promise<SmallDisk | undefined>;
}

/** What is written to it stays in memory; more than an hour of faults stores. */
const diskBytes = 1024 * 1024 * 1024;

export async function openGround(): Promise<Ground> {
  sweepNetworks();
  sweepSmallDisks();
  const noDisk = await refusalToMount();
  const noNetwork = await refusalToIsolate();
  const barred = new Map<FaultKind, string>();
  for (const kind of faultKinds) {
    const why = kind === 'disk full' ? noDisk : isPartition(kind) ? noNetwork : undefined;
    if (why !== undefined) barred.set(kind, why);
  }
  const network = noNetwork === undefined ? await openNetwork() : undefined;
  const disks: SmallDisk[] = [];
  return {
    barred,
    host: network?.hostAddress ?? '127.0.0.1',
    namespace: async () => network?.openNamespace(),
    async disk() {
      if (noDisk !== undefined) return undefined;
      const disk = await mountSmallDisk(diskBytes);
      disks.push(disk);
      return disk;
    },
    async [Symbol.asyncDispose]() {
      // One that cannot be given back keeps none of the others.
      const failures: unknown[] = [];
      for (const each of [...disks.splice(0), network]) {
        try {
          await each?.[Symbol.asyncDispose]();
        } catch (error) {
          failures.push(error);
        }
      }
      if (failures.length > 0) throw failures[0];
    },
  };
}

/** For a nats-server on a disk that is smaller than what the streams reserve: by itself it takes no more than what is free when it starts. */
export function storeOn(disk: SmallDisk): { readonly storeDir: string; readonly jetstream: string } {
  return { storeDir: join(disk.folder, 'store'), jetstream: 'max_file_store: 8GB' };
}
