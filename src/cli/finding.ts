// Finding: one thing that `grm doctor` looked at.

import { paint } from './paint.js';
import { indented, printable } from './printable.js';

/** Whatever is not well comes with what to do about it. */
export type Finding =
  | { readonly check: string; readonly result: 'ok'; readonly detail: string }
  | { readonly check: string; readonly result: 'warning' | 'failed'; readonly detail: string; readonly fix: string };

export type Say = (finding: Finding) => void;

const marks = { ok: paint.green('ok     '), warning: paint.yellow('warning'), failed: paint.red('FAILED ') } as const;
const detailColumn = ' '.repeat(30);

export function findingText(finding: Finding): string {
  const { check, result } = finding;
  const detail = indented(finding.detail, detailColumn).trimStart();
  const line = `${marks[result]}  ${printable(check).padEnd(20)} ${detail}`;
  if (finding.result === 'ok') return line;
  return `${line}\n${' '.repeat(25)}${paint.bold('fix')}  ${indented(finding.fix, detailColumn).trimStart()}`;
}
