// Config: reads file, environment and flags into one frozen value, once, at the start of a process.
//
//   C1. Flags win over the environment, the environment over the file, the file over a preset, a preset over defaults.
//   C2. All problems are told at once, each with the source of the wrong value.
//   C3. A secret never shows: not in a problem, not in a listing. Of a place where one may stand below, a problem does not repeat the value.

import { existsSync } from 'node:fs';
import type { z } from 'zod';
import { redactedMark, scrubbed } from '../observe/redact.js';
import { layered } from './layers.js';
import { brokenRelations } from './relations.js';
import { configSchema, type Config } from './schema.js';
import { Secret } from './secret.js';
import { bearsSecret, keyOf, shapeAt } from './shape.js';
import {
  readEnvironment,
  readFile,
  readFlags,
  readPreset,
  sourceText,
  type Flags,
  type Preset,
  type Problem,
  type Source,
} from './sources.js';

export interface ConfigInput {
  /** `--config`. Absent: GRM_CONFIG, else ./grm.yaml if there is one, else none. */
  readonly file?: string;
  readonly env: Readonly<Record<string, string | undefined>>;
  readonly flags?: Flags;
  readonly preset?: Preset;
}

export type Resolved =
  | { readonly kind: 'ok'; readonly config: Config; readonly sources: ReadonlyMap<string, Source> }
  | { readonly kind: 'problems'; readonly problems: readonly Problem[] };

export const configFileDefault = 'grm.yaml';
const shownCharsMax = 80;

/** Paths in the result are relative to the working directory, as they were given. */
export function resolveConfig(input: ConfigInput): Resolved {
  const path = input.file ?? (input.env.GRM_CONFIG || (existsSync(configFileDefault) ? configFileDefault : undefined));
  const reads = [
    ...(input.preset === undefined ? [] : [readPreset(input.preset)]),
    ...(path === undefined ? [] : [readFile(path)]),
    readEnvironment(input.env),
    readFlags(input.flags ?? {}),
  ];
  const { tree, problems: nameProblems, sources } = layered(reads.flatMap((read) => read.assignments));
  const parsed = configSchema.safeParse(tree);
  const problems = [...reads.flatMap((read) => read.problems), ...nameProblems];
  if (!parsed.success) {
    const ofWrongType = new Set<string>();
    for (const issue of parsed.error.issues) {
      const key = keyOf(issue.path);
      // Bounds are judged even of a value of the wrong type: a text longer than a list may be.
      if (ofWrongType.has(key)) continue;
      if (issue.code === 'invalid_type') ofWrongType.add(key);
      problems.push({ key, source: blameOf(sources, key), message: wordsOf(issue, key, valueAt(tree, issue.path)) });
    }
    return { kind: 'problems', problems };
  }
  const config: Config = parsed.data;
  for (const { key, message } of brokenRelations(config))
    problems.push({ key, source: blameOf(sources, key), message });
  if (problems.length > 0) return { kind: 'problems', problems };
  return { kind: 'ok', config: deepFrozen(config), sources };
}

/** Where the setting of an outer key came from. */
export function sourceOf(sources: ReadonlyMap<string, Source>, key: string): Source {
  return sources.get(key) ?? { kind: 'default' };
}

/** Whom to blame for a wrong or missing setting: its own source, else that of the nearest section around it that was given. */
function blameOf(sources: ReadonlyMap<string, Source>, key: string): Source {
  const parts = key.split('.');
  for (let end = parts.length; end > 0; end--) {
    const source = sources.get(parts.slice(0, end).join('.'));
    if (source) return source;
  }
  return { kind: 'default' };
}

/** One line per problem: what, whence, why. */
export function problemText({ key, source, message }: Problem): string {
  if (key === '') return `${sourceText(source)} ${message}`;
  return source.kind === 'default' ? `${key} ${message}` : `${key} ${message} (from ${sourceText(source)})`;
}

