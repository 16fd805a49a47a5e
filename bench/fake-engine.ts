// The fake engine as a process of its own, and what it says of its work.

import { fork } from 'node:child_process';
import { join } from 'node:path';
import type { FakePrompts } from '../services/fake-engine/server.js';
import { packageRoot } from '../src/process/version.js';
import { ended, owned, told } from './cluster.js';

/** Of GET /fake/stats. */
export interface FakeStats {
  /** Tokens so far, of sequences that still run too. */
  readonly generationTokens: number;
  /** Of its batch, so far. */
  readonly steps: number;
  /** Sequences now. */
  readonly running: number;
  readonly waiting: number;
  /** Prompt tokens looked up in the prefix cache so far, and found there. */
  readonly prefixQueriesTokens: number;
  readonly prefixHitsTokens: number;
}

export interface FakeProcess extends AsyncDisposable {
  readonly url: string;
  stats(): Promise<FakeStats>;
  /** With --record-prompts: those that have begun so far. */
  prompts(): Promise<FakePrompts>;
}

export async function startFake(args: readonly string[]): Promise<FakeProcess> {
  const child = owned(
    fork(join(packageRoot, 'dist', 'services', 'fake-engine', 'main.js'), ['--port', '0', ...args], {
      stdio: ['ignore', 'ignore', 'inherit', 'ipc'],
    }),
  );
  const { url } = await told<{ url: string }>(child, (message) => typeof message.url === 'string');
  return {
    url,
    async stats() {
      return (await (await fetch(`${url}/fake/stats`)).json()) as FakeStats;
    },
    async prompts() {
      return (await (await fetch(`${url}/fake/prompts`)).json()) as FakePrompts;
    },
    [Symbol.asyncDispose]: () => ended(child),
  };
}
