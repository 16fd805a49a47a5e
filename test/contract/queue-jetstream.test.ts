import { setTimeout as sleep } from 'node:timers/promises';
import { openQueue } from '../../src/queue/jetstream.js';
import { startNats } from '../support/nats.js';
import { queueContract } from './queue.js';

queueContract('JetStream on a real nats-server', async () => {
  const nats = await startNats();
  // Short, and long enough that a busy machine does not miss a renewal.
  const ackWaitMs = 1_500;
  const leaseMs = 2_000;
  const pools = Array.from({ length: 16 }, (_, i) => `pool${i}`);
  return {
    ackWaitMs,
    leaseMs,
    pools,
    sleep: async (ms) => {
      await sleep(ms);
    },
    open: (name) =>
      openQueue({
        servers: [nats.url],
        name,
        pools: { grm: pools, meta: pools },
        storage: 'file',
        replicas: 1,
        storageBytesMax: 256 * 1024 * 1024,
        retention: { leaseMs },
        own: name === 'a',
        ackWaitMs,
        pullTimes: { expiresMs: 300, claimMs: 100, heldMs: 200 },
        settleMs: 0,
      }),
    async [Symbol.asyncDispose]() {
      await nats[Symbol.asyncDispose]();
    },
  };
});
