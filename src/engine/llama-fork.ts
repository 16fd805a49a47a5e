// Fork: give one sequence the evaluated state of another, so that a prompt is evaluated once for all its samples.
//
// The library copies states inside one context for its own use, by a method that its types do not show (the version is pinned, its
// presence is checked). Without it the public way is taken: the state goes through a file. What it gives: bench/llama-sharing.

import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { LlamaContextSequence } from 'node-llama-cpp';
import type { LlamaSharing } from './llama-protocol.js';

/** Afterwards `to` holds exactly the tokens of `from`. `from` must rest: nothing may be evaluated in it meanwhile. */
export type Fork = (from: LlamaContextSequence, to: LlamaContextSequence) => Promise<void>;

interface CopyingSequence {
  _copyStateFromOtherSequence(from: LlamaContextSequence, upToTokenIndex: number): Promise<boolean>;
}

function copies(sequence: object): sequence is CopyingSequence {
  return '_copyStateFromOtherSequence' in sequence && typeof sequence._copyStateFromOtherSequence === 'function';
}

/** What of `wanted` this library can do. */
export function possibleSharing(wanted: LlamaSharing, sequence: LlamaContextSequence): LlamaSharing {
  return wanted === 'copy' && !copies(sequence) ? 'file' : wanted;
}

export function forkBy(sharing: LlamaSharing): Fork {
  return sharing === 'copy' ? forkByCopy : forkByFile;
}

const forkByCopy: Fork = async (from, to) => {
  const target: object = to;
  if (copies(target) && (await target._copyStateFromOtherSequence(from, from.nextTokenIndex))) return;
  await to.clearHistory();
  await forkByFile(from, to);
};

const forkByFile: Fork = async (from, to) => {
  const dir = await mkdtemp(join(tmpdir(), 'grm-llama-'));
  try {
    const file = join(dir, 'state');
    await from.saveStateToFile(file);
    // The risk named is a file from another model: this one was written by this context a moment ago.
    await to.loadStateFromFile(file, { acceptRisk: true });
  } finally {
    await rm(dir, { recursive: true, force: true });
  }
};
