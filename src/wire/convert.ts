// Domain <-> protobuf for what several rooms send: content, samples, verdicts. Unknown enum values of a newer writer fail loudly.

import type { Class, Content, Message, Role, Stop, StopRule, VoteMethod } from '../grm/query.js';
import { sampleInvalidReasons, type Sample, type SampleInvalidReason } from '../grm/sample.js';
import type { Degraded, JudgedSample, Kept, Stopping, Verdict, Missing } from '../grm/verdict.js';
import * as pb from './gen/grm/v1/judgement.js';
import { judgeFromProto, judgeToProto } from './judge.js';
import { textsOf } from './texts-at.js';

/** A two-way table between a domain word and its enum number. */
function table<W extends string, N extends number>(rows: Readonly<Record<W, N>>, what: string) {
  const back = new Map<number, W>(Object.entries(rows).map(([word, number]) => [number as number, word as W]));
  return {
    to: (word: W): N => rows[word],
    from: (number: number): W => {
      const word = back.get(number);
      if (word === undefined) throw new RangeError(`${what}: unknown enum number ${number}`);
      return word;
    },
  };
}

export const voteMethodTable = table<VoteMethod, pb.VoteMethod>(
  {
    sum: pb.VoteMethod.SUM,
    meta_topk: pb.VoteMethod.META_TOPK,
    meta_weighted: pb.VoteMethod.META_WEIGHTED,
    mean: pb.VoteMethod.MEAN,
    median: pb.VoteMethod.MEDIAN,
    majority: pb.VoteMethod.MAJORITY,
  },
  'vote',
);

export const stopRuleTable = table<StopRule, pb.StopRule>(
  {
    none: pb.StopRule.NONE,
    outcome_fixed: pb.StopRule.OUTCOME_FIXED,
    confident: pb.StopRule.CONFIDENT,
  },
  'stop',
);

export const classTable = table<Class, pb.Class>(
  { interactive: pb.Class.INTERACTIVE, rl: pb.Class.RL, batch: pb.Class.BATCH },
  'class',
);

const invalidTable = table<SampleInvalidReason | 'quorum_not_met' | 'no_valid_sample', pb.InvalidReason>(
  {
    no_box: pb.InvalidReason.NO_BOX,
    wrong_count: pb.InvalidReason.WRONG_COUNT,
    out_of_range: pb.InvalidReason.OUT_OF_RANGE,
    not_a_number: pb.InvalidReason.NOT_A_NUMBER,
    truncated: pb.InvalidReason.TRUNCATED,
    engine_failed: pb.InvalidReason.ENGINE_FAILED,
    dead_letter: pb.InvalidReason.DEAD_LETTER,
    context_exceeded: pb.InvalidReason.CONTEXT_EXCEEDED,
    quorum_not_met: pb.InvalidReason.QUORUM_NOT_MET,
    no_valid_sample: pb.InvalidReason.NO_VALID_SAMPLE,
  },
  'invalid_reason',
);

export const keptTable = table<Kept, pb.KeptReason>(
  {
    kept: pb.KeptReason.KEPT,
    meta_rank: pb.KeptReason.META_RANK,
    invalid: pb.KeptReason.INVALID,
    no_meta_reward: pb.KeptReason.NO_META_REWARD,
  },
  'kept',
);

const degradedTable = table<Degraded, pb.Degraded>(
  {
    meta_unavailable: pb.Degraded.META_UNAVAILABLE,
    meta_partial: pb.Degraded.META_PARTIAL,
    time_budget: pb.Degraded.TIME_BUDGET,
    samples_invalid: pb.Degraded.SAMPLES_INVALID,
    judge_changed: pb.Degraded.JUDGE_CHANGED,
    storage_full: pb.Degraded.STORAGE_FULL,
  },
  'degraded',
);

export function contentToProto(content: Content): pb.Content {
  return {
    query: { messages: content.messages.map(({ role, content: text }) => ({ role, content: text })) },
    responses: [...content.responses],
    reference: content.reference,
    principles: content.principles.map(({ text, weightPercent }) => ({ text, weightPercent })),
    hintedBest: content.hintedBest,
  };
}

