// Sources: where settings come from, lowest first: a preset, file, environment, flags. Each is read into assignments; config.ts lays them over each other.

import { readFileSync, statSync } from 'node:fs';
import { isMap, isSeq, LineCounter, parseDocument, type Node as YamlNode } from 'yaml';
import { limits } from '../limits.js';

export type Source =
  | { readonly kind: 'default' }
  | { readonly kind: 'preset'; readonly name: string }
  | { readonly kind: 'file'; readonly path: string; readonly line?: number }
  | { readonly kind: 'environment'; readonly name: string }
  | { readonly kind: 'flag'; readonly flag: string };

/** "grm.yaml:12", "GRM_NATS__TOKEN", "--set nats.token", "default". */
export function sourceText(source: Source): string {
  switch (source.kind) {
    case 'default':
      return 'default';
    case 'preset':
      return source.name;
    case 'file':
      return source.line === undefined ? source.path : `${source.path}:${source.line}`;
    case 'environment':
      return source.name;
    case 'flag':
      return source.flag;
  }
}

/** One wrong thing in the configuration. */
export interface Problem {
  /** Outer key, "nats.tls.key_file"; "" when it concerns a whole source. */
  readonly key: string;
  readonly source: Source;
  readonly message: string;
}

/** A named flag of the command line that stands for a setting: `--workers 3` is up.workers. */
export interface NamedFlag {
  readonly flag: string;
  readonly key: string;
  readonly value: unknown;
}

/** Settings in outer names that hold where no other source says anything. `name` is what people see as their source. */
export interface Preset {
  readonly name: string;
  readonly settings: Readonly<Record<string, unknown>>;
}

export interface Flags {
  /** Values of `--set`: "section.key=value". */
  readonly set?: readonly string[];
  readonly named?: readonly NamedFlag[];
}

/** A value for an outer path. `text` values still have to be read by the type of their setting. */
export interface Assignment {
  readonly path: readonly string[];
  readonly value: unknown;
  readonly text: boolean;
  readonly source: Source;
  /** Where a part of a file's value stands; `steps` go on from `path`. */
  readonly sourceAt?: (steps: readonly string[]) => Source;
}

/** Few aliases in YAML: a configuration that grows by them is an attack or a mistake. */
export const aliasesMax = 100;

export interface Read {
  readonly assignments: readonly Assignment[];
  readonly problems: readonly Problem[];
}

export function readPreset({ name, settings }: Preset): Read {
  return {
    assignments: [{ path: [], value: settings, text: false, source: { kind: 'preset', name } }],
    problems: [],
  };
}

export function readFile(path: string): Read {
  const source: Source = { kind: 'file', path };
  const failed = (message: string, line?: number): Read => ({
    assignments: [],
    problems: [{ key: '', source: line === undefined ? source : { ...source, line }, message }],
  });
  let text: string;
  try {
    if (statSync(path).size > limits.configBytesMax) return failed(`is larger than ${limits.configBytesMax} bytes`);
    text = readFileSync(path, 'utf8');
  } catch (error) {
    return failed(`cannot be read: ${(error as Error).message}`);
  }
  const lines = new LineCounter();
  const document = parseDocument(text, { lineCounter: lines, prettyErrors: false });
  if (document.errors.length > 0) {
    return {
      assignments: [],
      problems: document.errors.map((error) => ({
        key: '',
        source: { ...source, line: lines.linePos(error.pos[0]).line },
        message: `is no valid YAML: ${unquoted(error)}`,
      })),
    };
  }
  const root: YamlNode | null = document.contents;
  if (root === null) return { assignments: [], problems: [] };
  if (!isMap(root)) return failed('must hold sections: "name:" and below it indented settings');
  let value: unknown;
  try {
    value = document.toJS({ maxAliasCount: aliasesMax });
  } catch (error) {
    return failed(`is no valid YAML: ${unquoted(error as Error)}`);
  }
  const sourceAt = (steps: readonly string[]): Source => {
    const line = lineOf(root, steps, lines);
    return line === undefined ? source : { ...source, line };
  };
  return { assignments: [{ path: [], value, text: false, source, sourceAt }], problems: [] };
}

/** After a colon the library repeats what it read, which may be a secret. */
function unquoted({ message }: Error): string {
  return message.replace(/:\s.*$/s, '');
}

/** The line of the deepest part of the path that stands in the file. */
function lineOf(root: YamlNode, steps: readonly string[], lines: LineCounter): number | undefined {
  let node: unknown = root;
  let at: number | undefined;
  for (const step of steps) {
    if (isMap(node)) {
      const pair = node.items.find((item) => String(item.key) === step);
      if (!pair) break;
      at = (pair.key as YamlNode).range?.[0] ?? at;
      node = pair.value;
    } else if (isSeq(node)) {
      node = node.items[Number(step)];
      at = (node as YamlNode | undefined)?.range?.[0] ?? at;
    } else break;
  }
  return at === undefined ? undefined : lines.linePos(at).line;
}

/**
 * GRM_SECTION__KEY. Names without "__" are not settings (Kubernetes makes GRM_…_SERVICE_HOST for a service named grm-…).
 * An empty value counts as not set.
 */
export function readEnvironment(env: Readonly<Record<string, string | undefined>>): Read {
  const assignments: Assignment[] = [];
  for (const name of Object.keys(env).sort()) {
    const value = env[name];
    if (!name.startsWith('GRM_') || !name.includes('__') || value === undefined || value === '') continue;
    const path = name.slice('GRM_'.length).toLowerCase().split('__');
    assignments.push({ path, value, text: true, source: { kind: 'environment', name } });
  }
  return { assignments, problems: [] };
}

export function readFlags(flags: Flags): Read {
  const assignments: Assignment[] = [];
  const problems: Problem[] = [];
  for (const [index, set] of (flags.set ?? []).entries()) {
    const at = set.indexOf('=');
    if (at <= 0) {
      // Not repeated: it may be a misspelt secret.
      const source: Source = { kind: 'flag', flag: `--set (number ${index + 1})` };
      problems.push({ key: '', source, message: 'must be section.key=value' });
      continue;
    }
    const key = set.slice(0, at).trim();
    const source: Source = { kind: 'flag', flag: `--set ${key}` };
    assignments.push({ path: key.split('.'), value: set.slice(at + 1), text: true, source });
  }
  for (const { flag, key, value } of flags.named ?? []) {
    if (value === undefined) continue;
    assignments.push({ path: key.split('.'), value, text: typeof value === 'string', source: { kind: 'flag', flag } });
  }
  return { assignments, problems };
}
