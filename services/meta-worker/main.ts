// The meta-RM worker process: wiring only.

import { limits } from '../../src/limits.js';
import type { Config } from '../../src/process/schema.js';
import { executeMeta } from '../../src/worker/execute-meta.js';
import { openHost } from '../host.js';
import { runService } from '../run.js';
import { loadMetaTemplate } from '../../src/process/templates.js';
import { openWorker } from '../worker.js';
import { metaEngines } from './engines.js';

await runService('meta-worker', async (config: Config) => {
  const { template, hash } = await loadMetaTemplate(config);
  const host = await openHost('meta-worker', config);
  const { meta } = config;
  return openWorker(host, {
    role: 'meta-worker',
    pool: meta.pool,
    specs: metaEngines(config, hash, host.events),
    gpus: 0,
    slots: meta.slots,
    drainGraceMs: meta.drainGraceMs,
    puller: await host.queue.work.pullMetaTasks(meta.pool),
    cost: (task) => task.items.length,
    costMax: limits.laneSamplesMax,
    execute: (delivery, engines, context, hurry) =>
      executeMeta(delivery, (texts) => engines.reserve(texts), template, context, hurry),
  });
});