export function contentFromProto(content: pb.Content): Content {
  return {
    messages: (content.query?.messages ?? []).map((m): Message => ({ role: m.role as Role, content: m.content })),
    responses: content.responses,
    ...(content.reference !== undefined && { reference: content.reference }),
    principles: content.principles.map(({ text, weightPercent }) => ({
      text,
      ...(weightPercent !== undefined && { weightPercent }),
    })),
    ...(content.hintedBest !== undefined && { hintedBest: content.hintedBest }),
  };
}

/** A sample as the ledger holds it; `judged` adds what the vote made of it. */
export function sampleToProto(sample: Sample, judged?: Pick<JudgedSample, 'metaReward' | 'kept'>): pb.Sample {
  const scored = sample.kind === 'scored';
  return {
    index: sample.index,
    invalidReason: scored ? pb.InvalidReason.UNSPECIFIED : invalidTable.to(sample.reason),
    invalidDetail: scored ? '' : sample.detail,
    principles: sample.principles,
    critique: sample.critique,
    shownScores: scored ? [...sample.shownScores] : [],
    scores: scored ? [...sample.scores] : [],
    permutation: [...sample.permutation],
    seed: sample.seed,
    metaReward: judged?.metaReward,
    kept: judged ? keptTable.to(judged.kept) : pb.KeptReason.UNSPECIFIED,
    worker: sample.worker,
    engine: sample.engine,
    model: sample.model,
    templateHash: sample.templateHash,
    usage: { ...sample.usage },
    finishReason: sample.finishReason,
    queueMs: Math.max(0, Math.round(sample.queueMs)),
    engineMs: Math.max(0, Math.round(sample.engineMs)),
    text: sample.text,
    textsAt: [],
    judge: sample.judge ?? '',
  };
}

export function sampleFromProto(sample: pb.Sample): Sample {
  const base = {
    index: sample.index,
    text: sample.text,
    ...textsOf(sample),
    permutation: sample.permutation,
    seed: sample.seed,
    worker: sample.worker,
    engine: sample.engine,
    model: sample.model,
    ...(sample.judge !== '' && { judge: sample.judge }),
    templateHash: sample.templateHash,
    usage: sample.usage ?? { promptTokens: 0, cachedTokens: 0, completionTokens: 0 },
    finishReason: sample.finishReason,
    queueMs: sample.queueMs,
    engineMs: sample.engineMs,
  };
  if (sample.invalidReason === pb.InvalidReason.UNSPECIFIED) {
    return { kind: 'scored', ...base, shownScores: sample.shownScores, scores: sample.scores };
  }
  const reason = invalidTable.from(sample.invalidReason) as SampleInvalidReason;
  if (!sampleInvalidReasons.includes(reason)) throw new RangeError(`sample: ${reason} is a verdict's reason`);
  return { kind: 'invalid', ...base, reason, detail: sample.invalidDetail };
}

/** A rule as its fields; absent: UNSPECIFIED. */
export function stopToProto(stop: Stop | undefined): { rule: pb.StopRule; error: number | undefined } {
  if (stop === undefined) return { rule: pb.StopRule.UNSPECIFIED, error: undefined };
  return { rule: stopRuleTable.to(stop.rule), error: stop.rule === 'confident' ? stop.error : undefined };
}

export function stopFromProto(rule: pb.StopRule, error: number | undefined): Stop | undefined {
  const word = rule === pb.StopRule.UNSPECIFIED ? 'none' : stopRuleTable.from(rule);
  if (word === 'none') return undefined;
  return word === 'outcome_fixed' ? { rule: word } : { rule: word, error: present(error, 'stop error') };
}

function stoppingToProto({ stop, stopped, kDrawn, samplesSaved }: Stopping): pb.Stopping {
  const why = stopped === undefined ? pb.StopRule.UNSPECIFIED : stopRuleTable.to(stopped);
  return { ...stopToProto(stop), stopped: why, kDrawn, samplesSaved };
}

function stoppingFromProto({ rule, error, stopped, kDrawn, samplesSaved }: pb.Stopping): Stopping {
  const stop = stopFromProto(rule, error);
  if (stop === undefined) throw new RangeError('verdict: stopping has no rule');
  const why = stopped === pb.StopRule.UNSPECIFIED ? 'none' : stopRuleTable.from(stopped);
  return { stop, ...(why !== 'none' && { stopped: why }), kDrawn, samplesSaved };
}

