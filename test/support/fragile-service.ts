// A service as `grm up` sees one, for tests of its supervision. Its argument says how it behaves:
//
//   well          ready, ends at SIGTERM
//   late-end      ready, needs half a second to end
//   deaf          ready, does not heed SIGTERM
//   crash         ready, then ends with 7
//   crash-first   ends with 3 before it is ready
//   silent        is never ready

import { writeFile } from 'node:fs/promises';
import { join, relative } from 'node:path';
import { packageRoot } from '../../src/process/version.js';

const text = `
const how = process.argv[2];
const say = (level, message, error) => process.stdout.write(JSON.stringify({ level, message, error }) + '\\n');
process.on('SIGTERM', () => {
  if (how === 'well' || how === 'silent') process.exit(0);
  if (how === 'late-end') setTimeout(() => process.exit(4), 500);
});
setInterval(() => undefined, 1_000);
say('info', 'this is ' + how);
if (how === 'crash-first') {
  say('fatal', 'cannot start', { message: 'no luck' });
  process.exit(3);
}
if (how !== 'silent') process.send({ kind: 'ready', http: '127.0.0.1:' + (process.argv[3] ?? '0') });
if (how === 'crash') {
  say('error', 'it burns');
  setTimeout(() => process.exit(7), 20);
}
`;

/** Writes the program into the folder; returns its path as a plan's script names it. */
export async function fragileService(folder: string): Promise<string> {
  const file = join(folder, 'fragile.mjs');
  await writeFile(file, text);
  return relative(join(packageRoot, 'dist'), file);
}
