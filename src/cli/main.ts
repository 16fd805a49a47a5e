#!/usr/bin/env node
// grm: the command line. program.ts names the commands; this file runs one and ends the process with a code that means something.

import { exitCodes } from '../process/run.js';
import { grmProgram } from './program.js';
import { Reader } from './reader.js';

// A user cannot mend what a library calls outdated, such as TLS to an address without a name.
process.noDeprecation = true;

const reader = new Reader();
for (const stream of [process.stdout, process.stderr]) {
  stream.on('error', (error: NodeJS.ErrnoException) => {
    if (error.code === 'EPIPE' && stream === process.stdout && !reader.leave()) process.exit(exitCodes.ok);
    // A terminal that was closed takes no more words; the signal that came with it ends the work.
    if (error.code !== 'EIO' && error.code !== 'EPIPE') throw error;
  });
}

try {
  await grmProgram(reader).parseAsync();
} catch (error) {
  // commander has said what is wrong; help and version are no failures.
  const { code, exitCode } = error as { code?: string; exitCode?: number };
  if (code === undefined || !code.startsWith('commander.')) throw error;
  process.exitCode = exitCode === 0 ? exitCodes.ok : exitCodes.usage;
}
