// Gist: what verdicts and samples say, without who made them and when: equal seeds make these equal (promise P3).

import type { Sample } from '../../src/grm/sample.js';
import type { Verdict } from '../../src/grm/verdict.js';

/** What a sample says, without who drew it, when, and what its engine still knew of the prompt. */
export function essence({
  worker: _worker,
  engine: _engine,
  queueMs: _queueMs,
  engineMs: _engineMs,
  usage: { cachedTokens: _cachedTokens, ...usage },
  ...sample
}: Sample): string {
  return JSON.stringify(Object.entries({ ...sample, usage }).sort(([a], [b]) => (a < b ? -1 : 1)));
}

/** What a verdict says, without who did it and when. */
export function gist(verdict: Verdict): string {
  const { kind, vote, k, kValid, kKept, degraded, samples, stopping } = verdict;
  const kept = samples.map((each) => `${each.sample.index} ${each.kept} ${each.metaReward ?? ''}`);
  const result =
    verdict.kind === 'valid'
      ? [verdict.rewards, verdict.ranking, verdict.best, verdict.tie, verdict.margin, verdict.agreement]
      : [verdict.reason];
  return JSON.stringify([kind, vote, k, kValid, kKept, degraded, kept, result, stopping]);
}
