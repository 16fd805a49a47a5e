// A meta worker whose meta RM takes no time. All but the engine is that of services/meta-worker.

import type { MetaEngine } from '../src/engine/engine.js';
import { superviseMetaEngine } from '../src/engine/supervised.js';
import { loadMetaTemplate } from '../src/process/templates.js';
import { limits } from '../src/limits.js';
import { executeMeta } from '../src/worker/execute-meta.js';
import { openHost } from '../services/host.js';
import { runService } from '../services/run.js';
import { openWorker } from '../services/worker.js';

const slots = 512;
let ranked = 0;

const engine: MetaEngine = {
  name: 'instant-meta',
  description: 'instant',
  model: 'instant-meta',
  fake: true,
  rank: () => Promise.resolve({ kind: 'logit', metaReward: (ranked++ % 16) / 4 - 2 }),
  selfTest: () => Promise.resolve({ kind: 'ok' }),
  health: () => Promise.resolve({ kind: 'ok' }),
  gauges: () => Promise.resolve({ running: 0, waiting: 0 }),
  close: () => Promise.resolve(),
};

await runService('meta-worker', async (config) => {
  const { template } = await loadMetaTemplate(config);
  const host = await openHost('meta-worker', config);
  const { pool, drainGraceMs } = config.meta;
  return openWorker(host, {
    role: 'meta-worker',
    pool,
    specs: [
      {
        kind: 'meta-engine',
        name: engine.name,
        gpus: [],
        concurrencyMax: slots,
        restartsMax: 0,
        start: () => Promise.resolve(superviseMetaEngine(engine)),
      },
    ],
    gpus: 0,
    slots: undefined,
    drainGraceMs,
    puller: await host.queue.work.pullMetaTasks(pool),
    cost: (task) => task.items.length,
    costMax: limits.laneSamplesMax,
    execute: (delivery, engines, context, hurry) =>
      executeMeta(delivery, (texts) => engines.reserve(texts), template, context, hurry),
  });
});
