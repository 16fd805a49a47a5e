// Prefix cache and KV blocks, counted as vLLM counts them: whole blocks, keyed by everything before them.
//
//   C1. live + idle <= capacity: a block in use is never evicted, an idle one goes when room is needed, least recently used first.
//   C2. At least one prompt token is computed anew, so a prompt that is wholly cached misses its last block.
//   C3. `queriesTokens` and `hitsTokens` only grow, and hits never exceed queries.
import { joinWords } from './random.js';
import { tokenUnits } from './tokens.js';

/** Blocks that one sequence holds until it is released. */
export interface Allocation {
  readonly sharedKeys: readonly number[];
  readonly privateBlocks: number;
  readonly cachedTokens: number;
}

/** A prompt that was looked up. */
export interface Lookup {
  /** Of its full blocks. */
  readonly keys: readonly number[];
  readonly promptTokens: number;
}

export class PrefixCache {
  readonly capacityBlocks: number;
  readonly blockTokens: number;
  /** The first lookups, in order, as many as `lookupsMax`. */
  readonly lookups: Lookup[] = [];
  readonly #lookupsMax: number;
  queriesTokens = 0;
  hitsTokens = 0;
  /** Uses per block in use. */
  readonly #live = new Map<number, number>();
  /** Blocks no sequence uses, oldest first. */
  readonly #idle = new Set<number>();
  #privateBlocks = 0;

  constructor(options: {
    readonly capacityBlocks: number;
    readonly blockTokens: number;
    /** How many lookups are kept. Default 0. */
    readonly lookupsMax?: number;
  }) {
    this.#lookupsMax = options.lookupsMax ?? 0;
    this.capacityBlocks = options.capacityBlocks;
    this.blockTokens = options.blockTokens;
  }

  get usageRatio(): number {
    return (this.#live.size + this.#privateBlocks) / this.capacityBlocks;
  }

  /** The keys of a prompt's full blocks. */
  keysOf(prompt: string): readonly number[] {
    const blockUnits = tokenUnits(this.blockTokens);
    const keys: number[] = [];
    let low = 0x811c9dc5;
    let high = 0x1b873593;
    for (let at = 0; at < prompt.length; at++) {
      const code = prompt.charCodeAt(at);
      low = Math.imul(low ^ code, 0x01000193);
      high = Math.imul(high ^ code, 0x5f356495) + 1;
      if ((at + 1) % blockUnits === 0) keys.push(joinWords(low, high));
    }
    return keys;
  }

  /** Takes the blocks of a prompt and of all it may generate; undefined when they do not fit now. */
  acquire(keys: readonly number[], promptTokens: number, completionTokens: number): Allocation | undefined {
    const reusable = Math.floor(Math.max(0, promptTokens - 1) / this.blockTokens);
    let cachedBlocks = 0;
    while (cachedBlocks < Math.min(reusable, keys.length) && this.#has(keys[cachedBlocks]!)) cachedBlocks++;

    const privateBlocks = Math.ceil((promptTokens + completionTokens) / this.blockTokens) - keys.length;
    const newlyLive = keys.filter((key) => !this.#live.has(key)).length;
    if (this.#live.size + this.#privateBlocks + newlyLive + privateBlocks > this.capacityBlocks) return undefined;

    for (const key of keys) {
      this.#live.set(key, (this.#live.get(key) ?? 0) + 1);
      this.#idle.delete(key);
    }
    this.#privateBlocks += privateBlocks;
    this.#evict();
    const cachedTokens = cachedBlocks * this.blockTokens;
    this.queriesTokens += promptTokens;
    this.hitsTokens += cachedTokens;
    if (this.lookups.length < this.#lookupsMax) this.lookups.push({ keys, promptTokens });
    return { sharedKeys: keys, privateBlocks, cachedTokens };
  }

  release(allocation: Allocation): void {
    this.#privateBlocks -= allocation.privateBlocks;
    // From the end: a prompt's head serves more prompts than its tail, so it should be evicted last.
    for (const key of allocation.sharedKeys.toReversed()) {
      const uses = this.#live.get(key)! - 1;
      if (uses > 0) this.#live.set(key, uses);
      else {
        this.#live.delete(key);
        this.#idle.add(key);
      }
    }
    this.#evict();
  }

  #has(key: number): boolean {
    return this.#live.has(key) || this.#idle.has(key);
  }

  #evict(): void {
    for (const oldest of this.#idle) {
      if (this.#live.size + this.#privateBlocks + this.#idle.size <= this.capacityBlocks) return;
      this.#idle.delete(oldest);
    }
  }
}
