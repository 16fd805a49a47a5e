import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { expect, test } from 'vitest';
import { limits } from '../../../src/limits.js';
import { connectionsMax, openFilesMax, shortOfFiles } from '../../../src/process/open-files.js';

test('the limit is the soft one; without one, or where the system does not tell, nothing is known', () => {
  const folder = mkdtempSync(join(tmpdir(), 'grm-files-'));
  const path = join(folder, 'limits');
  const table = (soft: string) =>
    `Limit                     Soft Limit           Hard Limit           Units\nMax open files            ${soft.padEnd(21)}524288               files\n`;
  try {
    writeFileSync(path, table('1024'));
    expect(openFilesMax(path)).toBe(1024);
    writeFileSync(path, table('unlimited'));
    expect(openFilesMax(path)).toBeUndefined();
    expect(openFilesMax(join(folder, 'nowhere'))).toBeUndefined();
  } finally {
    rmSync(folder, { recursive: true });
  }
});

test('slots that need more connections than there are files are told, with how many fit; at least one does', () => {
  const max = 256;
  const fit = max - limits.filesReserved - limits.filesPerEngine;
  expect(connectionsMax(max, 1)).toBe(fit);
  expect(shortOfFiles(fit, max, 1)).toBeUndefined();
  expect(shortOfFiles(fit + 1, max, 1)).toContain(`with ${max} open files (ulimit -n) ${fit} fit`);
  expect(connectionsMax(20, 4)).toBe(1);
  expect(connectionsMax(undefined, 4)).toBeUndefined();
  expect(shortOfFiles(4_096, undefined, 1)).toBeUndefined();
});
