// A GRM worker whose engine takes no time: what is left is the way there and back. All but the engine is that of services/grm-worker.

import type { Engine } from '../src/engine/engine.js';
import { superviseEngine } from '../src/engine/supervised.js';
import { limits } from '../src/limits.js';
import { executeShard } from '../src/worker/execute-shard.js';
import { openHost } from '../services/host.js';
import { runService } from '../services/run.js';
import { openWorker } from '../services/worker.js';
import { sampleText } from './payload.js';

const slots = 512;
const usage = { promptTokens: 600, cachedTokens: 500, completionTokens: 150 };

const engine: Engine = {
  name: 'instant',
  description: 'instant',
  model: 'instant',
  fake: true,
  draw(job, onResult) {
    for (const { index } of job.samples)
      onResult({ kind: 'text', index, text: sampleText, finishReason: 'stop', usage, engineMs: 0 });
    return Promise.resolve();
  },
  health: () => Promise.resolve({ kind: 'ok' }),
  gauges: () => Promise.resolve({ running: 0, waiting: 0 }),
  close: () => Promise.resolve(),
};

await runService('grm-worker', async (config) => {
  const host = await openHost('grm-worker', config);
  const { pool, drainGraceMs } = config.worker;
  return openWorker(host, {
    role: 'grm-worker',
    pool,
    specs: [
      {
        kind: 'engine',
        name: engine.name,
        gpus: [],
        concurrencyMax: slots,
        restartsMax: 0,
        start: () => Promise.resolve(superviseEngine(engine)),
      },
    ],
    gpus: 0,
    slots: undefined,
    drainGraceMs,
    puller: await host.queue.work.pullShards(pool),
    cost: (shard) => shard.samples.length,
    costMax: limits.shardSamplesMax,
    execute: (delivery, engines, context, hurry, free) =>
      executeShard(delivery, (samples) => engines.reserve(samples), context, hurry, free),
  });
});
