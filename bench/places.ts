// Places: folders that a bench writes to and files that it reads, looked at before anything is measured.

import {
  closeSync,
  mkdirSync,
  openSync,
  readFileSync,
  renameSync,
  rmSync,
  statSync,
  writeFileSync,
  writeSync,
  type Stats,
} from 'node:fs';
import { dirname, join, resolve } from 'node:path';
import { exitCodes } from '../src/process/run.js';
import { optionsOf, refuse } from './usage.js';

export type Place =
  | { readonly kind: 'ok' }
  /** `full`: there is no room; a folder that is right otherwise. */
  | { readonly kind: 'bad'; readonly why: string; readonly full: boolean };

/**
 * Makes the folder, and those above it, where they are not, and tries whether it takes a file.
 * @param files names that will be written in it
 */
export function makeFolder(path: string, files: readonly string[] = []): Place {
  if (path === '') return bad('expected a folder, got an empty text');
  try {
    // One by one: a recursive mkdir of Node never ends below a folder that is there and takes none (/proc).
    for (const folder of missing(resolve(path))) makeOne(folder);
    if (!statSync(path).isDirectory()) return bad('it is no folder');
    for (const name of files) {
      if (statOf(join(path, name))?.isFile() === false) return bad(`${name} in it is no file`);
    }
    const probe = join(path, `.grm-bench-${process.pid}`);
    try {
      const file = openSync(probe, 'w');
      try {
        writeSync(file, 'x');
      } finally {
        closeSync(file);
      }
    } finally {
      rmSync(probe, { force: true });
    }
    return { kind: 'ok' };
  } catch (error) {
    return bad(wordsOf(error), isFull(error));
  }
}

/** Ends the process with one line where the folder cannot be made or written. @param option as it was given: --out */
export function needFolder(option: string, path: string, files: readonly string[] = []): void {
  const place = makeFolder(path, files);
  if (place.kind === 'ok') return;
  const wrong = place.full ? 'there is no room' : 'nothing can be written there';
  refuse(`${option} ${path}: ${wrong}: ${place.why}`, place.full ? exitCodes.failure : exitCodes.usage);
}

/** The text of a file; ends the process with one line where it cannot be read. */
export function needText(option: string, path: string): string {
  return optionsOf(
    () => readFileSync(path, 'utf8'),
    (words) => refuse(`${option} ${path}: it cannot be read: ${words}`),
  );
}

/** What is written in a file; ends the process with one line where it is not JSON. */
export function needJson(option: string, path: string): unknown {
  const text = needText(option, path);
  return optionsOf(
    () => JSON.parse(text) as unknown,
    (words) => refuse(`${option} ${path}: expected JSON: ${words}`),
  );
}

/** The file is there whole or as it was. Ends the process with one line where there is no room for it. */
export function writeWhole(path: string, text: string): void {
  const part = `${path}.part`;
  try {
    writeFileSync(part, text);
    renameSync(part, path);
  } catch (error) {
    rmSync(part, { force: true });
    refuse(`${path} was not written: ${wordsOf(error)}`, exitCodes.failure);
  }
}

/** Those that are not there, the outermost first. */
function missing(path: string): string[] {
  const found: string[] = [];
  for (let at = path; statOf(at) === undefined; at = dirname(at)) found.unshift(at);
  return found;
}

function makeOne(folder: string): void {
  try {
    mkdirSync(folder);
  } catch (error) {
    // Another process made it meanwhile.
    if (codeOf(error) !== 'EEXIST' || statOf(folder)?.isDirectory() !== true) throw error;
  }
}

function statOf(path: string): Stats | undefined {
  try {
    return statSync(path);
  } catch (error) {
    if (['ENOENT', 'ENOTDIR'].includes(codeOf(error))) return undefined;
    throw error;
  }
}

function bad(why: string, full = false): Place {
  return { kind: 'bad', why, full };
}

function codeOf(error: unknown): string {
  return error instanceof Error && 'code' in error ? String(error.code) : '';
}

function isFull(error: unknown): boolean {
  return ['ENOSPC', 'EDQUOT'].includes(codeOf(error));
}

function wordsOf(error: unknown): string {
  return error instanceof Error ? error.message : String(error);
}
