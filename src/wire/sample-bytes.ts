// Sample bytes: a sample that came as bytes and goes out again (in a verdict, in a meta task) goes out as those bytes, encoded once in its life.
//
// What the vote adds stands behind them: protobuf allows a message's fields in any order.

import { BinaryWriter } from '@bufbuild/protobuf/wire';
import type { Sample } from '../grm/sample.js';
import type { JudgedSample, Verdict } from '../grm/verdict.js';
import { limits } from '../limits.js';
import { keptTable, sampleFromProto, sampleToProto, verdictToProto } from './convert.js';
import { withFields } from './fields.js';
import * as pb from './gen/grm/v1/judgement.js';

const bytesOf = new WeakMap<Sample, Uint8Array>();

export function decodeSample(bytes: Uint8Array): Sample {
  const message = pb.Sample.decode(bytes);
  const sample = sampleFromProto(message);
  const unjudged = message.metaReward === undefined && message.kept === pb.KeptReason.UNSPECIFIED;
  // A copy: what came is part of a larger buffer. Big ones are rare, and would double what a request holds.
  if (unjudged && bytes.length <= limits.inlineContentCharsMax * 3) bytesOf.set(sample, new Uint8Array(bytes));
  return sample;
}

export function encodeSample(sample: Sample): Uint8Array {
  return bytesOf.get(sample) ?? pb.Sample.encode(sampleToProto(sample)).finish();
}

/** Field of Verdict.samples, and tags of Sample.meta_reward and Sample.kept: field number and wire type. */
const samplesField = 14;
const tag = { metaReward: (10 << 3) | 1, kept: 11 << 3 } as const;

export function encodeVerdict(verdict: Verdict): Uint8Array {
  const head = pb.Verdict.encode(verdictToProto({ ...verdict, samples: [] })).finish();
  return withFields(head, samplesField, verdict.samples.map(judgedBytes));
}

function judgedBytes({ sample, metaReward, kept }: JudgedSample): readonly Uint8Array[] {
  const said = new BinaryWriter();
  if (metaReward !== undefined) said.uint32(tag.metaReward).double(metaReward);
  return [encodeSample(sample), said.uint32(tag.kept).int32(keptTable.to(kept)).finish()];
}
