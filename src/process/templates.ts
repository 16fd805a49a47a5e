// Templates: reads prompt templates, our own by name and others from files, and names them by hash.

import { createHash } from 'node:crypto';
import { readFile } from 'node:fs/promises';
import { basename, extname, join } from 'node:path';
import { parseMetaTemplate, parseTemplate, type MetaTemplate, type ParsedTemplate } from '../grm/prompt.js';
import type { Config } from './schema.js';
import { packageRoot } from './version.js';

/** Families of this package, templates/grm-NAME.txt and templates/meta-NAME.txt. The nano models were trained on theirs and know no other. */
const ownNames: ReadonlySet<string> = new Set(['default', 'nano']);

export interface LoadedTemplate {
  /** By which requests ask for it. */
  readonly name: string;
  /** For people: the family of this package, or the file's name without its ending. */
  readonly title: string;
  readonly text: string;
  /** SHA-256 of the file, hexadecimal. */
  readonly hash: string;
}

/** The default template first, then the extra ones. Throws an Error that names the file and what is wrong with it. */
export async function loadGrmTemplates(config: Config): Promise<readonly [LoadedTemplate, ...LoadedTemplate[]]> {
  const load = async (name: string, path: string): Promise<LoadedTemplate> => {
    const text = await read(path, 'grm');
    check(path, parseTemplate(text));
    return { name, title: basename(path, extname(path)), text, hash: sha256(text) };
  };
  const extra = Object.entries(config.templates.extra).map(([name, path]) => load(name, path));
  return [await load('default', config.templates.grm), ...(await Promise.all(extra))];
}

export interface LoadedMetaTemplate {
  readonly template: MetaTemplate;
  /** SHA-256 of the file, hexadecimal. */
  readonly hash: string;
}

export async function loadMetaTemplate(config: Config): Promise<LoadedMetaTemplate> {
  const path = config.templates.meta;
  const text = await read(path, 'meta');
  return { template: check(path, parseMetaTemplate(text)), hash: sha256(text) };
}

function sha256(text: string): string {
  return createHash('sha256').update(text).digest('hex');
}

async function read(path: string, role: 'grm' | 'meta'): Promise<string> {
  const file = ownNames.has(path) ? join(packageRoot, 'templates', `${role}-${path}.txt`) : path;
  try {
    return await readFile(file, 'utf8');
  } catch (error) {
    throw new Error(`template ${file} cannot be read: ${error instanceof Error ? error.message : String(error)}`, {
      cause: error,
    });
  }
}

function check<T>(path: string, parsed: ParsedTemplate<T>): T {
  if (parsed.kind === 'ok') return parsed.template;
  const lines = parsed.violations.map(({ field, description }) => `  ${field}: ${description}`);
  throw new Error([`template ${path} is wrong:`, ...lines].join('\n'));
}
