// Shared cache: what could be found of prompts, were there one prefix cache of unlimited size for all engines.

import { PrefixCache, type Lookup } from '../services/fake-engine/prefix-cache.js';

/**
 * Prompt tokens of `during` that such a cache finds, in the engines' own blocks: no cache finds more, whatever the order in which the prompts
 * come, since every block has to be evaluated once.
 * @param before prompts that were evaluated earlier
 */
export function findableTokens(before: readonly Lookup[], during: readonly Lookup[], blockTokens: number): number {
  const cache = new PrefixCache({ capacityBlocks: Infinity, blockTokens });
  const look = ({ keys, promptTokens }: Lookup): void => void cache.acquire(keys, promptTokens, 0);
  before.forEach(look);
  const already = cache.hitsTokens;
  // The last block of a prompt is evaluated anew by that prompt (C2), and found by longer ones after it.
  during.toSorted((a, b) => a.promptTokens - b.promptTokens).forEach(look);
  return cache.hitsTokens - already;
}
