// Usage: what a bench says of options that it does not take. One line on stderr and the exit code of the CLI, no stack.

import { exitCodes } from '../src/process/run.js';

export function refuse(words: string): never {
  process.stderr.write(`${words}\n`);
  process.exit(exitCodes.usage);
}

/** What `read` gives, where it does not throw. */
export function optionsOf<T>(read: () => T): T {
  try {
    return read();
  } catch (error) {
    return refuse(error instanceof Error ? error.message : String(error));
  }
}
