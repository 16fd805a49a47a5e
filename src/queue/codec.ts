// Codec: domain values <-> the bytes of grm.work.v1. Decoders throw on what they cannot read (RangeError or a protobuf error);
// the caller says which message it was.
//
// A prompt is encoded once per Content object, a sample once in its life: a message is its own fields followed by theirs, which protobuf
// allows in any order.

import type { Content } from '../grm/query.js';
import type { Verdict } from '../grm/verdict.js';
import { limits } from '../limits.js';
import * as judgement from '../wire/gen/grm/v1/judgement.js';
import * as pb from '../wire/gen/grm/work/v1/work.js';
import {
  classTable,
  contentFromProto,
  contentToProto,
  sampleFromProto,
  stopFromProto,
  stopToProto,
  verdictFromProto,
  voteMethodTable,
} from '../wire/convert.js';
import { encoded } from '../wire/encoded.js';
import { decodeAppend, withField, withFields } from '../wire/fields.js';
import { judgeFromProto, judgeToProto } from '../wire/judge.js';
import { encodeSample } from '../wire/sample-bytes.js';
import { byOrder } from '../work/plan.js';
import type { DeadLetter, MetaResult, MetaTask, RequestRecord, Shard, Stage } from '../work/shard.js';

export { decodeAppend, encodeAppend } from '../wire/fields.js';
export { decodeSample, decodeSamples, encodeSample, encodeVerdict } from '../wire/sample-bytes.js';

const encodedContents = new WeakMap<Content, Uint8Array>();

export function encodeContent(content: Content): Uint8Array {
  const known = encodedContents.get(content);
  if (known) return known;
  const bytes = encoded(judgement.Content, contentToProto(content));
  // Bigger ones are encoded once or twice in their life; keeping their bytes would double what a request holds.
  if (bytes.length <= limits.inlineContentCharsMax * 3) encodedContents.set(content, bytes);
  return bytes;
}

export function decodeContent(bytes: Uint8Array): Content {
  return contentFromProto(judgement.Content.decode(bytes));
}

/** Field numbers in work.proto of what is encoded already. */
const field = {
  recordContent: 5,
  shardContent: 11,
  metaItemSample: 2,
  metaTaskContent: 4,
  metaTaskItems: 10,
} as const;

/** `blob` names the object that holds the content instead. */
export function encodeRecord(record: RequestRecord, content: { bytes: Uint8Array } | { blob: string }): Uint8Array {
  const { stop, ...plan } = record.plan;
  const { rule, error } = stopToProto(stop);
  const message = encoded(pb.RequestRecord, {
    requestId: record.requestId,
    digest: record.digest,
    tenant: record.tenant,
    class: classTable.to(record.class),
    content: undefined,
    contentBlob: 'blob' in content ? content.blob : '',
    plan: { ...plan, kMeta: plan.kMeta, vote: voteMethodTable.to(plan.vote), stop: rule, stopError: error },
    nonce: record.nonce,
    owner: record.owner,
    acceptedAtMs: Math.round(record.acceptedAtMs),
    judge: record.judge && judgeToProto(record.judge),
  });
  return withField(message, field.recordContent, 'bytes' in content ? content.bytes : undefined);
}

/** The record, whose content may still stand in a blob. */
export type StoredRecord =
  | { readonly kind: 'whole'; readonly record: RequestRecord }
  | { readonly kind: 'blob'; readonly blob: string; complete(content: Content): RequestRecord };

export function decodeRecord(bytes: Uint8Array): StoredRecord {
  const message = pb.RequestRecord.decode(bytes);
  const { plan } = message;
  if (!plan) throw new RangeError('record: the plan is missing');
  const { kMeta, vote, stop: rule, stopError, ...rest } = plan;
  const stop = stopFromProto(rule, stopError);
  const complete = (content: Content): RequestRecord => ({
    requestId: message.requestId,
    digest: message.digest,
    tenant: message.tenant,
    class: classTable.from(message.class),
    content,
    plan: {
      ...rest,
      vote: voteMethodTable.from(vote),
      ...(kMeta !== undefined && { kMeta }),
      ...(stop !== undefined && { stop }),
    },
    nonce: message.nonce,
    owner: message.owner,
    acceptedAtMs: message.acceptedAtMs,
    ...(message.judge && { judge: judgeFromProto(message.judge) }),
  });
  if (message.content) return { kind: 'whole', record: complete(contentFromProto(message.content)) };
  if (message.contentBlob === '') throw new RangeError('record: it has neither content nor blob');
  return { kind: 'blob', blob: message.contentBlob, complete };
}

