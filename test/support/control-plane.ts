// A control plane inside this process, with the clock of the test: leases that run out, nodes that answer, broadcasts, and a switch for
// "NATS is away". It keeps the promises of ControlPlane (queue/queue.ts); the integration tests use the real one.

import { FaultError, fault } from '../../src/fault.js';
import { limits } from '../../src/limits.js';
import type { Clock } from '../../src/process/clock.js';
import type { ControlPlane } from '../../src/queue/queue.js';

export interface LocalControlPlane extends ControlPlane {
  /** While away every call fails as it does when NATS does not answer, and leases run out. */
  away(away: boolean): void;
  /** A server that came back without its leases. */
  forgetLeases(): void;
  /** Renewals that arrived, by name. */
  renewals(name: string): number;
}

export function localControlPlane(clock: Clock, leaseMs: number = limits.leaseMs): LocalControlPlane {
  const leases = new Map<string, { readonly body: Uint8Array; readonly atMs: number }>();
  const kept = new Map<string, Uint8Array>();
  const served = new Map<string, (body: Uint8Array) => Promise<Uint8Array | undefined>>();
  const listeners = new Map<string, Set<(body: Uint8Array) => void>>();
  const renewed = new Map<string, number>();
  let away = false;

  async function reachable(): Promise<void> {
    await Promise.resolve();
    if (away) throw new FaultError(fault('queue_unavailable', 'NATS does not answer'));
  }

  return {
    away: (now) => void (away = now),
    forgetLeases: () => leases.clear(),
    renewals: (name) => renewed.get(name) ?? 0,

    async renewLease(name, body) {
      await reachable();
      renewed.set(name, (renewed.get(name) ?? 0) + 1);
      leases.set(name, { body: body.slice(), atMs: clock.now() });
    },
    async dropLease(name) {
      await reachable();
      leases.delete(name);
    },
    async leases() {
      await reachable();
      const now = clock.now();
      for (const [name, { atMs }] of leases) if (now - atMs >= leaseMs) leases.delete(name);
      return [...leases].map(([name, { body, atMs }]) => ({ name, body, ageMs: now - atMs }));
    },
    async keep(name, body) {
      await reachable();
      kept.set(name, body.slice());
    },
    async kept(name) {
      await reachable();
      return kept.get(name)?.slice();
    },
    async serve(name, answer) {
      await reachable();
      served.set(name, answer);
      return () => void served.delete(name);
    },
    async ask(name, body) {
      await reachable();
      return served.get(name)?.(body.slice());
    },
    broadcast(topic, body) {
      if (!away) for (const hear of listeners.get(topic) ?? []) hear(body.slice());
    },
    async listen(topic, hear) {
      await reachable();
      const set = listeners.get(topic) ?? new Set();
      listeners.set(topic, set.add(hear));
      return () => void set.delete(hear);
    },
  };
}