/** One setting as `grm config print` shows it. */
export interface ShownSetting {
  readonly key: string;
  /** As YAML's flow form would take it; secrets as [redacted]. */
  readonly value: string;
  readonly source: Source;
}

/** Every setting with its value and source, in the schema's order. Optional settings that are not given are left out. */
export function shownSettings(config: Config, sources: ReadonlyMap<string, Source>): readonly ShownSetting[] {
  const rows: ShownSetting[] = [];
  const walk = (path: readonly string[], value: unknown): void => {
    if (isBranch(value)) {
      for (const [name, child] of Object.entries(value)) walk([...path, name], child);
      return;
    }
    const key = keyOf(path);
    rows.push({ key, value: shown(key, value), source: sourceOf(sources, key) });
  };
  walk([], config);
  return rows;
}

function isBranch(value: unknown): value is object {
  if (typeof value !== 'object' || value === null || value instanceof Secret) return false;
  if (Array.isArray(value)) return value.some(isBranch);
  return Object.keys(value).length > 0;
}

function shown(key: string, value: unknown): string {
  const shape = shapeAt(key);
  if (value instanceof Secret || (shape?.kind === 'leaf' && shape.secret)) return redactedMark;
  // Quoted only where YAML would read a bare word as something else.
  const bare = typeof value === 'string' && !/^$|^[[{&*!|>%@`'"#?-]|: |\s|^(true|false|null|~|[\d.+-]+)$/.test(value);
  return scrubbed(bare ? value : JSON.stringify(value));
}

function wordsOf(issue: z.core.$ZodIssue, key: string, value: unknown): string {
  const shape = shapeAt(key);
  const got = value === undefined || (shape && bearsSecret(shape)) ? '' : `, not ${cut(shown(key, value))}`;
  switch (issue.code) {
    case 'invalid_type':
      return value === undefined ? 'is required' : `must be ${typeNames[issue.expected] ?? issue.expected}${got}`;
    case 'too_small':
      if (issue.origin === 'string') return 'must not be empty';
      if (issue.origin === 'array') return `must have at least ${issue.minimum} items`;
      return `must be ${issue.inclusive === false ? 'above' : 'at least'} ${issue.minimum}${got}`;
    case 'too_big':
      if (issue.origin === 'string') return `must have at most ${issue.maximum} characters`;
      if (issue.origin === 'array') return `must have at most ${issue.maximum} items`;
      return `must be at most ${issue.maximum}${got}`;
    case 'invalid_value':
      return `must be one of ${issue.values.map(String).join(', ')}${got}`;
    case 'invalid_union': {
      if ('options' in issue && Array.isArray(issue.options)) {
        const choices = `one of ${issue.options.map(String).join(', ')}`;
        return value === undefined ? `is required: ${choices}` : `must be ${choices}${got}`;
      }
      return `${issue.message}${got}`;
    }
    case 'invalid_key':
      return 'is no name that can be used here';
    case 'unrecognized_keys':
      return `has unknown settings: ${issue.keys.join(', ')}`;
    default:
      return `${issue.message}${got}`;
  }
}

const typeNames: Readonly<Record<string, string>> = {
  string: 'text',
  number: 'a number',
  int: 'a whole number',
  boolean: 'true or false',
  array: 'a list',
  object: 'a section',
  record: 'a section of names',
};

function cut(text: string): string {
  return text.length > shownCharsMax ? `${text.slice(0, shownCharsMax)}…` : text;
}

function valueAt(tree: unknown, path: readonly PropertyKey[]): unknown {
  let value = tree;
  for (const step of path) {
    if (typeof value !== 'object' || value === null || !Object.hasOwn(value, step)) return undefined;
    value = (value as Record<PropertyKey, unknown>)[step];
  }
  return value;
}

function deepFrozen<T>(value: T): T {
  if (typeof value === 'object' && value !== null && !(value instanceof Secret) && !Object.isFrozen(value)) {
    Object.freeze(value);
    for (const child of Object.values(value)) deepFrozen(child);
  }
  return value;
}
