// Detail: as much of a verdict as was asked for, and never more than one message holds.

import type { Sample } from '../grm/sample.js';
import type { JudgedSample, Verdict } from '../grm/verdict.js';
import { limits } from '../limits.js';
import { sampleToProto, verdictToProto } from '../wire/convert.js';
import { KeptReason, type Sample as WireSample, type Verdict as WireVerdict } from '../wire/gen/grm/v1/judgement.js';
import { Detail } from '../wire/gen/grm/v1/reward.js';

export interface Sent<T> {
  readonly value: T;
  readonly detail: Detail;
}

/** For a verdict's numbers, names and hashes beside the texts: one sample's worth is far below this. */
const frameBytesPerSample = 4 * 1024;

/** `besidesBytes` is what else stands in the message. */
export function verdictAt(verdict: Verdict, asked: Detail, besidesBytes = 0): Sent<WireVerdict> {
  if (asked === Detail.REWARDS) return { value: verdictToProto({ ...verdict, samples: [] }), detail: asked };
  const detail = asked === Detail.FULL && !fits(verdict.samples, besidesBytes) ? Detail.SCORES : asked;
  if (detail === Detail.FULL) return { value: verdictToProto(verdict), detail };
  const samples = verdict.samples.map((judged) => ({ ...judged, sample: withoutTexts(judged.sample) }));
  return { value: verdictToProto({ ...verdict, samples }), detail };
}

/** A sample on its way, not voted on yet. */
export function sampleAt(judged: JudgedSample, asked: Detail): WireSample {
  const sample = asked === Detail.FULL ? judged.sample : withoutTexts(judged.sample);
  return { ...sampleToProto(sample, judged), kept: KeptReason.UNSPECIFIED };
}

function withoutTexts(sample: Sample): Sample {
  return { ...sample, text: '', principles: '', critique: '' };
}

/** Counts characters first: nearly every verdict fits whatever its script. */
function fits(samples: readonly JudgedSample[], besidesBytes: number): boolean {
  const roomBytes = limits.grpcMessageBytesMax - besidesBytes - frameBytesPerSample * (samples.length + 1);
  const weigh = (measure: (text: string) => number) =>
    samples.reduce(
      (sum, { sample }) => sum + measure(sample.text) + measure(sample.principles) + measure(sample.critique),
      0,
    );
  const utf8BytesPerCharMax = 3;
  return (
    weigh((text) => text.length * utf8BytesPerCharMax) <= roomBytes ||
    weigh((text) => Buffer.byteLength(text)) <= roomBytes
  );
}
