import fc from 'fast-check';
import { expect, test } from 'vitest';
import { findableTokens } from '../../../bench/shared-cache.js';
import { PrefixCache, type Lookup } from '../../../services/fake-engine/prefix-cache.js';
import { countTokens } from '../../../services/fake-engine/tokens.js';

const blockTokens = 4;
const lookupOf = (prompt: string): Lookup => ({
  keys: new PrefixCache({ capacityBlocks: 1, blockTokens }).keysOf(prompt),
  promptTokens: countTokens(prompt),
});
/** A block of four tokens of four units. */
const block = (letter: string): string => letter.repeat(16);

test('what all prompts begin with is evaluated once, and so is the rest of each', () => {
  const [one, two] = ['b', 'c'].map((letter) => lookupOf(`${block('a')}${block(letter)}end`));
  // The second prompt finds the shared block, each repetition both.
  expect(findableTokens([], [one!, two!, one!, two!], blockTokens)).toBe(4 + 2 * 8);
  // Instructions that were there before cost nothing.
  expect(findableTokens([one!], [two!], blockTokens)).toBe(4);
  expect(findableTokens([one!], [], blockTokens)).toBe(0);
});

test('no caches of any size, whichever of them gets a prompt and in whatever order, find more', () => {
  const prompt = fc.array(fc.constantFrom('a', 'b'), { maxLength: 4 }).map((letters) => letters.map(block).join(''));
  const asked = fc.record({
    prompt: fc.tuple(prompt, fc.constantFrom('', 'end')).map((parts) => parts.join('')),
    engine: fc.nat(2),
  });
  const many = fc.array(asked, { maxLength: 12 });
  fc.assert(
    fc.property(many, many, fc.integer({ min: 8, max: 60 }), (before, during, capacityBlocks) => {
      const caches = [0, 1, 2].map(() => new PrefixCache({ capacityBlocks, blockTokens }));
      const hits = (): number => caches.reduce((sum, cache) => sum + cache.hitsTokens, 0);
      const ask = (all: typeof before): void => {
        for (const { prompt, engine } of all) {
          const { keys, promptTokens } = lookupOf(prompt);
          const held = caches[engine]!.acquire(keys, promptTokens, 0);
          if (held) caches[engine]!.release(held);
        }
      };
      ask(before);
      const already = hits();
      ask(during);
      const [earlier, later] = [before, during].map((all) => all.map(({ prompt }) => lookupOf(prompt)));
      expect(hits() - already).toBeLessThanOrEqual(findableTokens(earlier!, later!, blockTokens));
    }),
    { numRuns: 1_000 },
  );
});
