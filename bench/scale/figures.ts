// Figures: what is made of counts: quantiles, Jain's index, shares against weights.

/** @param sorted ascending; NaN when empty */
export function quantile(sorted: ArrayLike<number>, share: number): number {
  if (sorted.length === 0) return NaN;
  return sorted[Math.min(sorted.length - 1, Math.floor(sorted.length * share))]!;
}

/** Jain, Chiu and Hawe 1984: 1 when all are alike, 1/n when one has everything. */
export function jain(values: readonly number[]): number {
  const sum = values.reduce((total, value) => total + value, 0);
  const squares = values.reduce((total, value) => total + value * value, 0);
  return squares === 0 ? NaN : (sum * sum) / (values.length * squares);
}

export interface Share {
  readonly name: string;
  /** Of what all together got, and of all weights. */
  readonly share: number;
  readonly due: number;
}

export function shares(
  got: readonly { readonly name: string; readonly count: number; readonly weight: number }[],
): Share[] {
  const counts = got.reduce((sum, { count }) => sum + count, 0);
  const weights = got.reduce((sum, { weight }) => sum + weight, 0);
  return got.map(({ name, count, weight }) => ({
    name,
    share: counts === 0 ? 0 : count / counts,
    due: weight / weights,
  }));
}
