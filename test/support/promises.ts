// Promises: what the README promises, and the tests that prove it, read off their titles.

import { readdirSync, readFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';

export interface Promised {
  /** P1..P8. */
  readonly id: string;
  readonly words: string;
  /** In order of their files. */
  readonly tests: readonly { readonly file: string; readonly title: string }[];
}

const root = dirname(dirname(dirname(fileURLToPath(import.meta.url))));
const row = /^\| (P\d) +\| (.*?) +\|$/gm;
/** Of tests and groups of them, also behind a table of cases. */
const titled =
  /(?:\b(?:test|it|describe)(?:\.\w+(?:\([^\n]*?\))?)*|\][^\n()]*\))\(\s*(?:'((?:[^'\\]|\\.)*)'|`([^`]*)`)/g;
/** One id, or the first and the last of several. */
const idsIn = /\bP(\d)(?:-P(\d))?\b/g;

export function promises(): readonly Promised[] {
  const tests = readdirSync(join(root, 'test'), { recursive: true, encoding: 'utf8' })
    .filter((file) => file.endsWith('.test.ts') || (file.startsWith('contract') && file.endsWith('.ts')))
    .sort()
    .flatMap((file) => titlesIn(file).map((title) => ({ file: `test/${file}`, title })));
  return [...readFileSync(join(root, 'README.md'), 'utf8').matchAll(row)].map(([, id, words]) => ({
    id: id!,
    words: words!,
    tests: tests.filter(({ title }) => names(title, Number(id!.slice(1)))),
  }));
}

function names(title: string, promise: number): boolean {
  return [...title.matchAll(idsIn)].some(
    ([, first, last = first]) => Number(first) <= promise && promise <= Number(last),
  );
}

function titlesIn(file: string): readonly string[] {
  const source = readFileSync(join(root, 'test', file), 'utf8');
  return [...source.matchAll(titled)].map(([, quoted, template]) => (quoted ?? template!).replaceAll("\\'", "'"));
}
