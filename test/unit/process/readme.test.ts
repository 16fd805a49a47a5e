// What README.md and docs/ tell people to type is understood.

import { readdirSync, readFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { describe, expect, it } from 'vitest';
import { ok, problems } from '../../support/config-files.js';

const root = join(dirname(fileURLToPath(import.meta.url)), '../../..');
const pages = ['README.md', ...readdirSync(join(root, 'docs')).map((name) => `docs/${name}`)].filter((path) =>
  path.endsWith('.md'),
);

/** Values of --set in the code blocks of a page, without the shell's quotes. */
function settingsIn(path: string): string[] {
  const blocks = [...readFileSync(join(root, path), 'utf8').matchAll(/^```sh\n(.*?)^```/gms)].map(([, block]) => block);
  return blocks.flatMap((block = '') =>
    [...block.matchAll(/--set (?:'([^']*)'|"([^"]*)"|(\S+))/g)].map(([, one, two, bare]) => one ?? two ?? bare ?? ''),
  );
}

const all = pages.flatMap((path) => settingsIn(path).map((set) => [path, set] as const));

describe('a --set of the pages', () => {
  it.each(all)('%s: %s', (_path, set) => {
    expect(problems({ flags: { set: [set] } })).toEqual([]);
  });

  it('means what it says', () => {
    const engines = settingsIn('README.md').filter((set) => set.includes('.engines=['));
    const { worker, meta } = ok({ flags: { set: engines.slice(0, 2) } });
    expect(worker.engines).toMatchObject([{ kind: 'openai', baseUrl: 'http://gpu-1:8000', slots: 128 }]);
    expect(meta.engines).toMatchObject([{ kind: 'vllm_classify', baseUrl: 'http://gpu-2:8000' }]);
    expect(all.length).toBeGreaterThanOrEqual(5);
  });
});
