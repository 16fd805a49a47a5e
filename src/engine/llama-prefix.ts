// Prefix: how the samples of one prompt come to its evaluated state, shared or each for itself.

import type { LlamaContextSequence, Token } from 'node-llama-cpp';
import { limits } from '../limits.js';
import type { Fork } from './llama-fork.js';
import { rewind, type Hold, type Trunks } from './llama-trunk.js';

export interface Prefix {
  /** Brings a lane to the end of the prefix. How many of its tokens need not be evaluated for it; undefined = aborted. */
  enter(lane: LlamaContextSequence, signal: AbortSignal): Promise<number | undefined>;
  /** No sample will enter any more. */
  close(): void;
}

/** A prompt split into what its samples share and the last token, which each evaluates itself to begin. */
export interface SplitPrompt {
  readonly prefix: readonly Token[];
  readonly last: Token;
}

/** The prefix evaluated once in a trunk, for `uses` samples. Undefined = aborted. Throws when evaluation fails. */
export async function sharedPrefix(
  trunks: Trunks,
  fork: Fork,
  prefix: readonly Token[],
  uses: number,
  signal: AbortSignal,
): Promise<Prefix | undefined> {
  const hold = await trunks.hold(prefix, signal);
  if (hold === undefined) return undefined;
  let entered = 0;
  return {
    async enter(lane, enterSignal) {
      // The first one pays for what was not there yet; the others find all of it.
      const cachedTokens = entered++ === 0 ? hold.reusedTokens : prefix.length;
      await branch(lane, hold, fork);
      if (entered >= uses) hold.release();
      return enterSignal.aborted ? undefined : cachedTokens;
    },
    close: () => hold.release(),
  };
}

/** Each sample evaluates the prefix in its own lane. */
export function ownPrefix(prefix: readonly Token[]): Prefix {
  return {
    async enter(lane, signal) {
      await lane.clearHistory();
      for (let at = 0; at < prefix.length && !signal.aborted; at += limits.llamaPrefillTokensMax) {
        await lane.evaluateWithoutGeneratingNewTokens(prefix.slice(at, at + limits.llamaPrefillTokensMax));
      }
      return signal.aborted ? undefined : 0;
    },
    close: () => undefined,
  };
}

/** Brings a lane to the trunk's state: by cutting what it generated when it holds the same prompt, else by a fork. */
async function branch(lane: LlamaContextSequence, hold: Hold, fork: Fork): Promise<void> {
  if (!lane.needsCheckpoints && startsWith(lane.contextTokens, hold.tokens)) {
    await rewind(lane, hold.tokens);
    return;
  }
  await fork(hold.sequence, lane);
}

function startsWith(held: readonly Token[], tokens: readonly Token[]): boolean {
  return held.length >= tokens.length && tokens.every((token, at) => token === held[at]);
}
