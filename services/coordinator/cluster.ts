// ClusterService's other half: asks the nodes over NATS, reads leases and queues.

import { ask, askEach } from '../../src/actor/handle.js';
import type { Message } from '../../src/actor/control.js';
import type { Registry } from '../../src/actor/registry.js';
import { fault } from '../../src/fault.js';
import { limits } from '../../src/limits.js';
import type { CoordinatorLoad } from '../../src/coordinator/coordinator.js';
import type { ClusterControl } from '../../src/rpc/cluster.js';
import type { PoolJudge } from '../../src/wire/gen/grm/v1/cluster.js';
import type { Host } from '../host.js';

export function clusterControl(
  host: Host,
  registry: Registry,
  coordinator: { load(): CoordinatorLoad },
  judges: () => PoolJudge[],
): ClusterControl {
  const { queue } = host;
  const workers = (): string[] =>
    registry.nodes().flatMap(({ node }) => (node.role === 'coordinator' ? [] : [node.id]));
  const order = async (nodes: readonly string[], message: Message): Promise<readonly string[]> => {
    const asked = nodes.length > 0 ? nodes : workers();
    const replies = await askEach(queue.control, asked, message);
    return replies.flatMap(({ nodeId, reply }) => (reply.kind === 'done' ? [nodeId] : []));
  };
  return {
    async status() {
      const unread: string[] = [];
      const [, depths, dead] = await Promise.all([
        inTime('nodes', registry.refresh(), undefined, unread),
        inTime('queues', queue.work.depths(), [], unread),
        inTime('dead', queue.dead.count(), 0, unread),
      ]);
      return {
        nodes: registry.nodes().map(({ node }) => node),
        queues: depths.map(({ stream, pool, class: klass, pending, inFlight, redelivered }) => ({
          stream,
          name: `${pool}/${klass}`,
          pending,
          inFlight,
          redelivered,
        })),
        dead,
        requestsInFlight: coordinator.load().requestsInFlight,
        natsVersion: queue.serverVersion,
        drift: [...queue.drift],
        nowMs: host.clock.now(),
        streams: queue.storage.states().map(({ stream, bytes, bytesMax, messages, trouble = '' }) => ({
          name: stream,
          bytes: Math.round(bytes),
          bytesMax,
          messages,
          trouble,
        })),
        unread,
        judges: judges(),
      };
    },
    drain: (nodes) => order(nodes, { kind: 'drain' }),
    resume: (nodes) => order(nodes, { kind: 'resume' }),
    async setSlots(node, slots) {
      const reply = await ask(queue.control, node, { kind: 'set_slots', slots });
      switch (reply.kind) {
        case 'slots':
          return { kind: 'ok', value: reply.slots };
        case 'refused':
          return { kind: 'fault', fault: fault('failed_precondition', reply.reason) };
        default: {
          await registry.refresh();
          const there = workers().includes(node);
          const words = there
            ? `node ${node} does not answer`
            : `no worker is called ${node}; there are ${workers().join(', ') || 'none'}`;
          return { kind: 'fault', fault: fault(there ? 'deadline_exceeded' : 'not_found', words) };
        }
      }
    },
    listDead: (limit, before) => queue.dead.page(limit, before),
  };
}

/** A part of the answer that does not come in time is left out: whoever asks wants to know what is wrong, and has a deadline. */
async function inTime<T>(what: string, part: Promise<T>, otherwise: T, unread: string[]): Promise<T> {
  let timer: NodeJS.Timeout | undefined;
  const late = new Promise<never>((_, reject) => {
    timer = setTimeout(() => reject(new Error(`no answer within ${limits.statusPartMs} ms`)), limits.statusPartMs);
  });
  try {
    return await Promise.race([part, late]);
  } catch (error) {
    unread.push(`${what}: ${error instanceof Error ? error.message : String(error)}`);
    return otherwise;
  } finally {
    clearTimeout(timer);
    part.catch(() => undefined);
  }
}
