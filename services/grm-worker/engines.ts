// From the configuration to the engines of a GRM worker: one supervised actor each, the GPUs divided between managed ones.

import type { ActorSpec } from '../../src/actor/actor.js';
import type { Engine } from '../../src/engine/engine.js';
import { findGpus, groupGpus } from '../../src/engine/gpus.js';
import { guardEngine } from '../../src/engine/guarded.js';
import { openLlamaEngine } from '../../src/engine/llama.js';
import { asJudge } from '../../src/engine/judge-id.js';
import { openManagedEngine } from '../../src/engine/managed.js';
import { openOpenAiEngine } from '../../src/engine/openai.js';
import { superviseEngine, type Supervised } from '../../src/engine/supervised.js';
import { loadingTeller } from '../loading.js';
import type { Events } from '../../src/observe/events.js';
import type { Log } from '../../src/observe/log.js';
import { environment } from '../../src/process/environment.js';
import type { Config, EngineConfig, EngineConfigOf } from '../../src/process/schema.js';
import { reopening } from '../../src/worker/reopening.js';

export type WorkerEngine = Engine & Supervised;

export interface Engines {
  readonly specs: readonly ActorSpec<WorkerEngine>[];
  /** GPUs that this worker may use. */
  readonly gpus: number;
}

/** Throws an Error that names the setting when GPUs and engines do not fit. */
export async function grmEngines(config: Config, events: Events, log: Log): Promise<Engines> {
  const { worker } = config;
  if (worker.engines.length === 0) throw new Error('worker.engines is empty: name at least one engine');
  const env = environment();
  const found =
    worker.gpus === 'auto' ? await findGpus(env.CUDA_VISIBLE_DEVICES, AbortSignal.timeout(30_000)) : undefined;
  const gpus = Array.isArray(worker.gpus)
    ? worker.gpus
    : found?.kind === 'gpus'
      ? found.gpus.map(({ index }) => index)
      : [];
  if (found?.kind === 'none') log.info('no GPU', { reason: found.reason });

  const specs = worker.engines.flatMap((engine, at) => {
    const own = specsOf(engine, at, gpus, worker.restartsMax, { env, events, log });
    return own.map((spec) => ({
      ...spec,
      start: async (signal: AbortSignal) => {
        const started = await spec.start(signal);
        const opened = engine.opensReasoning ? reopening(started, worker.reasoning) : started;
        return asJudge(opened, [engine, worker]);
      },
    }));
  });
  return { specs, gpus: gpus.length };
}

interface Surroundings {
  readonly env: Readonly<Record<string, string | undefined>>;
  readonly events: Events;
  readonly log: Log;
}

function specsOf(
  engine: EngineConfig,
  at: number,
  gpus: readonly number[],
  restartsMax: number,
  around: Surroundings,
): ActorSpec<WorkerEngine>[] {
  const connections = engine.kind === 'llama' ? {} : { connections: engine.slots };
  const base = { kind: 'engine', gpus: [], concurrencyMax: engine.slots, ...connections, restartsMax };
  switch (engine.kind) {
    case 'openai': {
      const name = `openai-${at}`;
      const {
        baseUrl,
        model,
        apiKey,
        mode,
        slots,
        requestTimeoutMs,
        priorityScheduling,
        extraBody,
        stop,
        specialTokens,
      } = engine;
      const options = {
        name,
        baseUrl,
        ...(model !== undefined && { model }),
        ...(apiKey && { apiKey: apiKey.reveal() }),
        mode,
        slots,
        requestTimeoutMs,
        priorityScheduling,
        extraBody,
        stop,
        specialTokens,
        asksTokens: true,
      };
      return [
        { ...base, name, start: async () => superviseEngine(guardEngine(await openOpenAiEngine(options), around)) },
      ];
    }
    case 'llama': {
      const name = `llama-${at}`;
      return [{ ...base, name, start: (signal) => startLlama(name, engine, around.events, signal) }];
    }
    case 'managed': {
      if (gpus.length === 0) return [managedSpec(engine, `managed-${at}`, [], base, around)];
      const groups = groupGpus(gpus, engine.gpusPerEngine);
      if (groups.kind === 'wrong') throw new Error(`worker.engines.${at}: ${groups.reason}`);
      return groups.groups.map((group, number) => managedSpec(engine, `managed-${at}-${number}`, group, base, around));
    }
  }
}

function managedSpec(
  engine: EngineConfigOf<'managed'>,
  name: string,
  gpus: readonly number[],
  base: Omit<ActorSpec<WorkerEngine>, 'name' | 'start'>,
  { env, events }: Surroundings,
): ActorSpec<WorkerEngine> {
  const {
    model,
    command,
    args,
    slots,
    requestTimeoutMs,
    readyTimeoutMs,
    logDir,
    priorityScheduling,
    extraBody,
    stop,
    specialTokens,
  } = engine;
  const options = {
    name,
    model,
    command,
    args,
    gpus,
    slots,
    requestTimeoutMs,
    readyTimeoutMs,
    logDir,
    priorityScheduling,
    extraBody,
    stop,
    specialTokens,
    asksTokens: true,
    mode: 'chat' as const,
    env,
    events,
  };
  // The engine's own limit tells what was waited for; the actor's only catches an engine that ignores it.
  const startTimeoutMs = readyTimeoutMs + 60_000;
  return { ...base, name, gpus, startTimeoutMs, start: (signal) => openManagedEngine(options, signal) };
}

async function startLlama(
  name: string,
  engine: EngineConfigOf<'llama'>,
  events: Events,
  signal: AbortSignal,
): Promise<WorkerEngine> {
  const { kind: _, opensReasoning: __, ...options } = engine;
  const opened = await openLlamaEngine({
    ...options,
    name,
    signal,
    onProgress: loadingTeller(name, events),
  });
  return superviseEngine(guardEngine(opened, { events }), opened.died);
}
