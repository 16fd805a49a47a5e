// Queue options: how to reach NATS, what to keep there and whose work it is, from the configuration. Every process that opens the queue
// takes them from here: options that differ would be seen as drift.

import type { Config } from './schema.js';

/** Where a coordinator or a worker looks for NATS when nats.servers is empty. */
export const natsServersDefault: readonly string[] = ['nats://127.0.0.1:4222'];

/** What a worker looks at and pulls from: its own pool. */
export function workerQueueOptionsOf(config: Config, role: 'grm-worker' | 'meta-worker') {
  const { worker, meta } = config;
  const pools = role === 'grm-worker' ? { grm: [worker.pool], meta: [] } : { grm: [], meta: [meta.pool] };
  return { ...queueOptionsOf(config), pools, own: false, looksAt: 'consumers' } as const;
}

/** @param servers addresses to use when they are not those of the configuration */
export function queueOptionsOf({ nats, coordinator }: Config, servers?: readonly string[]) {
  return {
    servers: servers ?? (nats.servers.length > 0 ? nats.servers : natsServersDefault),
    ...(nats.token && { token: nats.token.reveal() }),
    ...(nats.user !== undefined && { user: nats.user }),
    ...(nats.password && { password: nats.password.reveal() }),
    ...(nats.credsFile !== undefined && { credsFile: nats.credsFile }),
    ...(nats.tls && { tls: nats.tls }),
    pools: { grm: [coordinator.pool], meta: [coordinator.metaPool] },
    storage: nats.storage,
    replicas: nats.replicas,
    storageBytesMax: nats.storageBytesMax,
    retention: { ledgerMs: nats.retentionMs },
    ackWaitMs: nats.ackWaitMs,
    publishForMs: nats.publishForMs,
  };
}
