// Files of `grm spct`: reading trajectories, naming what stands beside a result, and reports.

import { resolve } from 'node:path';
import { limits } from '../limits.js';
import { exitCodes } from '../process/run.js';
import { readRecord, type ItemRecord } from '../spct/record.js';
import { CliError } from './context.js';
import { openInput, readJsonRows } from './rows.js';
import { writeWhole } from './whole-file.js';

/** The records of a trajectories file, in order. Throws CliError (usage) that names line and field of what is no record. */
export async function* readTrajectories(path: string): AsyncGenerator<ItemRecord, void, undefined> {
  const input = await openInput(path);
  for await (const { json, line } of readJsonRows(input.stream(), '', limits.spctRecordBytesMax)) {
    const read = json.kind === 'value' ? readRecord(json.value) : undefined;
    if (read?.kind === 'record') {
      yield read.record;
      continue;
    }
    const reason =
      json.kind === 'unreadable'
        ? json.reason
        : read?.violations.map(({ field, description }) => `${field}: ${description}`).join('; ');
    throw new CliError(`${path} line ${line} is no line of a trajectories file: ${reason ?? ''}`, exitCodes.usage);
  }
}

/** "rft.jsonl" and "trajectories" as "rft.trajectories.jsonl". */
export function beside(path: string, word: string): string {
  return `${path.replace(/\.jsonl$/, '')}.${word}.jsonl`;
}

/** Throws CliError (usage) when two of these options name one file. */
export function checkDistinct(paths: Readonly<Record<string, string | undefined>>): void {
  const seen = new Map<string, string>();
  for (const [option, path] of Object.entries(paths)) {
    if (path === undefined || path === '-') continue;
    const real = resolve(path);
    const other = seen.get(real);
    if (other !== undefined) throw new CliError(`${other} and ${option} name one file: ${path}`, exitCodes.usage);
    seen.set(real, option);
  }
}

export function reportHead(kind: string): string {
  return `{"report":"${kind}",`;
}

/** Indented for people, but for the head: by it a later run knows the file. */
export async function writeReport(path: string, kind: string, report: object): Promise<void> {
  const text = JSON.stringify({ report: kind, ...report }, null, 2);
  const head = reportHead(kind);
  await writeWhole(path, head, `${head}${text.slice(text.indexOf('\n', 2))}\n`);
}

/** "12 wrong_best, 3 tie"; "none" for nothing. */
export function countsText(counts: Readonly<Record<string, number>>): string {
  const parts = Object.entries(counts).map(([name, count]) => `${count} ${name}`);
  return parts.length === 0 ? 'none' : parts.join(', ');
}
