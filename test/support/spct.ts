// Spct: items and trajectories for tests.

import { makeFailedSample, makeSample } from '../../src/grm/make-sample.js';
import type { SampleInvalidReason } from '../../src/grm/sample.js';
import type { Label } from '../../src/spct/label.js';
import type { SampledItem, Trajectory } from '../../src/spct/record.js';
import { content, provenance } from './judgement.js';

/** A trajectory that gives these scores, in the order shown, or that says `text`, or that never came for a reason. */
export function trajectory(
  what: readonly number[] | string | { readonly reason: SampleInvalidReason },
  more: { readonly index?: number; readonly hinted?: boolean; readonly permutation?: readonly number[] } = {},
): Trajectory {
  const { index = 0, hinted = false } = more;
  const permutation = more.permutation ?? (Array.isArray(what) ? what.map((_, place) => place) : [0, 1]);
  const from = provenance({ permutation, worker: '', engine: '', queueMs: 0, engineMs: 0 });
  const text =
    typeof what === 'string'
      ? what
      : `Specific Criteria:\nTruth (100%)\nAnalysis:\nNumber ${index}.\nScores: \\boxed{${Array.isArray(what) ? what.join(', ') : ''}}`;
  const sample =
    typeof what === 'object' && 'reason' in what
      ? makeFailedSample(index, what.reason, 'it broke', from)
      : makeSample(index, text, from);
  return { sample, hinted, requestId: `r${hinted ? 1 : 0}`, nonce: 'a1b2c3d4' };
}

export function sampledItem(
  trajectories: readonly Trajectory[],
  label: Label = { kind: 'best', n: 2, best: 0 },
  more: Partial<SampledItem> = {},
): SampledItem {
  const responses = Array.from({ length: label.n }, (_, index) => `response ${index}`);
  return { kind: 'sampled', content: content(responses), label, trajectories, ...more };
}
