// Rows for bench/peers: requests, and the very prompts that the cluster draws for them, so that every peer asks the engine the same.
//
//   node dist/bench/peers/rows.js COUNT K WARM > rows.jsonl     WARM more, whose ids begin with "warm", come first

import { requestOf } from '../payload.js';
import { promptsOf, type BenchPrompt } from '../prompts.js';

export interface Row {
  readonly id: string;
  readonly query: string;
  readonly responses: readonly string[];
  readonly k: number;
  readonly prompts: readonly BenchPrompt[];
}

function rowsOf(count: number, k: number, warm: number): readonly Row[] {
  return Array.from({ length: warm + count }, (_, at): Row => {
    const { query, responses } = requestOf({});
    const prompts = promptsOf({ query, responses }, k, at.toString(16).padStart(8, '0'));
    return { id: at < warm ? `warm-${at}` : `row-${at}`, query, responses, k, prompts };
  });
}

const [count = NaN, k = NaN, warm = 0] = process.argv.slice(2).map(Number);
if (!(count > 0 && k > 0)) {
  process.stderr.write('usage: rows.js COUNT K WARM\n');
  process.exit(2);
}
for (const row of rowsOf(count, k, warm)) process.stdout.write(`${JSON.stringify(row)}\n`);
