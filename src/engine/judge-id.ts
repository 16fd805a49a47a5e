// Judge id: names a model together with every setting that changes what it says, so that what one judge said is never taken for another's.
//
//   JI1. Every setting counts, except those that are known to change nothing but where, how fast and how long: a new setting counts by itself.
//   JI2. It does not depend on the host, the order of settings, or on settings that are empty.
//   JI3. That of the fake engine begins with "fake-".

import { hash } from 'node:crypto';

/**
 * Raise it when this version reads or asks the same model differently than the last one did (how scores are read from a text, how texts are
 * made safe in a prompt): what was judged before is then another judge's.
 */
const judgingVersion = 1;

/** JI1. Where an engine is, who may ask it, what it may take, and the names of things. The model itself is told apart by name and traits. */
const operational: ReadonlySet<string> = new Set([
  'name',
  'baseUrl',
  'apiKey',
  'model',
  'modelsDir',
  'slots',
  'priorityScheduling',
  'requestTimeoutMs',
  'readyTimeoutMs',
  'logDir',
  'gpu',
  'gpusPerEngine',
  'threads',
  'warmPrompts',
  'sharing',
  // Of a worker.
  'pool',
  'engines',
  'gpus',
  'learnSlots',
  'restartsMax',
  'drainGraceMs',
]);

export interface JudgeIdParts {
  readonly model: string;
  readonly fake: boolean;
  /** What tells it from another model of that name; empty when nothing does. */
  readonly traits: string;
  /** Settings of the engine, of its worker, and whatever else goes into its prompts. */
  readonly settings: readonly Readonly<Record<string, unknown>>[];
}

export function judgeIdOf({ model, fake, traits, settings }: JudgeIdParts): string {
  const deciding = settings.map((each) =>
    Object.fromEntries(Object.entries(each).filter(([key]) => !operational.has(key))),
  );
  const digest = hash('sha256', JSON.stringify(canonical([judgingVersion, model, traits, ...deciding])), 'hex');
  return `${fake ? 'fake-' : ''}${digest.slice(0, 16)}`;
}

/** JI2: keys in order, and nothing empty. Values that JSON cannot hold (a secret) count for nothing. */
function canonical(value: unknown): unknown {
  if (Array.isArray(value)) return (value as unknown[]).map((each) => canonical(each) ?? null);
  if (typeof value !== 'object' || value === null) return value;
  const entries = Object.entries(value).map(([key, each]) => [key, canonical(each)] as const);
  const said = entries.filter(([, each]) => each !== undefined && !isEmpty(each));
  return Object.fromEntries(said.sort(([a], [b]) => (a < b ? -1 : 1)));
}

function isEmpty(value: unknown): boolean {
  return typeof value === 'object' && value !== null && Object.keys(value).length === 0;
}

/** The same engine, with the id of the judge that it is. @param settings its own, its worker's, and whatever else goes into its prompts */
export function asJudge<E extends { readonly model: string; readonly fake: boolean; readonly traits?: string }>(
  engine: E,
  settings: JudgeIdParts['settings'],
): E & { readonly judgeId: string } {
  const { model, fake, traits = '' } = engine;
  return { ...engine, judgeId: judgeIdOf({ model, fake, traits, settings }) };
}
