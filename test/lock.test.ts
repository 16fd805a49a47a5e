// `npm ci` on a fresh machine refuses a lock file that leaves out a platform's optional package, which happens when the registry that
// was asked did not have it.

import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { expect, test } from 'vitest';
import { packageRoot } from '../src/process/version.js';

interface Lock {
  readonly packages: Readonly<
    Record<
      string,
      {
        readonly version?: string;
        readonly resolved?: string;
        readonly optionalDependencies?: Readonly<Record<string, string>>;
      }
    >
  >;
}

test.each(['package-lock.json', 'services/llama-engine/package-lock.json'])(
  '%s is whole and names no registry',
  async (file) => {
    const { packages } = JSON.parse(await readFile(join(packageRoot, file), 'utf8')) as Lock;
    const missing: string[] = [];
    for (const [path, { optionalDependencies = {}, resolved }] of Object.entries(packages)) {
      for (const name of Object.keys(optionalDependencies)) {
        if (!packages[`node_modules/${name}`] && !packages[`${path}/node_modules/${name}`])
          missing.push(`${name} of ${path}`);
      }
      expect(resolved, path).toBe(undefined);
    }
    expect(missing).toEqual([]);
    expect(Object.keys(packages).length).toBeGreaterThan(20);
  },
);
