// The GRM worker process: wiring only.

import { limits } from '../../src/limits.js';
import type { Config } from '../../src/process/schema.js';
import { executeShard } from '../../src/worker/execute-shard.js';
import { openHost } from '../host.js';
import { runService } from '../run.js';
import { openWorker } from '../worker.js';
import { grmEngines, type WorkerEngine } from './engines.js';

await runService('grm-worker', async (config: Config) => {
  const host = await openHost('grm-worker', config);
  const { worker } = config;
  const { specs, gpus } = await grmEngines(config, host.events, host.log);
  return openWorker(host, {
    role: 'grm-worker',
    pool: worker.pool,
    specs,
    gpus,
    slots: worker.slots,
    ...(worker.learnSlots && { gauges: (engine: WorkerEngine) => engine.gauges() }),
    drainGraceMs: worker.drainGraceMs,
    reasoning: worker.reasoning,
    puller: await host.queue.work.pullShards(worker.pool),
    cost: (shard) => shard.samples.length,
    costMax: limits.shardSamplesMax,
    execute: (delivery, engines, context, hurry, free) =>
      executeShard(delivery, (samples, avoid) => engines.reserve(samples, avoid), context, hurry, free),
  });
});
