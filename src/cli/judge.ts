// Judge: who judges in an embedded cluster, and with which prompts.
//
//   J1. What the configuration says is used as it is. Models named by flags take the place of its engines.
//   J2. Where it names no engine, the nano pair judges, with the templates that it was trained on. Each of its settings gives way to an explicit one.
//   J3. The fake engine judges only when it is asked for by name.
//   J4. What a judge needs and has not is told before anything starts.

import { join, resolve } from 'node:path';
import { checkGguf } from '../engine/gguf-file.js';
import { locateLlama } from '../engine/llama-runtime.js';
import { exitCodes } from '../process/run.js';
import type { Config } from '../process/schema.js';
import type { NamedFlag, Preset } from '../process/sources.js';
import { packageRoot } from '../process/version.js';
import { CliError, readConfig, type GlobalOptions, type ResolvedConfig } from './context.js';
import type { Notice } from './notice.js';
import { snakeKeys } from './snake.js';

export interface JudgeFlags {
  readonly model?: string;
  readonly metaModel?: string;
  readonly fakeEngine?: boolean;
}

export type Judge = 'fake' | 'nano' | 'named' | 'configured';

export interface Chosen {
  readonly judge: Judge;
  /** With the judge's settings in it. */
  readonly resolved: ResolvedConfig;
  /** What tells the services of it, after the options that were given. */
  readonly serviceArgs: readonly string[];
}

/** Settings that a judge brings along. */
const judgeKeys = ['worker.engines', 'meta.engines', 'templates.grm', 'templates.meta', 'defaults.max_tokens'] as const;
type JudgeKey = (typeof judgeKeys)[number];

/**
 * One thread for each of the two models: a model of this size gains nothing by a second one, and loses twentyfold where another process wants the CPU.
 * A slot for each sample of a request, and its prompts kept: four responses are shown in four orders. The context is that of one sample.
 */
const nanoEngine = { slots: 8, warm_prompts: 4, context_tokens: 1024, threads: 1 } as const;
/** Its longest judgements take half of this; what goes on longer says nothing new. */
const nanoTokensMax = 320;

/** Throws CliError (usage) when flags and configuration name no judge, or two. `named`: flags that are settings. */
export function chooseJudge(global: GlobalOptions, named: readonly NamedFlag[], flags: JudgeFlags): Chosen {
  const models = modelSettings(global, flags);
  // Before the options of the user, so that `--set worker.engines.0.slots=8` says more about the model that was named.
  const given = { ...global, set: [...models.values(), ...(global.set ?? [])] };
  if (flags.fakeEngine === true) {
    if (models.size > 0) throw usage('--fake-engine judges by itself: it goes with neither --model nor --meta-model');
    return { judge: 'fake', resolved: readConfig(global, named), serviceArgs: [] };
  }
  const { sources } = readConfig(given, named, nanoPreset({ meta: true }));
  const isPreset = (key: JudgeKey): boolean => sources.get(key)?.kind === 'preset';
  if (isPreset('worker.engines')) {
    const resolved = readConfig(given, named, nanoPreset({ meta: isPreset('meta.engines') }));
    const brought = judgeKeys.filter((key) => models.has(key) || resolved.sources.get(key)?.kind === 'preset');
    return { judge: 'nano', resolved, serviceArgs: argsOf(resolved, brought) };
  }
  const resolved = readConfig(given, named);
  if (resolved.config.worker.engines.length === 0)
    throw usage('worker.engines is empty: name an engine in it, or leave it out and the nano judge is taken');
  const brought = judgeKeys.filter((key) => models.has(key));
  return { judge: models.size > 0 ? 'named' : 'configured', resolved, serviceArgs: argsOf(resolved, brought) };
}

