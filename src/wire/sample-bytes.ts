// Sample bytes: a sample that came as bytes and goes out again (in a verdict, in a meta task) goes out as those bytes, encoded once in its life.
//
// What the vote adds stands behind them: protobuf allows a message's fields in any order.

import type { Sample } from '../grm/sample.js';
import type { JudgedSample, Verdict } from '../grm/verdict.js';
import { limits } from '../limits.js';
import { keptTable, sampleFromProto, sampleToProto, verdictToProto } from './convert.js';
import { encoded } from './encoded.js';
import { decodeAppend, withFields } from './fields.js';
import * as pb from './gen/grm/v1/judgement.js';
import { withoutPieces } from './texts-at.js';

const bytesOf = new WeakMap<Sample, Uint8Array>();
/** Of a sample whose bytes are kept. Bigger ones are rare, and would double what a request holds. */
const keptBytesMax = limits.inlineContentCharsMax * 3;

export function decodeSample(bytes: Uint8Array): Sample {
  // A copy: what came is part of a larger buffer.
  return decodeKept(bytes.length <= keptBytesMax ? new Uint8Array(bytes) : bytes);
}

/** All samples of an append to a lane. */
export function decodeSamples(append: Uint8Array): readonly Sample[] {
  return append.length <= keptBytesMax
    ? decodeAppend(new Uint8Array(append)).map(decodeKept)
    : decodeAppend(append).map(decodeSample);
}

/** @param bytes part of nothing that is larger than keptBytesMax, or larger than that itself */
function decodeKept(bytes: Uint8Array): Sample {
  const message = pb.Sample.decode(bytes);
  const sample = sampleFromProto(message);
  const unjudged = message.metaReward === undefined && message.kept === pb.KeptReason.UNSPECIFIED;
  if (unjudged && bytes.length <= keptBytesMax) bytesOf.set(sample, bytes);
  return sample;
}

export function encodeSample(sample: Sample): Uint8Array {
  return bytesOf.get(sample) ?? encoded(pb.Sample, withoutPieces(sampleToProto(sample)));
}

/** Field of Verdict.samples, and tags of Sample.meta_reward and Sample.kept: field number and wire type. */
const samplesField = 14;
const tag = { metaReward: (10 << 3) | 1, kept: 11 << 3 } as const;

/** As the ledger holds it: that it came from there is said when it does. */
export function encodeVerdict(told: Verdict): Uint8Array {
  const { stored: _, ...verdict } = told;
  const head = encoded(pb.Verdict, verdictToProto({ ...verdict, samples: [] }));
  return withFields(head, samplesField, verdict.samples.map(judgedBytes));
}

/** What the vote says of a sample: its logit, eight bytes in little-endian order, and one of a few small numbers. */
function judgedBytes({ sample, metaReward, kept }: JudgedSample): readonly Uint8Array[] {
  const bytes = encodeSample(sample);
  const keptBytes = Uint8Array.of(tag.kept, keptTable.to(kept));
  if (metaReward === undefined) return [bytes, keptBytes];
  const logit = new DataView(new ArrayBuffer(9));
  logit.setUint8(0, tag.metaReward);
  logit.setFloat64(1, metaReward, true);
  return [bytes, new Uint8Array(logit.buffer), keptBytes];
}
