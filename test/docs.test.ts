// The generated pages are those that the code's tables make now. `npm run gen:docs` writes them anew.

import { existsSync, readFileSync, writeFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { describe, expect, it } from 'vitest';
import { generatedDocs } from './support/generated-docs.js';

const root = dirname(dirname(fileURLToPath(import.meta.url)));

describe('generated docs', () => {
  it.each([...generatedDocs])('%s is fresh: else run `npm run gen:docs`', (path, make) => {
    const file = join(root, path);
    if (process.env.GRM_WRITE_DOCS === '1') writeFileSync(file, make());
    expect(existsSync(file)).toBe(true);
    expect(readFileSync(file, 'utf8')).toBe(make());
  });
});
