// Random numbers that come from text: the same text and seed give the same numbers on every machine.

/** A 53-bit hash of `text`, mixed with `seed`. Not for secrets. */
export function hash53(text: string, seed = 0): number {
  let low = 0xdeadbeef ^ seed;
  let high = 0x41c6ce57 ^ seed;
  for (let at = 0; at < text.length; at++) {
    const code = text.charCodeAt(at);
    low = Math.imul(low ^ code, 0x9e3779b1);
    high = Math.imul(high ^ code, 0x5f356495);
  }
  return joinWords(low, high);
}

/** Folds two 32-bit states into one number below 2^53. */
export function joinWords(low: number, high: number): number {
  const a = Math.imul(low ^ (low >>> 16), 0x85ebca6b) ^ Math.imul(high ^ (high >>> 13), 0xc2b2ae35);
  const b = Math.imul(high ^ (high >>> 16), 0x85ebca6b) ^ Math.imul(low ^ (low >>> 13), 0xc2b2ae35);
  return (b & 0x1fffff) * 0x1_0000_0000 + (a >>> 0);
}

/** Gives numbers in [0, 1). */
export type Random = () => number;

/** A small generator with 32 bits of state (mulberry32's step): enough to fake with, nothing more. */
export function seededRandom(seed: number): Random {
  let state = (seed ^ Math.floor(seed / 0x1_0000_0000)) | 0;
  return () => {
    state = (state + 0x6d2b79f5) | 0;
    let mixed = Math.imul(state ^ (state >>> 15), state | 1);
    mixed ^= mixed + Math.imul(mixed ^ (mixed >>> 7), mixed | 61);
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 0x1_0000_0000;
  };
}

/** Gumbel noise: the difference of two is logistic, which gives pairwise accuracy a closed form. */
export function gumbel(random: Random): number {
  return -Math.log(-Math.log(openUnit(random)));
}

/** Logistic noise: it exceeds -x with probability sigmoid(x). */
export function logistic(random: Random): number {
  return logit(openUnit(random));
}

/** ln(p / (1 - p)); infinite at 0 and 1. */
export function logit(probability: number): number {
  return Math.log(probability / (1 - probability));
}

function openUnit(random: Random): number {
  return Math.min(Math.max(random(), 1e-12), 1 - 1e-12);
}
