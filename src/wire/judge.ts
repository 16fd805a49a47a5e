// Judge <-> protobuf.

import { isFake, judgeWords, type Judge, type JudgeModel } from '../grm/judge.js';
import type * as pb from './gen/grm/v1/judgement.js';

export function judgeToProto(judge: Judge): pb.Judge {
  const { id, models, template, templateHash, meta } = judge;
  return {
    id,
    models: models.map(modelOf),
    template,
    templateHash,
    meta: meta !== undefined,
    metaModels: (meta ?? []).map(modelOf),
    fake: isFake(judge),
    words: judgeWords(judge),
  };
}

export function judgeFromProto({ id, models, template, templateHash, meta, metaModels }: pb.Judge): Judge {
  return {
    id,
    models: models.map(modelOf),
    template,
    templateHash,
    ...(meta && { meta: metaModels.map(modelOf) }),
  };
}

function modelOf({ id, model }: JudgeModel): JudgeModel {
  return { id, model };
}
