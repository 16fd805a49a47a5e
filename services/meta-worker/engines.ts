// From the configuration to the engines of a meta worker: one supervised actor each, alive only once its self-test has passed.

import type { ActorSpec } from '../../src/actor/actor.js';
import type { MetaEngine } from '../../src/engine/engine.js';
import { guardMetaEngine } from '../../src/engine/guarded.js';
import { asJudge } from '../../src/engine/judge-id.js';
import { openLlamaMeta } from '../../src/engine/llama-meta.js';
import { openMetaEngine } from '../../src/engine/meta.js';
import { superviseMetaEngine, type Supervised } from '../../src/engine/supervised.js';
import { loadingTeller } from '../loading.js';
import type { Events } from '../../src/observe/events.js';
import type { Config, MetaEngineConfig } from '../../src/process/schema.js';

export type WorkerMetaEngine = MetaEngine & Supervised;

/** @param templateHash of the prompt in which they are shown the samples: with another one they say something else */
export function metaEngines(
  config: Config,
  templateHash: string,
  events: Events,
): readonly ActorSpec<WorkerMetaEngine>[] {
  const { meta } = config;
  if (meta.engines.length === 0) throw new Error('meta.engines is empty: name at least one engine');
  return meta.engines.map((engine, at): ActorSpec<WorkerMetaEngine> => {
    const name = `${engine.kind.replaceAll('_', '-')}-${at}`;
    return {
      kind: 'meta-engine',
      name,
      gpus: [],
      concurrencyMax: engine.slots,
      ...(engine.kind !== 'llama_yes_no' && { connections: engine.slots }),
      restartsMax: meta.restartsMax,
      start: async (signal) => {
        const opened = await open(engine, name, events, signal);
        const tested = await opened.selfTest(signal);
        if (tested.kind === 'ok') return asJudge(opened, [engine, meta, { templateHash }]);
        await opened.close();
        throw new Error(tested.reason);
      },
    };
  });
}

async function open(
  engine: MetaEngineConfig,
  name: string,
  events: Events,
  signal: AbortSignal,
): Promise<WorkerMetaEngine> {
  if (engine.kind === 'llama_yes_no') {
    const { kind: _, ...options } = engine;
    const opened = await openLlamaMeta({
      ...options,
      name,
      signal,
      onProgress: loadingTeller(name, events),
    });
    return superviseMetaEngine(guardMetaEngine(opened, { events }), opened.died);
  }
  const { apiKey, model, ...options } = engine;
  const opened = await openMetaEngine({
    ...options,
    asksTokens: true,
    name,
    ...(model !== undefined && { model }),
    ...(apiKey && { apiKey: apiKey.reveal() }),
  });
  return superviseMetaEngine(guardMetaEngine(opened, { events }));
}
