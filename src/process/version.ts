// Version: this package's own folder and number, whether it runs from dist/ or from sources.

import { readFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';

function find(): { root: string; version: string } {
  for (let folder = dirname(fileURLToPath(import.meta.url)); ; folder = dirname(folder)) {
    try {
      const found = JSON.parse(readFileSync(join(folder, 'package.json'), 'utf8')) as {
        name?: string;
        version?: string;
      };
      if (found.name === 'grm-cluster' && found.version) return { root: folder, version: found.version };
    } catch {
      // no package.json here: look one folder up
    }
    if (folder === dirname(folder)) throw new Error("grm-cluster's own package.json was not found above its code");
  }
}

/** `packageRoot`: absolute path of the folder that holds templates/, proto/ and dist/. */
export const { root: packageRoot, version } = find();