export function verdictToProto(verdict: Verdict): pb.Verdict {
  const valid = verdict.kind === 'valid' ? verdict : undefined;
  return {
    requestId: verdict.requestId,
    invalidReason: verdict.kind === 'valid' ? pb.InvalidReason.UNSPECIFIED : invalidTable.to(verdict.reason),
    rewards: valid
      ? valid.rewards.map(({ value, vote, rank }) => ({ value, vote, rank }))
      : Array.from({ length: verdict.responses }, () => ({ value: undefined, vote: undefined, rank: 0 })),
    ranking: valid ? [...valid.ranking] : [],
    tie: valid?.tie ?? false,
    margin: valid?.margin,
    agreement: valid?.agreement,
    best: valid?.best,
    k: verdict.k,
    kValid: verdict.kValid,
    kKept: verdict.kKept,
    vote: voteMethodTable.to(verdict.vote),
    degraded: verdict.degraded.map((reason) => degradedTable.to(reason)),
    samples: verdict.samples.map((judged) => sampleToProto(judged.sample, judged)),
    usage: { ...verdict.usage },
    durationMs: Math.max(0, Math.round(verdict.durationMs)),
    templateHash: verdict.templateHash,
    models: [...verdict.models],
    metaModel: verdict.metaModel,
    finishedAtMs: verdict.finishedAtMs,
    nonce: verdict.nonce,
    stopping: verdict.stopping && stoppingToProto(verdict.stopping),
    missing: verdict.missing && { ...verdict.missing, why: verdict.missing.why ?? '' },
    judge: verdict.judge && judgeToProto(verdict.judge),
    stored: verdict.stored === true,
  };
}

export function verdictFromProto(verdict: pb.Verdict): Verdict {
  const base = {
    requestId: verdict.requestId,
    responses: verdict.rewards.length,
    k: verdict.k,
    kValid: verdict.kValid,
    kKept: verdict.kKept,
    vote: voteMethodTable.from(verdict.vote),
    degraded: verdict.degraded.map((reason) => degradedTable.from(reason)),
    samples: verdict.samples.map((sample): JudgedSample => ({
      sample: sampleFromProto(sample),
      ...(sample.metaReward !== undefined && { metaReward: sample.metaReward }),
      kept: keptTable.from(sample.kept),
    })),
    usage: verdict.usage ?? { promptTokens: 0, cachedTokens: 0, completionTokens: 0 },
    durationMs: verdict.durationMs,
    templateHash: verdict.templateHash,
    models: verdict.models,
    metaModel: verdict.metaModel,
    finishedAtMs: verdict.finishedAtMs,
    nonce: verdict.nonce,
    ...(verdict.stopping && { stopping: stoppingFromProto(verdict.stopping) }),
    ...(verdict.missing && { missing: missingOf(verdict.missing) }),
    ...(verdict.judge && { judge: judgeFromProto(verdict.judge) }),
    ...(verdict.stored && { stored: true as const }),
  };
  if (verdict.invalidReason !== pb.InvalidReason.UNSPECIFIED) {
    const reason = invalidTable.from(verdict.invalidReason);
    return { kind: 'invalid', ...base, reason: reason === 'quorum_not_met' ? reason : 'no_valid_sample' };
  }
  return {
    kind: 'valid',
    ...base,
    rewards: verdict.rewards.map(({ value, vote, rank }) => ({
      value: present(value, 'verdict: rewards.value'),
      vote: present(vote, 'verdict: rewards.vote'),
      rank,
    })),
    ranking: verdict.ranking,
    best: present(verdict.best, 'verdict: best'),
    tie: verdict.tie,
    ...(verdict.margin !== undefined && { margin: verdict.margin }),
    ...(verdict.agreement !== undefined && { agreement: verdict.agreement }),
  };
}

function missingOf({ notAsked, waiting, unfinished, why }: pb.Missing): Missing {
  return { notAsked, waiting, unfinished, ...(why !== '' && { why }) };
}

/** What is valid holds all its numbers; what does not is corrupt, and no number is made up for it (promise P7). */
function present(value: number | undefined, field: string): number {
  if (value === undefined) throw new RangeError(`${field} is missing`);
  return value;
}
