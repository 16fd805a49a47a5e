// The fake engine as a process of its own, and what it says of its work.

import { fork } from 'node:child_process';
import { join } from 'node:path';
import { packageRoot } from '../src/process/version.js';
import { ended, told } from './cluster.js';

export interface FakeProcess extends AsyncDisposable {
  readonly url: string;
  /** Tokens generated so far. */
  generated(): Promise<number>;
}

export async function startFake(args: readonly string[]): Promise<FakeProcess> {
  const child = fork(join(packageRoot, 'dist', 'services', 'fake-engine', 'main.js'), ['--port', '0', ...args], {
    stdio: ['ignore', 'ignore', 'inherit', 'ipc'],
  });
  const { url } = await told<{ url: string }>(child, (message) => typeof message.url === 'string');
  return {
    url,
    async generated() {
      const stats = (await (await fetch(`${url}/fake/stats`)).json()) as { generationTokens: number };
      return stats.generationTokens;
    },
    [Symbol.asyncDispose]: () => ended(child),
  };
}
