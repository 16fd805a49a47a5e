// Judge: what judges a request: models with the settings that change what they say, the prompt template, the meta RM. Ids are digests made
// elsewhere (coordinator/judge.ts, engine/judge-id.ts): this file only compares and names.
//
//   U1. An unknown judge is not another judge: nothing is refused because of it, and no known judge gets its verdicts from the store.
//   U2. Equal ids, equal judge. Where no meta RM serves just now, what was accepted with it is still of this judge (`isSameJudge`).

/** A model as an engine serves it. */
export interface JudgeModel {
  /** Names the model and every setting that changes what it says; begins with `fakePrefix` for the fake engine. */
  readonly id: string;
  readonly model: string;
}

export interface Judge {
  /** `unknownJudgeId` when the pool has never told what judges in it. */
  readonly id: string;
  /** They draw the samples; by id. Empty: not known. */
  readonly models: readonly JudgeModel[];
  /** Name of the prompt template. */
  readonly template: string;
  readonly templateHash: string;
  /** They give the meta rewards; by id. Absent: none is asked; empty: one is asked, and not known. */
  readonly meta?: readonly JudgeModel[];
}

export const unknownJudgeId = 'unknown';
export const fakePrefix = 'fake-';

export function isKnown(judge: Judge | undefined): judge is Judge {
  return judge !== undefined && judge.id !== unknownJudgeId;
}

export function isFake({ models, meta = [] }: Pick<Judge, 'models' | 'meta'>): boolean {
  return [...models, ...meta].some(({ id }) => id.startsWith(fakePrefix));
}

/** Each model once, in an order that does not depend on who told of it first. */
export function distinctModels(models: readonly JudgeModel[]): readonly JudgeModel[] {
  const byId = new Map(models.map((each) => [each.id, each]));
  return [...byId.values()].sort((a, b) => (a.id < b.id ? -1 : 1));
}

export function isSameModels(one: readonly JudgeModel[], other: readonly JudgeModel[]): boolean {
  return one.length === other.length && one.every(({ id }, at) => id === other[at]!.id);
}

/**
 * Whether what was accepted under one judge may be answered where another one is asked for (U1, U2).
 * @param metaKept the models of the meta pool when it last served, also where no meta RM is asked now
 */
export function isSameJudge(accepted: Judge, now: Judge, metaKept: readonly JudgeModel[]): boolean {
  if (!isKnown(accepted) || !isKnown(now) || accepted.id === now.id) return true;
  if (!isSameModels(accepted.models, now.models) || accepted.templateHash !== now.templateHash) return false;
  return accepted.meta !== undefined && now.meta === undefined && isSameModels(accepted.meta, metaKept);
}

/** Of a model's name that many characters are shown: two judges must fit one status message. */
const nameCharsMax = 24;
/** Enough of an id to tell two of them apart at sight. */
const idCharsShown = 8;

/** "nano-grm (template nano) ranked by nano-meta [1a2b3c4d]". */
export function judgeWords(judge: Judge | undefined): string {
  if (!judge || judge.models.length === 0) return 'an unknown judge';
  const { models, template, meta } = judge;
  const ranked = meta === undefined ? '' : ` ranked by ${meta.length === 0 ? 'an unknown meta RM' : names(meta)}`;
  const fake = isFake(judge) ? 'the fake engine ' : '';
  return `${fake}${names(models)} (template ${shown(template)})${ranked} [${judge.id.slice(0, idCharsShown)}]`;
}

function names(models: readonly JudgeModel[]): string {
  const [first = '', ...others] = new Set(models.map(({ model }) => shown(model)));
  return others.length === 0 ? first : `${first} and ${others.length} more`;
}

/** Without whose it is: "Qwen/Qwen2.5-7B-Instruct" is told apart by its end. */
function shown(whole: string): string {
  const name = whole.slice(whole.lastIndexOf('/') + 1) || whole;
  return name.length <= nameCharsMax ? name : `${name.slice(0, nameCharsMax - 1).toWellFormed()}…`;
}

/** What a sample or a meta reward says of where it came from. */
interface Told {
  readonly judge?: string;
  readonly model: string;
}

/**
 * The models that judged, where a request was accepted under `accepted`. `changed`: some of them are not of it. Those of an accepted judge all
 * stand for a pool that serves several, also when only some of them drew.
 */
export function whoJudged(
  accepted: Judge | undefined,
  samples: readonly Told[],
  metas: readonly Told[],
): { readonly models: readonly JudgeModel[]; readonly meta?: readonly JudgeModel[]; readonly changed: boolean } {
  const drew = ofStage(accepted?.models ?? [], samples);
  const meta = accepted?.meta ?? (metas.length > 0 ? [] : undefined);
  if (meta === undefined) return drew;
  const ranked = ofStage(meta, metas);
  return { models: drew.models, meta: ranked.models, changed: drew.changed || ranked.changed };
}

function ofStage(
  accepted: readonly JudgeModel[],
  told: readonly Told[],
): { readonly models: readonly JudgeModel[]; readonly changed: boolean } {
  const seen = distinctModels(told.flatMap(({ judge, model }) => (judge === undefined ? [] : [{ id: judge, model }])));
  if (accepted.length === 0) return { models: seen, changed: false };
  const ids = new Set(accepted.map(({ id }) => id));
  // What does not say who drew it is not known to be of this judge.
  const changed = told.some(({ judge, model }) => (judge === undefined ? model !== '' : !ids.has(judge)));
  return { models: changed && seen.length > 0 ? seen : accepted, changed };
}
