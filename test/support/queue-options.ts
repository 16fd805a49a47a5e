// Settings of a queue for tests: small, quick, one pool of each stage.

import type { QueueOptions } from '../../src/queue/jetstream.js';
import type { NatsServer } from './nats.js';

const MiB = 1024 * 1024;

export function queueOptions(nats: NatsServer, more: Partial<QueueOptions> = {}): QueueOptions {
  return {
    servers: [nats.url],
    name: 'test',
    pools: { grm: ['grm'], meta: ['meta'] },
    storage: 'file',
    replicas: 1,
    storageBytesMax: 512 * MiB,
    own: true,
    ackWaitMs: 1_000,
    pullTimes: { expiresMs: 300, claimMs: 100, heldMs: 200 },
    settleMs: 0,
    connectMs: 5_000,
    topologyWaitMs: 5_000,
    ...more,
  };
}
