// The control plane of the queue model: leases that run out, nodes that answer, broadcasts.

import { limits } from '../../src/limits.js';
import type { ControlPlane } from '../../src/queue/queue.js';
import { token } from '../../src/queue/subjects.js';
import type { MemoryStream } from './memory-stream.js';

/** What all clients share. */
export interface ControlHub {
  readonly leases: MemoryStream;
  readonly served: Map<string, (body: Uint8Array) => Promise<Uint8Array>>;
  readonly listeners: Map<string, Set<(body: Uint8Array) => void>>;
}

/** How one client reaches the hub. */
export interface ControlWire {
  call<T>(what: string, act: () => T): Promise<T>;
  /** Runs `arrive` when and as often as the message arrives. */
  notice(what: string, arrive: () => void): void;
}

export function memoryControl(hub: ControlHub, wire: ControlWire): ControlPlane {
  return {
    async renewLease(name, body) {
      assertSmall(name, body);
      await wire.call('renewLease', () => hub.leases.put(token(name, 'node'), body));
    },
    async dropLease(name) {
      await wire.call('dropLease', () => hub.leases.purge(token(name, 'node')));
    },
    leases: () =>
      wire.call('leases', () =>
        hub.leases.subjects().flatMap((name) => {
          const body = hub.leases.get(name);
          return body ? [{ name, body, ageMs: hub.leases.ageMs(name) }] : [];
        }),
      ),
    serve: (name, answer) =>
      wire.call('serve', () => {
        hub.served.set(token(name, 'node'), answer);
        return () => void hub.served.delete(name);
      }),
    async ask(name, body) {
      assertSmall(name, body);
      const answer = await wire.call('ask', () => hub.served.get(token(name, 'node')));
      try {
        return await answer?.(body.slice());
      } catch {
        return undefined; // as the real one: the reason goes to the log of the node that was asked
      }
    },
    broadcast(topic, body) {
      assertSmall(topic, body);
      for (const hear of hub.listeners.get(token(topic, 'topic')) ?? []) {
        wire.notice('broadcast', () => {
          if (hub.listeners.get(topic)?.has(hear) === true) hear(body.slice());
        });
      }
    },
    listen: (topic, hear) =>
      wire.call('listen', () => {
        const set = hub.listeners.get(topic) ?? new Set();
        hub.listeners.set(token(topic, 'topic'), set.add(hear));
        return () => void set.delete(hear);
      }),
  };
}

function assertSmall(name: string, body: Uint8Array): void {
  if (body.length > limits.controlBytesMax) {
    throw new RangeError(`control message of ${name}: ${body.length} bytes, at most ${limits.controlBytesMax}`);
  }
}
