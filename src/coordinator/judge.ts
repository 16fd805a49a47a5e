// Judge: the id of a judge, and the fault that tells of another one than was wanted.

import { hash } from 'node:crypto';
import { fault, type Fault } from '../fault.js';
import { distinctModels, judgeWords, unknownJudgeId, type Judge, type JudgeModel } from '../grm/judge.js';

/** The judge of these models; unknown where no model is. */
export function judgeOf({ models, template, templateHash, meta }: Omit<Judge, 'id'>): Judge {
  const drawing = distinctModels(models);
  const ranking = meta && distinctModels(meta);
  const ids = (list: readonly JudgeModel[] | undefined): readonly string[] | null => list?.map(({ id }) => id) ?? null;
  const id =
    drawing.length === 0
      ? unknownJudgeId
      : hash('sha256', JSON.stringify(['judge', ids(drawing), templateHash, ids(ranking)]), 'hex').slice(0, 16);
  return { id, models: drawing, template, templateHash, ...(ranking && { meta: ranking }) };
}

/** @param asked what to do about it, in a few words: a status message is short */
export function judgeChanged(before: string, now: string, advice: string): Fault {
  return fault('judge_changed', `the judge was ${before}, and now it is ${now}: ${advice}`);
}

/** For a stored or running request whose key comes back under another judge. */
export function keyOfAnother(before: Judge | undefined, now: Judge): Fault {
  return judgeChanged(judgeWords(before), judgeWords(now), 'take another key or fresh, or allow_judge_change');
}