/** A permutation that all samples share is said once. */
export function encodeShard(shard: Shard): Uint8Array {
  const { samples } = shard;
  const [first] = byOrder(samples).length === 1 ? samples : [];
  const message = encoded(pb.Shard, {
    requestId: shard.requestId,
    shard: shard.shard,
    samples: (first ? samples.map((each) => ({ ...each, permutation: [] })) : samples) as pb.SampleSpec[],
    permutation: (first?.permutation ?? []) as number[],
    temperature: shard.temperature,
    topP: shard.topP,
    maxTokens: shard.maxTokens,
    deadlineAtMs: Math.round(shard.deadlineAtMs),
    templateHash: shard.templateHash,
    nonce: shard.nonce,
    content: undefined,
    queuedAtMs: Math.round(shard.queuedAtMs),
    class: classTable.to(shard.class),
    run: shard.run,
    lane: first ? shard.lane : '',
    laneOfOrders: first ? '' : shard.lane,
  });
  return withField(message, field.shardContent, shard.content && encodeContent(shard.content));
}

export function decodeShard(bytes: Uint8Array): Shard {
  const { content, class: cls, permutation, samples, laneOfOrders, ...rest } = pb.Shard.decode(bytes);
  if (rest.requestId === '') throw new RangeError('shard: the request id is missing');
  const lane = rest.lane || laneOfOrders;
  if (lane === '') throw new RangeError('shard: it names no lane: a coordinator of an older version wrote it');
  for (const sample of samples) {
    if (sample.permutation.length === 0) sample.permutation = permutation;
    if (sample.permutation.length === 0) throw new RangeError(`shard: sample ${sample.index} has no permutation`);
  }
  return {
    ...rest,
    lane,
    samples,
    class: classTable.from(cls),
    ...(content && { content: contentFromProto(content) }),
  };
}

export function encodeMetaTask(task: MetaTask): Uint8Array {
  const message = encoded(pb.MetaTask, {
    requestId: task.requestId,
    content: undefined,
    deadlineAtMs: Math.round(task.deadlineAtMs),
    nonce: task.nonce,
    queuedAtMs: Math.round(task.queuedAtMs),
    class: classTable.to(task.class),
    run: task.run,
    items: [],
    lane: task.lane,
  });
  const items = task.items.map(({ index, sample }) => [
    withField(encoded(pb.MetaItem, { index, sample: undefined }), field.metaItemSample, sample && encodeSample(sample)),
  ]);
  const withContent = withField(message, field.metaTaskContent, task.content && encodeContent(task.content));
  return withFields(withContent, field.metaTaskItems, items);
}

export function decodeMetaTask(bytes: Uint8Array): MetaTask {
  const { items, content, class: cls, ...rest } = pb.MetaTask.decode(bytes);
  if (rest.requestId === '') throw new RangeError('meta task: the request id is missing');
  if (rest.lane === '') throw new RangeError('meta task: it names no lane: a coordinator of an older version wrote it');
  if (items.length === 0) throw new RangeError('meta task: it has no samples');
  return {
    ...rest,
    class: classTable.from(cls),
    items: items.map(({ index, sample }) => ({ index, ...(sample && { sample: sampleFromProto(sample) }) })),
    ...(content && { content: contentFromProto(content) }),
  };
}

export function encodeMetaResult(result: MetaResult): Uint8Array {
  return encoded(pb.MetaResult, {
    requestId: result.requestId,
    index: result.index,
    metaReward: result.kind === 'ranked' ? result.metaReward : undefined,
    failure: result.kind === 'failed' ? result.failure : '',
    model: result.model,
    worker: result.worker,
    judge: result.judge ?? '',
  });
}

/** All meta rewards of an append to a lane. */
export function decodeMetaResults(append: Uint8Array): readonly MetaResult[] {
  return decodeAppend(append).map(decodeMetaResult);
}

export function decodeMetaResult(bytes: Uint8Array): MetaResult {
  const { metaReward, failure, judge, ...said } = pb.MetaResult.decode(bytes);
  const rest = { ...said, ...(judge !== '' && { judge }) };
  return metaReward === undefined ? { ...rest, kind: 'failed', failure } : { ...rest, kind: 'ranked', metaReward };
}

export function decodeVerdict(bytes: Uint8Array): Verdict {
  return verdictFromProto(judgement.Verdict.decode(bytes));
}

export function encodeDeadLetter(letter: DeadLetter): Uint8Array {
  const { unit, samples, diedAtMs, ...rest } = letter;
  return encoded(pb.DeadLetter, {
    ...rest,
    shard: unit,
    samples: samples as number[],
    diedAtMs: Math.round(diedAtMs),
  });
}

const stages: Readonly<Record<string, Stage>> = { sample: 'sample', meta: 'meta' };

export function decodeDeadLetter(bytes: Uint8Array): DeadLetter {
  const { shard, stage: word, ...rest } = pb.DeadLetter.decode(bytes);
  const stage = stages[word];
  if (stage === undefined) throw new RangeError(`dead letter: unknown stage ${JSON.stringify(word)}`);
  return { ...rest, unit: shard, stage };
}
