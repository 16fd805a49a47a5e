// First line: reader for judges that begin with a line of bare scores ("9 8.5"), the format of FastChat's early reviews.

import { excerpt, readScores, type Scores } from './box.js';

const scoreLine = /^[\s\d.,/*+-]+$/;
const between = /\s*,\s*|\s+/;

/**
 * Reads exactly n scores from the first line that is not blank. The rules of `readBox` hold: a 0 is `out_of_range`, prose is `no_box` (there is no
 * line of scores), and nothing is looked for further down.
 */
export function parseFirstLine(text: string, n: number): Scores {
  const line = firstLine(text);
  if (!scoreLine.test(line)) {
    return { kind: 'invalid', reason: 'no_box', detail: `the first line holds no scores: "${excerpt(line)}"` };
  }
  return readScores(line.split(between), n);
}

function firstLine(text: string): string {
  const start = text.search(/\S/);
  if (start < 0) return '';
  const end = text.indexOf('\n', start);
  return text.slice(start, end < 0 ? text.length : end).trim();
}
