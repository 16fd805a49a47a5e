// Meta: which samples the meta RM lets into the vote (arXiv 2504.02495, meta RM guided voting).

export interface Ranked {
  /** The sample's place in the plan. */
  readonly index: number;
  /** The meta RM's logit, finite. */
  readonly metaReward: number;
}

/** How many samples the vote keeps: what the plan says, else half of the valid samples, rounded up; at least one. */
export function keptByDefault(kValid: number): number {
  return Math.max(1, Math.ceil(kValid / 2));
}

/** Higher meta reward first, then lower sample index: a total order, so arrival never matters. */
export function rankByMeta<T extends Ranked>(samples: readonly T[]): T[] {
  return [...samples].sort((a, b) => b.metaReward - a.metaReward || a.index - b.index);
}

/**
 * The samples that vote, best first. `kValid` counts all valid samples, with a meta reward or without; by default all of them have one. Where fewer
 * have one than the rule would keep, all that have one vote.
 */
export function keepByMeta<T extends Ranked>(
  samples: readonly T[],
  kMeta: number | undefined,
  kValid = samples.length,
): T[] {
  return rankByMeta(samples).slice(0, Math.max(1, kMeta ?? keptByDefault(kValid)));
}

/** Softmax of meta rewards, in the order given: weights that sum to 1. Shifted by the maximum, so that no logit overflows. */
export function metaWeights(metaRewards: readonly number[]): number[] {
  const top = metaRewards.reduce((max, reward) => Math.max(max, reward), Number.NEGATIVE_INFINITY);
  const raised = metaRewards.map((reward) => Math.exp(reward - top));
  const total = raised.reduce((sum, weight) => sum + weight, 0);
  return raised.map((weight) => weight / total);
}
