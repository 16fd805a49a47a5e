// Balance: what to do about a judge that is right much more often than wrong, or the other way round.
//
//   B1. Only the training part is changed: validation and test keep the shares that the meta RM will meet in service.
//   B2. `down` drops rows of the larger class until both are equal; which ones depends on their keys and the seed, not on their order.
//   B3. `weight` drops nothing: a row's weight is rows / (2 x rows of its class), so each class weighs the same and the mean is 1.
//   B4. Where a class is missing there is nothing to balance: all rows stay, with weight 1.

import { deriveSeed } from '../grm/seed.js';
import type { Split } from './split.js';

export const balances = ['weight', 'down', 'none'] as const;
export type Balance = (typeof balances)[number];

export interface Labelled {
  /** Unlike every other row's. */
  readonly key: string;
  readonly label: 0 | 1;
  readonly split: Split;
}

export interface Share {
  readonly kept: boolean;
  readonly weight: number;
}

const whole: Share = { kept: true, weight: 1 };
const dropped: Share = { kept: false, weight: 0 };

/** One share per row, in the rows' order. */
export function balance(rows: readonly Labelled[], how: Balance, seed: number): readonly Share[] {
  const train = rows.filter(({ split }) => split === 'train');
  const ones = train.filter(({ label }) => label === 1).length;
  const sizes = [train.length - ones, ones] as const;
  if (how === 'none' || sizes[0] === 0 || sizes[1] === 0) return rows.map(() => whole);
  if (how === 'weight')
    return rows.map(({ split, label }) =>
      split === 'train' ? { kept: true, weight: train.length / (2 * sizes[label]) } : whole,
    );
  const larger = sizes[1] > sizes[0] ? 1 : 0;
  const chosen = new Set(
    train
      .filter(({ label }) => label === larger)
      .map(({ key }) => ({ key, rank: deriveSeed('balance', seed, key) }))
      .sort((a, b) => a.rank - b.rank || (a.key < b.key ? -1 : 1))
      .slice(0, Math.min(...sizes))
      .map(({ key }) => key),
  );
  return rows.map(({ split, label, key }) =>
    split === 'train' && label === larger && !chosen.has(key) ? dropped : whole,
  );
}
