// Where the embedded engine's packages and its child process lie. node-llama-cpp has its own folder (services/llama-engine) so that
// installations that only speak to vLLM stay small; it is therefore never imported by name, only by the path found here.

import { existsSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { fileURLToPath, pathToFileURL } from 'node:url';
import type * as NodeLlamaCpp from 'node-llama-cpp';

const RUNTIME = join('services', 'llama-engine');
const LIBRARY = join('node_modules', 'node-llama-cpp', 'dist', 'index.js');
const JINJA = join('node_modules', '@huggingface', 'jinja', 'dist', 'index.js');

/** The part of @huggingface/jinja that is used; it comes with node-llama-cpp. */
export interface JinjaModule {
  readonly Template: new (source: string) => { render(items: Record<string, unknown>): string };
}

export type LlamaModule = typeof NodeLlamaCpp;

export type Located =
  | { readonly kind: 'found'; readonly runtimeDir: string; readonly childMain: string }
  | { readonly kind: 'missing'; readonly reason: string };

/** Finds what the parent must know before it starts a child. `runtimeDir` overrides where the packages are. */
export function locateLlama(runtimeDir: string | undefined): Located {
  const root = packageRoot(dirname(fileURLToPath(import.meta.url)));
  if (root === undefined) return { kind: 'missing', reason: 'the llama engine is not part of this installation' };
  const dir = runtimeDir ?? join(root, RUNTIME);
  if (!existsSync(join(dir, LIBRARY))) {
    const fix = `\`make setup-llama\`, or \`npm ci --omit=optional --ignore-scripts --prefix ${dir}\``;
    return {
      kind: 'missing',
      reason: `the llama engine's packages are not installed in ${dir}; install them with ${fix}`,
    };
  }
  const childMain = join(root, 'dist', RUNTIME, 'main.js');
  if (!existsSync(childMain))
    return { kind: 'missing', reason: `${childMain} is missing; build it with \`npm run build\`` };
  return { kind: 'found', runtimeDir: dir, childMain };
}

/** The nearest folder upwards that holds services/llama-engine/package.json: the same from src/ and from dist/. */
function packageRoot(from: string): string | undefined {
  for (let dir = from; ; dir = dirname(dir)) {
    if (existsSync(join(dir, RUNTIME, 'package.json'))) return dir;
    if (dirname(dir) === dir) return undefined;
  }
}

export async function importLlama(runtimeDir: string): Promise<LlamaModule> {
  return (await import(pathToFileURL(join(runtimeDir, LIBRARY)).href)) as LlamaModule;
}

export async function importJinja(runtimeDir: string): Promise<JinjaModule> {
  return (await import(pathToFileURL(join(runtimeDir, JINJA)).href)) as JinjaModule;
}
