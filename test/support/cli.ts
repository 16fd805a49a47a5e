// The command line as its users run it: `node dist/src/cli/main.js ...` as a process of its own.

import { spawn } from 'node:child_process';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { built, until } from './processes.js';

export interface CliRun {
  readonly pid: number;
  readonly out: () => string;
  readonly err: () => string;
  readonly stdin: NodeJS.WritableStream;
  kill(signal: NodeJS.Signals): void;
  /** Reads no more of standard output, as `head` does. */
  closeOut(): void;
  /** Exit code, or the signal's name. */
  readonly ended: Promise<number | string>;
  /** Resolves when `text` stands in standard output or standard error. */
  says(text: string | RegExp, withinMs?: number): Promise<void>;
}

export interface CliEnd {
  readonly code: number | string;
  readonly out: string;
  readonly err: string;
}

export interface CliFolder extends AsyncDisposable {
  readonly path: string;
  file(name: string): string;
  start(...args: readonly string[]): CliRun;
  /** Runs to its end, with `input` as standard input. */
  run(args: readonly string[], input?: string): Promise<CliEnd>;
}

/** A temporary working folder: no configuration file, no cluster of anybody else. What was started in it ends with it. */
export async function cliFolder(env: Readonly<Record<string, string>> = {}): Promise<CliFolder> {
  const path = await mkdtemp(join(tmpdir(), 'grm-cli-'));
  const main = built('src/cli/main.js');
  const runs: CliRun[] = [];
  const start = (...args: readonly string[]): CliRun => {
    const child = spawn(process.execPath, [main, ...args], {
      cwd: path,
      env: { PATH: process.env.PATH ?? '', HOME: process.env.HOME ?? '', ...env },
      stdio: ['pipe', 'pipe', 'pipe'],
    });
    let out = '';
    let err = '';
    child.stdout.on('data', (chunk: Buffer) => (out += chunk.toString()));
    child.stderr.on('data', (chunk: Buffer) => (err += chunk.toString()));
    // A command may end before it has read all.
    child.stdin.on('error', () => undefined);
    const ended = new Promise<number | string>((resolve) =>
      child.once('close', (code, signal) => resolve(signal ?? code ?? 0)),
    );
    const run: CliRun = {
      pid: child.pid!,
      out: () => out,
      err: () => err,
      stdin: child.stdin,
      kill: (signal) => child.kill(signal),
      closeOut: () => child.stdout.destroy(),
      ended,
      async says(text, withinMs = 60_000) {
        const said = (): boolean =>
          typeof text === 'string' ? (out + err).includes(text) : text.test(out) || text.test(err);
        let over = false;
        void ended.then(() => (over = true));
        await until(() => said() || over, `${args.join(' ')} says ${String(text)}`, withinMs).catch(
          (error: unknown) => {
            throw new Error(`${String(error)}\n${out}\n${err}`);
          },
        );
        if (!said()) throw new Error(`grm ${args.join(' ')} ended without saying ${String(text)}:\n${out}\n${err}`);
      },
    };
    runs.push(run);
    return run;
  };
  return {
    path,
    file: (name) => join(path, name),
    start,
    async run(args, input = '') {
      const run = start(...args);
      run.stdin.end(input);
      const code = await run.ended;
      return { code, out: run.out(), err: run.err() };
    },
    async [Symbol.asyncDispose]() {
      for (const run of runs) run.kill('SIGKILL');
      await Promise.all(runs.map((run) => run.ended));
      await rm(path, { recursive: true, force: true, maxRetries: 20, retryDelay: 250 });
    },
  };
}

/** The objects of JSON lines; other lines are left out. */
export function jsonLines(text: string): readonly Readonly<Record<string, unknown>>[] {
  return text
    .split('\n')
    .filter((line) => line.startsWith('{'))
    .map((line) => JSON.parse(line) as Record<string, unknown>);
}
