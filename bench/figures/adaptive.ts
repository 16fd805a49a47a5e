// Adaptive k: samples saved and accuracy lost at k = 32, from adaptive-k.ts.

import { execFile } from 'node:child_process';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { packageRoot } from '../../src/process/version.js';
import type { Measurement } from '../figure.js';
import { judgeNames } from '../judges.js';
import { disownProcess, ownProcess } from '../owned.js';

const items = 10_000;
const saved = (judge: string): string => `samples saved, ${judge}`;
const lost = (judge: string): string => `accuracy lost, ${judge}`;

interface Row {
  readonly judge: string;
  readonly savedShare: number;
  readonly lostPoints: number;
  readonly lostError: number;
}

export const adaptive: Measurement = {
  name: 'adaptive',
  title: 'Adaptive k',
  words:
    `The rule "confident" at its default error level on ${items} simulated items a judge, k = 32, vote sum. Lost: share of items that are right at k and ` +
    'wrong where drawing stopped, less the reverse, in points, with its standard error. docs/adaptive-k.md has more, a trained judge too.',
  notMeasured: ['the latency that waves cost'],
  usualSeconds: 5,
  budgetSeconds: 15,
  figures: Object.values(judgeNames).flatMap((judge) => [
    { name: saved(judge), unit: 'share', bar: { of: 'value', is: 'at least', limit: 0.5 } },
    { name: lost(judge), unit: 'points', bar: { of: 'value', is: 'at most', limit: 0.3 } },
  ]),
  measure: async ({ found }) => {
    const script = join(packageRoot, 'dist', 'bench', 'adaptive-k.js');
    const args = [script, '--items', String(items), '--bar', '--json'];
    const running = promisify(execFile)(process.execPath, args, { maxBuffer: 16 * 1_024 * 1_024 });
    ownProcess(running.child.pid);
    const { stdout } = await running;
    disownProcess(running.child.pid);
    for (const { judge, savedShare, lostPoints, lostError } of JSON.parse(stdout) as Row[]) {
      found(saved(judge), savedShare);
      found(lost(judge), lostPoints, undefined, lostError);
    }
  },
};
