// Seed: small deterministic hashing and random numbers (uint32), so that a plan drawn again is the same plan (promise P3).
//
// Nothing here is cryptographic: seeds choose orders and sampling paths, they keep no secrets.

const wordMax = 0xffff_ffff;

/** A bijection on uint32 that spreads every input bit over the word (the finaliser of MurmurHash3, public domain). */
function mix(word: number): number {
  let h = word | 0;
  h = Math.imul(h ^ (h >>> 16), 0x85eb_ca6b);
  h = Math.imul(h ^ (h >>> 13), 0xc2b2_ae35);
  return (h ^ (h >>> 16)) >>> 0;
}

function absorb(state: number, word: number): number {
  return mix(Math.imul(state ^ mix(word), 0x9e37_79b1) + 0x7f4a_7c15);
}

function absorbText(state: number, text: string): number {
  let h = state;
  for (let at = 0; at < text.length; at += 1) h = absorb(h, text.charCodeAt(at));
  // The length closes the part, so that ('ab', 'c') and ('a', 'bc') differ.
  return absorb(h, text.length + 0x1_0000);
}

/** A uint32 that depends on every part and on where one part ends and the next begins. Numbers count as their decimal text. */
export function deriveSeed(base: string, ...parts: readonly (string | number)[]): number {
  let h = absorbText(0x243f_6a88, base);
  for (const part of parts) h = absorbText(h, String(part));
  return h;
}

/**
 * The sampling seed of one sample, 1..2^32-2. The samples of one request never share a seed (a shared seed would draw the same text twice), and
 * 0 and 2^32-1 never come up, because engines read them as "choose one for me".
 */
export function sampleSeed(requestId: string, planSeed: number, index: number): number {
  // Distinct inputs in 1..2^32-2, sent through a bijection; a forbidden output goes through it again, which keeps outputs distinct.
  let seed = 1 + ((deriveSeed(requestId, 'sample', planSeed) + index) % (wordMax - 1));
  do seed = mix(seed ^ 0x5bd1_e995);
  while (seed === 0 || seed === wordMax);
  return seed;
}

/** An endless stream of uint32 (splitmix32). */
export function uint32Stream(seed: number): () => number {
  let state = seed >>> 0;
  return () => {
    state = (state + 0x9e37_79b9) >>> 0;
    return mix(state);
  };
}

/** A shuffled copy (Fisher-Yates); the same seed gives the same order. */
export function seededShuffle<T>(items: readonly T[], seed: number): T[] {
  const next = uint32Stream(seed);
  const shuffled = [...items];
  for (let last = shuffled.length - 1; last > 0; last -= 1) {
    const pick = Math.floor((next() / (wordMax + 1)) * (last + 1));
    [shuffled[last], shuffled[pick]] = [shuffled[pick]!, shuffled[last]!];
  }
  return shuffled;
}
