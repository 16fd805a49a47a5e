// Make sample: the two ways in which a Sample comes to be, so that nobody builds one by hand and forgets that invalid is data (promise P7).

import { mapScores, parseOutput } from './parse.js';
import type { ReasoningMarkers } from './reasoning.js';
import type { InvalidSample, Provenance, Sample, SampleInvalidReason } from './sample.js';

/** A generation that came back, judged on its text. `provenance.permutation` is what the prompt was rendered with and tells how many scores are due. */
export function makeSample(
  index: number,
  text: string,
  provenance: Provenance,
  reasoning?: readonly ReasoningMarkers[],
): Sample {
  const parsed = parseOutput(text, provenance.permutation.length, provenance.finishReason, reasoning);
  const { principles, critique } = parsed;
  const base = { index, text, principles, critique, ...provenance };
  if (parsed.kind === 'invalid') return { kind: 'invalid', reason: parsed.reason, detail: parsed.detail, ...base };
  const { shownScores } = parsed;
  return { kind: 'scored', shownScores, scores: mapScores(shownScores, provenance.permutation), ...base };
}

/** A sample that no engine could give: `detail` says more, for people. */
export function makeFailedSample(
  index: number,
  reason: SampleInvalidReason,
  detail: string,
  provenance: Provenance,
): InvalidSample {
  return { kind: 'invalid', reason, detail, index, text: '', principles: '', critique: '', ...provenance };
}
