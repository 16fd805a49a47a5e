// The simulation's queue model keeps the contract that the real nats-server keeps.

import { setImmediate } from 'node:timers/promises';
import { sleep } from '../../src/process/clock.js';
import { memoryNats } from '../support/memory-queue.js';
import { virtualClock } from '../support/virtual-clock.js';
import { queueContract } from './queue.js';

queueContract('the model in memory', () => {
  const clock = virtualClock();
  const ackWaitMs = 500;
  const leaseMs = 1_000;
  const nats = memoryNats({ clock, ackWaitMs, leaseMs, pullExpiresMs: 300 });
  let open = true;
  // Time passes by itself here: the suite waits for what it asked for.
  const passing = (async () => {
    while (open) {
      await setImmediate();
      await clock.advance(5);
    }
  })();
  return Promise.resolve({
    ackWaitMs,
    leaseMs,
    pools: Array.from({ length: 16 }, (_, i) => `pool${i}`),
    sleep: (ms: number) => sleep(clock, ms),
    open: (name: string) => Promise.resolve(nats.open(name)),
    async [Symbol.asyncDispose]() {
      open = false;
      await passing;
    },
  });
});