/** J4. Throws CliError (usage). Engines of the configuration are left to the workers, which try again: a file may be about to come. */
export async function checkJudge({ judge, resolved }: Chosen): Promise<void> {
  if (judge !== 'nano' && judge !== 'named') return;
  const { worker, meta } = resolved.config;
  const models = [...worker.engines, ...meta.engines].flatMap((engine) =>
    engine.kind === 'llama' || engine.kind === 'llama_yes_no' ? [engine.model] : [],
  );
  for (const model of models) {
    if (model.startsWith('hf:')) continue;
    await checkGguf(model).catch((error: unknown) => {
      throw usage(`${error instanceof Error ? error.message : String(error)}\n  ${fixOf(model)}`);
    });
  }
  const located = locateLlama(undefined);
  if (models.length > 0 && located.kind === 'missing') throw usage(located.reason);
}

/** What is told of the judge before it starts; of configured engines the configuration says enough. */
export function judgeNotice(judge: Judge, { worker, meta, up }: Config): Notice | undefined {
  switch (judge) {
    case 'fake':
      return { event: 'fake_engine', why: '--fake-engine' };
    case 'configured':
      return undefined;
    case 'nano':
    case 'named': {
      const metaModel = up.metaWorkers === 0 ? undefined : modelsOf(meta.engines)[0];
      const model = modelsOf(worker.engines)[0] ?? '';
      return { event: 'judge', model, meta_model: metaModel ?? null, nano: judge === 'nano' };
    }
  }
}

/** Said after its verdicts. */
export const nanoAdvice =
  'The nano judge knows its own eight task families and nothing else (models/nano/README.md); `grm up --model` takes a real one.';

function modelsOf(engines: Config['worker']['engines'] | Config['meta']['engines']): string[] {
  return engines.map((engine) => ('model' in engine ? engine.model : engine.kind));
}

/** Settings by their keys. */
function modelSettings({ set = [] }: GlobalOptions, { model, metaModel }: JudgeFlags): Map<JudgeKey, string> {
  const settings = new Map<JudgeKey, string>();
  const name = (flag: string, key: JudgeKey, kind: string, path: string | undefined): void => {
    if (path === undefined) return;
    if (set.some((each) => each.split('=')[0]?.trim() === key))
      throw usage(`${flag} and --set ${key}: give one of them`);
    const engine = { kind, model: path.startsWith('hf:') ? path : resolve(path) };
    settings.set(key, `${key}=${JSON.stringify([engine])}`);
  };
  name('--model', 'worker.engines', 'llama', model);
  name('--meta-model', 'meta.engines', 'llama_yes_no', metaModel);
  return settings;
}

/** `meta`: with its meta RM; one that the configuration names keeps its own template. */
function nanoPreset({ meta }: { readonly meta: boolean }): Preset {
  return {
    name: 'the nano judge',
    settings: {
      worker: { engines: [{ kind: 'llama', model: nanoFile('grm.gguf'), ...nanoEngine }] },
      ...(meta && { meta: { engines: [{ kind: 'llama_yes_no', model: nanoFile('meta.gguf'), ...nanoEngine }] } }),
      templates: { grm: 'nano', ...(meta && { meta: 'nano' }) },
      defaults: { max_tokens: nanoTokensMax },
    },
  };
}

function nanoFile(name: string): string {
  return join(packageRoot, 'models', 'nano', name);
}

/** Services know no preset: they get what it came to. No engine of a preset or of a flag holds a secret. */
function argsOf(
  { config: { worker, meta, templates, defaults } }: ResolvedConfig,
  keys: readonly JudgeKey[],
): string[] {
  const values: Record<JudgeKey, unknown> = {
    'worker.engines': worker.engines,
    'meta.engines': meta.engines,
    'templates.grm': templates.grm,
    'templates.meta': templates.meta,
    'defaults.max_tokens': defaults.maxTokens,
  };
  return keys.flatMap((key) => ['--set', `${key}=${settingText(values[key])}`]);
}

function settingText(value: unknown): string {
  return typeof value === 'string' ? value : JSON.stringify(snakeKeys(value));
}

function fixOf(model: string): string {
  return model.startsWith(nanoFile(''))
    ? 'the nano judge is missing in this installation: name a judge with --model or worker.engines, or see the cluster at work with --fake-engine'
    : 'give the path of a GGUF file, or hf:user/repo/file.gguf';
}

function usage(message: string): CliError {
  return new CliError(message, exitCodes.usage);
}
