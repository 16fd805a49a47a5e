// Doctor, engines: can what the configuration names be used from here? Servers are asked as a worker would ask them, the meta RM's
// self-test included; models are not loaded.

import { delimiter, isAbsolute, join } from 'node:path';
import { access, constants } from 'node:fs/promises';
import type { Health } from '../engine/engine.js';
import { checkGguf, isGguf } from '../engine/gguf-file.js';
import { findGpus, groupGpus } from '../engine/gpus.js';
import { locateLlama } from '../engine/llama-runtime.js';
import { openMetaEngine } from '../engine/meta.js';
import { openOpenAiEngine } from '../engine/openai.js';
import { tryEngine } from '../engine/probe.js';
import { limits } from '../limits.js';
import { environment } from '../process/environment.js';
import { openFilesMax, shortOfFiles } from '../process/open-files.js';
import type { Config, EngineConfig, EngineConfigOf, MetaEngineConfig } from '../process/schema.js';
import type { Say } from './finding.js';

export async function checkEngines({ worker, meta, defaults }: Config, say: Say, signal: AbortSignal): Promise<void> {
  checkFiles('worker.engines', worker.engines, say);
  checkFiles('meta.engines', meta.engines, say);
  for (const [at, engine] of worker.engines.entries())
    if (!signal.aborted)
      await checkOne(`worker.engines.${at}`, () => checkEngine(engine, worker.gpus, defaults, signal), say);
  for (const [at, engine] of meta.engines.entries())
    if (!signal.aborted) await checkOne(`meta.engines.${at}`, () => checkMeta(engine, signal), say);
}

/** Each slot of an engine that is spoken to over HTTP is a connection. A worker gives out no more than fit. */
function checkFiles(check: string, engines: readonly (EngineConfig | MetaEngineConfig)[], say: Say): void {
  const overHttp = engines.filter(({ kind }) => kind !== 'llama' && kind !== 'llama_yes_no');
  const slots = overHttp.reduce((sum, engine) => sum + engine.slots, 0);
  const short = shortOfFiles(slots, openFilesMax(), overHttp.length);
  if (short === undefined) return;
  const fix = 'raise `ulimit -n` where the worker runs (LimitNOFILE= of a systemd unit), or lower the slots';
  say({ check, result: 'warning', detail: `${short}: a worker here uses no more`, fix });
}

type Checked = { readonly ok: string } | { readonly failed: string; readonly fix: string };

async function checkOne(check: string, look: () => Promise<Checked>, say: Say): Promise<void> {
  const checked = await look();
  if ('ok' in checked) say({ check, result: 'ok', detail: checked.ok });
  else say({ check, result: 'failed', detail: checked.failed, fix: checked.fix });
}

async function checkEngine(
  engine: EngineConfig,
  gpus: Config['worker']['gpus'],
  defaults: Config['defaults'],
  signal: AbortSignal,
): Promise<Checked> {
  switch (engine.kind) {
    case 'openai':
      return checkServer(engine, defaults, signal);
    case 'llama':
      return checkLlama(engine.model);
    case 'managed':
      return checkManaged(engine, gpus, signal);
  }
}

async function checkServer(
  engine: EngineConfigOf<'openai'>,
  { temperature, topP }: Config['defaults'],
  signal: AbortSignal,
): Promise<Checked> {
  const { baseUrl, model, apiKey, mode, requestTimeoutMs, priorityScheduling, extraBody, stop } = engine;
  return guarded(`start the server at ${baseUrl}, or correct base_url, model and api_key`, async () => {
    const opened = await openOpenAiEngine({
      name: 'doctor',
      baseUrl,
      ...(model !== undefined && { model }),
      ...(apiKey && { apiKey: apiKey.reveal() }),
      mode,
      slots: 1,
      requestTimeoutMs,
      priorityScheduling,
      extraBody,
      stop,
    });
    try {
      assertHealthy(await opened.health(signal));
      // Health and the list of models are often open to everybody: only a generation shows what a worker would get.
      const ask = (roles: readonly ('system' | 'user')[]) => tryEngine(opened, { roles, temperature, topP }, signal);
      const drawn = await ask(['system', 'user']);
      if (drawn.kind === 'ok') return `${opened.description} serves ${opened.model}, one token drawn`;
      if ((await ask(['user'])).kind !== 'ok') throw new Error(`${opened.description} does not draw: ${drawn.reason}`);
      return `${opened.description} serves ${opened.model}, but takes no system message (${drawn.reason}): use a template without one`;
    } finally {
      await opened.close();
    }
  });
}

