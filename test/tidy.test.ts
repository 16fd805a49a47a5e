// Repository rules: layout, imports and manners (ARCHITECTURE.md). Each rule is run over the tree, and over a file that breaks it.

import { execFileSync } from 'node:child_process';
import { existsSync, readFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { describe, expect, it } from 'vitest';
import { check, rules, type RuleName, type TidyFile } from './support/tidy.js';

const root = dirname(dirname(fileURLToPath(import.meta.url)));
const bad = (path: string, text: string): TidyFile => ({ path, text });

/** Our own TypeScript, tracked or not yet: generated code and installed packages are left out. */
function tree(): TidyFile[] {
  const listed = execFileSync('git', ['ls-files', '--cached', '--others', '--exclude-standard', '--', '*.ts'], {
    cwd: root,
  });
  return [...new Set(listed.toString().split('\n'))]
    .filter((path) => path !== '' && !path.startsWith('src/wire/gen/') && existsSync(join(root, path)))
    .map((path) => ({ path, text: readFileSync(join(root, path), 'utf8') }));
}

const files = tree();

describe('the tree', () => {
  it('is seen', () => {
    const paths = files.map((file) => file.path);
    expect(paths).toContain('src/limits.ts');
    expect(paths).toContain('test/tidy.test.ts');
    expect(paths.length).toBeGreaterThan(50);
  });

  it.each(Object.keys(rules) as RuleName[])('keeps the rule: %s', (rule) => {
    const findings = files.flatMap((file) => check(file, [rule])).map(({ where, message }) => `${where}: ${message}`);
    expect(findings).toEqual([]);
  });
});

/** For each rule: files that break it, and files that come close and do not. */
const examples: Readonly<
  Record<RuleName, { readonly breaks: readonly TidyFile[]; readonly keeps: readonly TidyFile[] }>
> = {
  'room imports': {
    breaks: [
      bad('src/grm/a.ts', `import { x } from '../work/shard.js';`),
      bad('src/grm/a.ts', `import type { X } from '../observe/events.js';`),
      bad('src/work/a.ts', `export { x } from '../queue/queue.js';`),
      bad('src/coordinator/a.ts', `import { x } from '../queue/jetstream.js';`),
      bad('src/worker/a.ts', `const x = await import('../engine/openai.js');`),
      bad('src/worker/a.ts', `let x: import('../rpc/server.js').X;`),
      bad('src/rpc/a.ts', `import { x } from '../cli/main.js';`),
      bad('src/queue/a.ts', `import { x } from '../process/config.js';`),
      bad('src/grm/a.ts', `import { x } from '../stray.js';`),
      bad('src/spct/a.ts', `import { x } from '../coordinator/score.js';`),
      bad('src/newroom/a.ts', `export const x = 1;`),
    ],
    keeps: [
      bad('src/grm/a.ts', `import { limits } from '../limits.js'; import { x } from './vote.js';`),
      bad('src/work/a.ts', `import { fault } from '../fault.js'; import { x } from '../grm/vote.js';`),
      bad('src/coordinator/a.ts', `import type { WorkQueue } from '../queue/queue.js';`),
      bad(
        'src/grm/a.ts',
        `// import { x } from '../rpc/server.js';\nexport const text = "import x from '../cli/main.js'";`,
      ),
    ],
  },
  'package home': {
    breaks: [
      bad('src/coordinator/a.ts', `import { jetstream } from '@nats-io/jetstream';`),
      bad('src/worker/a.ts', `import type { Server } from '@grpc/grpc-js';`),
      bad('src/cli/a.ts', `import { request } from 'undici';`),
      bad('src/process/a.ts', `import { pino } from 'pino';`),
      bad('src/rpc/a.ts', `import { z } from 'zod';`),
      bad('src/queue/a.ts', `import { createServer } from 'node:http';`),
      bad('src/queue/a.ts', `import { createServer } from 'http';`),
      bad('src/engine/a.ts', `import { getLlama } from 'node-llama-cpp';`),
      bad('src/cli/a.ts', `import { fastify } from 'fastify';`),
      bad('src/cli/a.ts', `import _ from 'lodash';`),
      bad('services/coordinator/a.ts', `import { z } from 'zod';`),
      bad('services/run.ts', `import { pino } from 'pino';`),
    ],
    keeps: [
      bad('src/queue/a.ts', `import { jetstream } from '@nats-io/jetstream';`),
      bad('src/observe/a.ts', `import { createServer } from 'node:http'; import { pino } from 'pino';`),
      bad('src/engine/a.ts', `import { type LlamaModel } from 'node-llama-cpp';`),
      bad('test/unit/a.test.ts', `import fc from 'fast-check';`),
    ],
  },
  'services are ends': {
    breaks: [
      bad('src/cli/a.ts', `import { x } from '../../services/run.js';`),
      bad('src/cli/a.ts', `import { x } from '../../test/support/nats.js';`),
    ],
    keeps: [
      bad('services/coordinator/main.ts', `import { x } from '../run.js';`),
      bad('src/cli/a.ts', `const path = 'services/coordinator/main.js';`),
    ],
  },
  'pure rooms': {
    breaks: [
      bad('src/grm/a.ts', `export const now = () => Date.now();`),
      bad('src/grm/a.ts', `export const now = () => performance.now();`),
      bad('src/work/a.ts', `export const x = Math.random();`),
      bad('src/work/a.ts', `export const x = Math['random']();`),
      bad('src/work/a.ts', `setTimeout(() => undefined, 1);`),
      bad('src/work/a.ts', `export const later = { setTimeout }.setTimeout;`),
      bad('src/grm/a.ts', `import { createHash } from 'node:crypto';`),
      bad('src/grm/a.ts', `export const x = new Date(0);`),
      bad('src/spct/a.ts', `export const now = () => Date.now();`),
    ],
    keeps: [
      bad(
        'src/grm/a.ts',
        `export interface X { readonly process: string; crypto?: number }\nexport const f = (x: X) => x.process;`,
      ),
      bad('src/grm/a.ts', `export const f = (random: () => number) => Math.floor(random());`),
      bad('src/queue/a.ts', `export const now = () => Date.now();`),
    ],
  },
  environment: {
    breaks: [
      bad('src/cli/a.ts', `export const x = process.env.HOME;`),
      bad('services/coordinator/a.ts', `export const x = process['env'];`),
      bad('src/engine/a.ts', `const { env } = process;`),
      bad('src/engine/a.ts', `const { env: world } = process;`),
      bad('src/engine/a.ts', `import { env } from 'node:process';`),
      bad('services/run.ts', `export const x = process.env;`),
    ],
    keeps: [
      bad('src/process/environment.ts', `export const x = process.env;`),
      bad('src/engine/a.ts', `export const f = (options: { env: object }) => options.env;`),
      bad('test/unit/a.test.ts', `export const x = process.env;`),
    ],
  },
  exit: {
    breaks: [
      bad('src/process/run.ts', `process.exit(1);`),
      bad('src/queue/a.ts', `const { exit } = process;`),
      bad('src/limits.ts', `process['exit'](1);`),
    ],
    keeps: [
      bad('src/cli/main.ts', `process.exit(1);`),
      bad('services/run.ts', `process.exit(1);`),
      bad('src/queue/a.ts', `process.exitCode = 1;`),
    ],
  },
  'no barrel': {
    breaks: [
      bad('src/grm/index.ts', `export const x = 1;`),
      bad('src/grm/a.ts', `export * from './vote.js';\nexport const x = 1;`),
      bad('src/grm/a.ts', `export { vote } from './vote.js';\nexport type { Vote } from './verdict.js';`),
    ],
    keeps: [bad('src/rpc/client.ts', `export type { Vote } from './verdict.js';\nexport const x = 1;`)],
  },
  'no default export': {
    breaks: [
      bad('src/grm/a.ts', `export default 1;`),
      bad('src/grm/a.ts', `export default function f() {}`),
      bad('src/grm/a.ts', `const x = 1; export { x as default };`),
      bad('test/support/a.ts', `export default class A {}`),
    ],
    keeps: [bad('vitest.config.ts', `export default {};`), bad('src/grm/a.ts', `export const x = { default: 1 };`)],
  },
  'no drawer names': {
    breaks: [
      bad('src/grm/utils.ts', ''),
      bad('src/common/a.ts', ''),
      bad('src/grm/vote-helpers.ts', ''),
      bad('src/actor/actor-manager.ts', ''),
      bad('test/support/string_util.ts', ''),
    ],
    keeps: [bad('src/engine/managed.ts', ''), bad('src/grm/utility.ts', '')],
  },
  length: {
    breaks: [bad('src/grm/a.ts', 'export {};\n'.repeat(401)), bad('test/a.test.ts', 'export {};\n'.repeat(601))],
    keeps: [bad('src/grm/a.ts', 'export {};\n'.repeat(400)), bad('test/a.test.ts', 'export {};\n'.repeat(600))],
  },
  'no enum': {
    breaks: [bad('src/grm/a.ts', `export enum A { B }`), bad('src/grm/a.ts', `declare const enum A { B }`)],
    keeps: [bad('src/grm/a.ts', `export const A = { B: 0 } as const;`)],
  },
  'no module mock': {
    breaks: [
      bad('test/unit/a.test.ts', `vi.mock('../../src/limits.js');`),
      bad('test/unit/a.test.ts', `vi.doMock('x', () => ({}));`),
      bad('test/unit/a.test.ts', `vi.hoisted(() => 1);`),
    ],
    keeps: [bad('test/unit/a.test.ts', `const text = "vi.mock('x')"; vi.waitFor(() => text);`)],
  },
  'every test runs': {
    breaks: [
      bad('test/unit/a.test.ts', `it.only('x', () => {});`),
      bad('test/unit/a.test.ts', `describe.skip('x', () => {});`),
      bad('test/unit/a.test.ts', `test.todo('x');`),
      bad('test/unit/a.test.ts', `it.concurrent.only('x', () => {});`),
    ],
    keeps: [bad('test/unit/a.test.ts', `it.each([1])('x', () => {}); stream.skip(1); it.runIf(true)('y', () => {});`)],
  },
};

describe('the rules can fail', () => {
  const titled = (file: TidyFile) => [`${file.path}: ${file.text.split('\n', 1)[0] ?? ''}`, file] as const;
  for (const [rule, { breaks, keeps }] of Object.entries(examples) as [RuleName, (typeof examples)[RuleName]][]) {
    it.each(breaks.map(titled))(`${rule}: refuses %s`, (_title, file) => {
      expect(check(file, [rule]).map((finding) => finding.rule)).toContain(rule);
    });
    it.each(keeps.map(titled))(`${rule}: takes %s`, (_title, file) => {
      expect(check(file, [rule])).toEqual([]);
    });
  }
});
