import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { type Allocation, PrefixCache } from '../../../services/fake-engine/prefix-cache.js';
import { countTokens } from '../../../services/fake-engine/tokens.js';

const take = (cache: PrefixCache, prompt: string, completionTokens = 10) =>
  cache.acquire(cache.keysOf(prompt), countTokens(prompt), completionTokens);

describe('prefix cache', () => {
  it('finds the shared head of two prompts, in whole blocks', () => {
    const cache = new PrefixCache({ capacityBlocks: 100, blockTokens: 16 });
    const head = 'h'.repeat(64 * 3 + 20);
    take(cache, `${head}first`);
    const second = take(cache, `${head}other`);
    expect(second?.cachedTokens).toBe(48);
    expect(cache.hitsTokens).toBe(48);
    expect(cache.queriesTokens).toBe(2 * countTokens(`${head}first`));
  });

  it('does not find a block behind another head', () => {
    const cache = new PrefixCache({ capacityBlocks: 100, blockTokens: 16 });
    take(cache, `${'a'.repeat(64)}${'same'.repeat(16)}`);
    expect(take(cache, `${'b'.repeat(64)}${'same'.repeat(16)}`)?.cachedTokens).toBe(0);
  });

  it('C2: a prompt that is wholly cached computes its last block anew', () => {
    const cache = new PrefixCache({ capacityBlocks: 100, blockTokens: 16 });
    const prompt = 'p'.repeat(128);
    take(cache, prompt);
    expect(take(cache, prompt)?.cachedTokens).toBe(16);
  });

  it('C1: idle blocks are evicted, oldest first, and the tail of a prompt before its head', () => {
    const cache = new PrefixCache({ capacityBlocks: 6, blockTokens: 16 });
    const old = take(cache, 'o'.repeat(64 * 4), 0)!;
    cache.release(old);
    const live = take(cache, 'n'.repeat(64 * 3), 0)!;
    expect(live.cachedTokens).toBe(0);
    cache.release(live);
    // Three of the four old blocks fit beside the new ones.
    expect(take(cache, 'o'.repeat(64 * 4), 0)?.cachedTokens).toBe(48);
  });

  it('C1, C3: never holds more than its capacity, and counters only grow', () => {
    const action = fc.record({ prompt: fc.string({ maxLength: 400 }), completion: fc.nat(60), release: fc.nat(5) });
    fc.assert(
      fc.property(fc.array(action, { maxLength: 40 }), (actions) => {
        const cache = new PrefixCache({ capacityBlocks: 12, blockTokens: 4 });
        const held: Allocation[] = [];
        let [queries, hits] = [0, 0];
        for (const { prompt, completion, release } of actions) {
          const allocation = take(cache, prompt, completion);
          if (allocation) held.push(allocation);
          else expect(cache.usageRatio * 12 + (prompt.length / 4 + completion) / 4 + 2).toBeGreaterThan(12);
          const given = held[release];
          if (given) cache.release(held.splice(release, 1)[0]!);
          expect(cache.usageRatio).toBeLessThanOrEqual(1);
          expect(cache.queriesTokens).toBeGreaterThanOrEqual(queries);
          expect(cache.hitsTokens).toBeGreaterThanOrEqual(hits);
          expect(cache.hitsTokens).toBeLessThanOrEqual(cache.queriesTokens);
          [queries, hits] = [cache.queriesTokens, cache.hitsTokens];
        }
        for (const allocation of held) cache.release(allocation);
        expect(cache.usageRatio).toBe(0);
      }),
    );
  });
});