async function checkMeta(engine: MetaEngineConfig, signal: AbortSignal): Promise<Checked> {
  if (engine.kind === 'llama_yes_no') return checkLlama(engine.model);
  const { apiKey, model, ...options } = engine;
  const fix = `start the server at ${engine.baseUrl}, or correct base_url, model and api_key; a head must give raw logits, not probabilities`;
  return guarded(fix, async () => {
    const opened = await openMetaEngine({
      ...options,
      name: 'doctor',
      slots: 1,
      ...(model !== undefined && { model }),
      ...(apiKey && { apiKey: apiKey.reveal() }),
    });
    try {
      assertHealthy(await opened.selfTest(AbortSignal.any([signal, AbortSignal.timeout(limits.engineSelfTestMs)])));
      return `${opened.description} serves ${opened.model}, self-test passed`;
    } finally {
      await opened.close();
    }
  });
}

async function checkLlama(model: string): Promise<Checked> {
  const located = locateLlama(undefined);
  if (located.kind === 'missing') return { failed: located.reason, fix: '`make setup-llama` installs them' };
  if (model.startsWith('hf:')) return { ok: `${model}, downloaded at its first start` };
  return guarded('give the path of a GGUF file, or hf:user/repo/file.gguf', async () => {
    await checkGguf(model);
    return model;
  });
}

async function checkManaged(
  { command, model, gpusPerEngine }: EngineConfigOf<'managed'>,
  told: Config['worker']['gpus'],
  signal: AbortSignal,
): Promise<Checked> {
  const program = command[0]!;
  const { PATH = '', CUDA_VISIBLE_DEVICES } = environment();
  if (!(await isProgram(program, PATH)))
    return {
      failed: `${program} is not on PATH`,
      fix: 'install vLLM (`pip install vllm`), or set command to your server',
    };
  if (isGguf(model)) {
    const file = await guarded('give the path of a whole GGUF file', async () => {
      await checkGguf(model);
      return model;
    });
    if ('failed' in file) return file;
  }
  const found = told === 'auto' ? await findGpus(CUDA_VISIBLE_DEVICES, signal) : undefined;
  if (found?.kind === 'none') return { ok: `${program} ${model}, no GPU: ${found.reason}` };
  const gpus = found ? found.gpus.map(({ index }) => index) : Array.isArray(told) ? (told as readonly number[]) : [];
  const groups = groupGpus(gpus, gpusPerEngine);
  if (groups.kind === 'wrong')
    return { failed: groups.reason, fix: 'set gpus_per_engine or worker.gpus so that they fit' };
  return { ok: `${program} ${model} on ${groups.groups.length} groups of ${gpusPerEngine} GPUs` };
}

async function isProgram(program: string, path: string): Promise<boolean> {
  const files =
    isAbsolute(program) || program.includes('/')
      ? [program]
      : path.split(delimiter).map((folder) => join(folder, program));
  for (const file of files) {
    try {
      await access(file, constants.X_OK);
      return true;
    } catch {
      // not there: look further
    }
  }
  return false;
}

async function guarded(fix: string, look: () => Promise<string>): Promise<Checked> {
  try {
    return { ok: await look() };
  } catch (error) {
    return { failed: error instanceof Error ? error.message : String(error), fix };
  }
}

function assertHealthy(health: Health): void {
  if (health.kind === 'failing') throw new Error(health.reason);
}
