// Trunks: the evaluated prompts that samples are forked from.
//
// A trunk is a sequence that holds a prompt but its last token, and never generates. A few are kept warm after use: the next job's
// prompt (another permutation of the same request, the same instructions) starts from the longest prefix that any of them shares.
//
//   K1. While a trunk is held its tokens do not change.
//   K2. Jobs with the same prompt hold the same trunk, also while it is still being evaluated.
//   K3. Evaluation goes on in pieces and stops when nobody holds the trunk any more; what was evaluated stays a usable prefix.
//   K4. The trunk overwritten is the one unused for longest; with all held a job waits until one is released or it is aborted.

import type { LlamaContextSequence, Token } from 'node-llama-cpp';
import { limits } from '../limits.js';
import type { Fork } from './llama-fork.js';

export interface Hold {
  readonly sequence: LlamaContextSequence;
  /** What the trunk holds; the same array for all who share it. */
  readonly tokens: readonly Token[];
  /** How many of them were there already. */
  readonly reusedTokens: number;
  release(): void;
}

interface Trunk {
  readonly sequence: LlamaContextSequence;
  /** The prompt it holds or grows towards; undefined when its growth was abandoned. */
  tokens: readonly Token[] | undefined;
  growth: Promise<number> | undefined;
  holders: number;
  usedAt: number;
}

export class Trunks {
  readonly #trunks: readonly Trunk[];
  readonly #fork: Fork;
  #waiting: (() => void)[] = [];
  #uses = 0;

  constructor(sequences: readonly LlamaContextSequence[], fork: Fork) {
    this.#trunks = sequences.map((sequence) => ({ sequence, tokens: [], growth: undefined, holders: 0, usedAt: 0 }));
    this.#fork = fork;
  }

  get tokensHeld(): number {
    return this.#trunks.reduce((sum, trunk) => sum + trunk.sequence.nextTokenIndex, 0);
  }

  /** Evaluates `prefix` (at least one token) unless a trunk holds it. Undefined = aborted first. Throws when evaluation fails. */
  async hold(prefix: readonly Token[], signal: AbortSignal): Promise<Hold | undefined> {
    while (!signal.aborted) {
      const same = this.#trunks.find((trunk) => trunk.tokens !== undefined && equal(trunk.tokens, prefix));
      const trunk = same ?? this.#leastRecent();
      if (trunk === undefined) {
        await this.#released(signal);
        continue;
      }
      trunk.holders++;
      trunk.usedAt = ++this.#uses;
      if (same === undefined) {
        trunk.tokens = prefix;
        trunk.growth = this.#grow(trunk, prefix);
      }
      return await this.#grown(trunk, same !== undefined, signal);
    }
    return undefined;
  }

  async #grown(trunk: Trunk, joined: boolean, signal: AbortSignal): Promise<Hold | undefined> {
    let held = true;
    const release = (): void => {
      if (!held) return;
      held = false;
      trunk.holders--;
      this.#wake();
    };
    const tokens = trunk.tokens ?? [];
    try {
      const reusedTokens = await untilAborted(trunk.growth ?? Promise.resolve(tokens.length), signal);
      if (reusedTokens === undefined) {
        release();
        return undefined;
      }
      return { sequence: trunk.sequence, tokens, reusedTokens: joined ? tokens.length : reusedTokens, release };
    } catch (error) {
      release();
      throw error;
    }
  }

  async #grow(trunk: Trunk, prefix: readonly Token[]): Promise<number> {
    try {
      await this.#startFromLongest(trunk, prefix);
      const reused = await rewind(trunk.sequence, prefix);
      for (let at = reused; at < prefix.length; at += limits.llamaPrefillTokensMax) {
        if (trunk.holders === 0) {
          trunk.tokens = undefined;
          break;
        }
        const piece = prefix.slice(at, at + limits.llamaPrefillTokensMax);
        await trunk.sequence.evaluateWithoutGeneratingNewTokens(piece);
      }
      return reused;
    } catch (error) {
      trunk.tokens = undefined;
      throw error;
    } finally {
      trunk.growth = undefined;
      this.#wake();
    }
  }

  /** Copies the trunk that shares most with `prefix`, when another one shares more than this one does. */
  async #startFromLongest(trunk: Trunk, prefix: readonly Token[]): Promise<void> {
    let longest = trunk;
    let sharedMax = sharedTokens(trunk.sequence, prefix);
    for (const other of this.#trunks) {
      if (other === trunk || other.growth !== undefined) continue;
      const shared = sharedTokens(other.sequence, prefix);
      if (shared > sharedMax) [longest, sharedMax] = [other, shared];
    }
    if (longest === trunk) return;
    longest.holders++;
    try {
      await this.#fork(longest.sequence, trunk.sequence);
    } finally {
      longest.holders--;
    }
  }

  #leastRecent(): Trunk | undefined {
    const free = this.#trunks.filter((trunk) => trunk.holders === 0 && trunk.growth === undefined);
    return free.sort((a, b) => a.usedAt - b.usedAt)[0];
  }

  async #released(signal: AbortSignal): Promise<void> {
    await untilAborted(new Promise<void>((resolve) => this.#waiting.push(resolve)), signal);
  }

  #wake(): void {
    const waiting = this.#waiting;
    this.#waiting = [];
    for (const wake of waiting) wake();
  }
}

/** Cuts the sequence to what it shares with `tokens`; the number of tokens that stay. */
export async function rewind(sequence: LlamaContextSequence, tokens: readonly Token[]): Promise<number> {
  const length = sequence.nextTokenIndex;
  const shared = sharedTokens(sequence, tokens);
  if (shared === length) return shared;
  // Recurrent and sliding-window states cannot be cut: the library would evaluate the rest of the prefix again, in one piece.
  if (shared === 0 || sequence.needsCheckpoints) {
    await sequence.clearHistory();
    return 0;
  }
  await sequence.eraseContextTokenRanges([{ start: shared, end: length }]);
  return sequence.nextTokenIndex;
}

function sharedTokens(sequence: LlamaContextSequence, tokens: readonly Token[]): number {
  const held = sequence.contextTokens;
  const end = Math.min(held.length, tokens.length);
  for (let at = 0; at < end; at++) if (held[at] !== tokens[at]) return at;
  return end;
}

function equal(a: readonly Token[], b: readonly Token[]): boolean {
  return a === b || (a.length === b.length && a.every((token, at) => token === b[at]));
}

/** The promise's value, or undefined as soon as the signal aborts (the promise's later failure is then nobody's). */
async function untilAborted<T>(promise: Promise<T>, signal: AbortSignal): Promise<T | undefined> {
  if (signal.aborted) {
    promise.catch(() => undefined);
    return undefined;
  }
  let stop: () => void = () => undefined;
  const aborted = new Promise<undefined>((resolve) => {
    stop = () => resolve(undefined);
    signal.addEventListener('abort', stop, { once: true });
  });
  try {
    return await Promise.race([promise, aborted]);
  } finally {
    signal.removeEventListener('abort', stop);
  }
}
