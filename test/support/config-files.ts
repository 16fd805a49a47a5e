// Configuration from files that a test writes.

import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll } from 'vitest';
import { problemText, resolveConfig, shownSettings, type ConfigInput } from '../../src/process/config.js';
import type { Config } from '../../src/process/schema.js';
import { sourceText } from '../../src/process/sources.js';

/** Of this test file alone. */
export const folder = mkdtempSync(join(tmpdir(), 'grm-config-'));
afterAll(() => rmSync(folder, { recursive: true }));

let files = 0;
export function file(text: string): string {
  const path = join(folder, `c${files++}.yaml`);
  writeFileSync(path, text);
  return path;
}

export function resolve(input: Partial<ConfigInput> & { readonly yaml?: string }) {
  const { yaml, ...rest } = input;
  return resolveConfig({ env: {}, ...(yaml === undefined ? {} : { file: file(yaml) }), ...rest });
}

export function ok(input: Parameters<typeof resolve>[0]): Config {
  const resolved = resolve(input);
  if (resolved.kind === 'problems') throw new Error(resolved.problems.map(problemText).join('\n'));
  return resolved.config;
}

/** Problems as text, with the folder taken out. */
export function problems(input: Parameters<typeof resolve>[0]): string[] {
  const resolved = resolve(input);
  return resolved.kind === 'ok'
    ? []
    : resolved.problems.map((each) => problemText(each).replaceAll(/\S*\/c\d+\.yaml/g, 'FILE'));
}

/** The source of each key that does not stand at its default. */
export function given(input: Parameters<typeof resolve>[0]): Record<string, string> {
  const resolved = resolve(input);
  if (resolved.kind === 'problems') throw new Error(resolved.problems.map(problemText).join('\n'));
  const rows = shownSettings(resolved.config, resolved.sources).filter(({ source }) => source.kind !== 'default');
  return Object.fromEntries(
    rows.map(({ key, value, source }) => [key, `${value} from ${sourceText(source).replace(/.*\/c\d+/, 'FILE')}`]),
  );
}
