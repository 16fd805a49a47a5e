// Lease: what a node writes about itself at each heartbeat, and how others read it.
//
//   E1. A lease always fits a control message: its lists are cut at their limits, and it says so.

import { limits } from '../limits.js';
import type { Node } from '../wire/gen/grm/v1/cluster.js';
import { Lease } from '../wire/gen/grm/work/v1/work.js';
import { decoded } from './control.js';

/** What a node works on now. */
export interface Busy {
  /** Requests that it has in its hands. */
  readonly requests: Iterable<string>;
  /** When its oldest open request was accepted, milliseconds since the Unix epoch; absent when it has none. */
  readonly oldestOpenAtMs?: number;
}

/** A node as its lease tells. */
export interface NodeInfo {
  /** `heartbeatAgeMs` holds the lease's age. */
  readonly node: Node;
  readonly busyRequests: readonly string[];
  /** It works on more than `busyRequests`. */
  readonly busyCut: boolean;
  readonly oldestOpenAtMs?: number;
}

export function encodeLease(node: Node, busy: Busy): Uint8Array {
  const busyRequests: string[] = [];
  let busyCut = false;
  for (const requestId of busy.requests) {
    busyCut = busyRequests.length === limits.busyRequestsMax;
    if (busyCut) break;
    busyRequests.push(requestId);
  }
  return Lease.encode({ node, busyRequests, busyCut, oldestOpenAtMs: busy.oldestOpenAtMs ?? 0 }).finish();
}

/** undefined when the bytes are no lease. `ageMs` is the time since its last renewal. */
export function decodeLease(body: Uint8Array, ageMs: number): NodeInfo | undefined {
  const lease = decoded(body, Lease);
  if (lease?.node === undefined) return undefined;
  // The age is the difference of two clocks' readings: a small negative one is no age.
  const heartbeatAgeMs = Math.min(Math.max(0, Math.round(ageMs)), 2 ** 32 - 1);
  return {
    node: { ...lease.node, heartbeatAgeMs },
    busyRequests: lease.busyRequests,
    busyCut: lease.busyCut,
    ...(lease.oldestOpenAtMs > 0 ? { oldestOpenAtMs: lease.oldestOpenAtMs } : {}),
  };
}
