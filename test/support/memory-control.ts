// The control plane of the queue model: leases that run out, nodes that answer, broadcasts.

import { limits } from '../../src/limits.js';
import type { Clock } from '../../src/process/clock.js';
import type { ControlPlane } from '../../src/queue/queue.js';
import { token } from '../../src/queue/subjects.js';
import type { MemoryStream } from './memory-stream.js';

/** What all clients share. */
export interface ControlHub {
  readonly leases: MemoryStream;
  readonly kept: Map<string, Uint8Array>;
  readonly served: Map<string, Set<Served>>;
  readonly listeners: Map<string, Set<(body: Uint8Array) => void>>;
}

interface Served {
  readonly answer: (body: Uint8Array) => Promise<Uint8Array | undefined>;
  /** Runs `arrive` in the process that answers. */
  readonly reach: (arrive: () => void) => void;
}

/** How one client reaches the hub. */
export interface ControlWire {
  readonly clock: Clock;
  readonly enter: (run: () => void) => void;
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
    async keep(name, body) {
      assertSmall(name, body);
      await wire.call('keep', () => void hub.kept.set(token(name, 'name'), body.slice()));
    },
    kept: (name) => wire.call('kept', () => hub.kept.get(token(name, 'name'))?.slice()),
    serve: (name, answer) =>
      wire.call('serve', () => {
        const all = hub.served.get(token(name, 'node')) ?? new Set();
        const one: Served = { answer, reach: (arrive) => wire.notice('ask', arrive) };
        hub.served.set(name, all.add(one));
        return () => void all.delete(one);
      }),
    async ask(name, body) {
      assertSmall(name, body);
      const all = await wire.call('ask', () => [...(hub.served.get(token(name, 'node')) ?? [])]);
      if (all.length === 0) return undefined;
      return new Promise((resolve) => {
        const end = (reply?: Uint8Array): void => {
          cancel();
          wire.enter(() => resolve(reply));
        };
        const cancel = wire.clock.after(limits.askMs, end);
        const heard = (reply: Uint8Array | undefined): void => {
          if (reply !== undefined) end(reply);
        };
        // As the real one: the reason goes to the log of the node that was asked.
        for (const { answer, reach } of all) reach(() => void answer(body.slice()).then(heard, () => end()));
      });
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
