// The generated code in src/wire/gen is what the protos of this commit give.

import { execFile } from 'node:child_process';
import { mkdtemp, readdir, readFile, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { expect, test } from 'vitest';
import { packageRoot } from '../src/process/version.js';

async function tree(folder: string): Promise<ReadonlyMap<string, string>> {
  const entries = await readdir(folder, { recursive: true, withFileTypes: true });
  const files = entries.filter((entry) => entry.isFile()).map((entry) => join(entry.parentPath, entry.name));
  return new Map(
    await Promise.all(
      files.sort().map(async (file) => [file.slice(folder.length), await readFile(file, 'utf8')] as const),
    ),
  );
}

test('src/wire/gen is fresh: `make gen` would change nothing', async () => {
  const folder = await mkdtemp(join(tmpdir(), 'grm-gen-'));
  try {
    const buf = join(packageRoot, 'node_modules', '.bin', 'buf');
    await promisify(execFile)(buf, ['generate', '-o', folder], { cwd: packageRoot });
    const made = await tree(join(folder, 'src', 'wire', 'gen'));
    const kept = await tree(join(packageRoot, 'src', 'wire', 'gen'));
    expect([...made.keys()]).toEqual([...kept.keys()]);
    for (const [name, text] of made) expect(kept.get(name) === text, `${name} is stale: run \`make gen\``).toBe(true);
    expect(made.size).toBeGreaterThan(4);
  } finally {
    await rm(folder, { recursive: true, force: true });
  }
});
