// Usage: what a bench says of options that it does not take. One line on stderr and the exit code of the CLI, no stack.

import { exitCodes, type ExitCode } from '../src/process/run.js';

export function refuse(words: string, code: ExitCode = exitCodes.usage): never {
  process.stderr.write(`${words}\n`);
  process.exit(code);
}

/** What `read` gives, where it does not throw. */
export function optionsOf<T>(read: () => T, refused: (words: string) => never = refuse): T {
  try {
    return read();
  } catch (error) {
    return refused(error instanceof Error ? error.message : String(error));
  }
}
