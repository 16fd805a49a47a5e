// Split: which part of the data an item belongs to. By item and never by sample: samples of one item share its text, and a meta RM that saw
// one of them in training has seen the others.
//
//   D1. The part depends on the item's content and the seed alone: not on its id, its place, its file or the order of its responses.
//       So the same item from two files, or drawn again, never stands on both sides.
//   D2. With `by: 'query'` all items with the same conversation stand together, for data sets with many pairs to a prompt.

import type { Content } from '../grm/query.js';
import { deriveSeed } from '../grm/seed.js';

export const splits = ['train', 'validation', 'test'] as const;
export type Split = (typeof splits)[number];

export type SplitBy = 'item' | 'query';

export interface SplitShares {
  /** 0..1; what validation and test leave is for training. */
  readonly validation: number;
  readonly test: number;
}

/** Sixteen hexadecimal digits that stand for what is judged (D1). */
export function itemKey({ messages, responses }: Content, by: SplitBy = 'item'): string {
  const turns = messages.map(({ role, content }) => [role, content]);
  const text = JSON.stringify(by === 'query' ? [turns] : [turns, [...responses].sort()]);
  const half = (salt: string): string => deriveSeed(salt, text).toString(16).padStart(8, '0');
  return `${half('item')}${half('item again')}`;
}

const wordSpan = 0x1_0000_0000;

export function splitOf(key: string, seed: number, { validation, test }: SplitShares): Split {
  const point = deriveSeed('split', seed, key) / wordSpan;
  if (point < test) return 'test';
  return point < test + validation ? 'validation' : 'train';
}
