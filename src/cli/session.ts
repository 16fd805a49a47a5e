// Session: one run of the command line: its options, what it says, and the exit code that it ends with.

import { InvalidArgumentError, type Command } from 'commander';
import type { ExitCode } from '../process/run.js';
import type { GrmClient } from '../rpc/client.js';
import {
  connect,
  doorOf,
  failureOf,
  readConfig,
  type Door,
  type GlobalOptions,
  type ResolvedConfig,
} from './context.js';
import { paintErr } from './paint.js';
import { printable } from './printable.js';
import { stopSignals } from './stop.js';

export interface Cluster {
  readonly client: GrmClient;
  readonly door: Door;
  readonly resolved: ResolvedConfig;
  /** Aborts at the first Ctrl-C. */
  readonly signal: AbortSignal;
}

export class Session {
  constructor(private readonly program: Command) {}

  get options(): GlobalOptions {
    return this.program.opts<GlobalOptions>();
  }

  get json(): boolean {
    return this.options.json === true;
  }

  /** Runs a command: its result is the exit code, its failure is told on standard error. */
  async run(work: () => Promise<ExitCode>): Promise<void> {
    try {
      process.exitCode = await work();
    } catch (error) {
      this.#fail(error);
    }
  }

  /** Runs a command that asks a cluster. */
  async ask(work: (cluster: Cluster) => Promise<ExitCode>): Promise<void> {
    let door: Door | undefined;
    try {
      const resolved = readConfig(this.options);
      door = doorOf(this.options, resolved);
      using client = connect(this.options, resolved, door);
      const stop = stopSignals();
      process.exitCode = await work({ client, door, resolved, signal: stop.first });
    } catch (error) {
      this.#fail(error, door);
    }
  }

  #fail(error: unknown, door?: Door): void {
    const { message, code } = failureOf(error, door);
    this.note(this.json ? JSON.stringify({ event: 'error', message, exit_code: code }) : failureText(message));
    process.exitCode = code;
  }

  /** The result, on standard output. */
  print(text: string): void {
    process.stdout.write(`${text}\n`);
  }

  /** A result as text, or with --json as JSON. */
  show(value: unknown, text: () => string): void {
    this.print(this.json ? JSON.stringify(value) : text());
  }

  /** What concerns the run, on standard error. */
  note(text: string): void {
    process.stderr.write(`${text}\n`);
  }
}

export function failureText(message: string): string {
  return `${paintErr.red('grm:')} ${printable(message)}`;
}

/** For options and arguments: a whole number from `min` to `max`. */
export function whole(min: number, max: number): (text: string) => number {
  return (text) => {
    const value = /^\d{1,15}$/.test(text) ? Number(text) : Number.NaN;
    if (!(value >= min && value <= max)) throw new InvalidArgumentError(`Expected a whole number ${min}..${max}.`);
    return value;
  };
}

/** For options: a number from `min` to `max`. */
export function decimal(min: number, max: number): (text: string) => number {
  return (text) => {
    const value = text.trim() === '' ? Number.NaN : Number(text);
    if (!(value >= min && value <= max)) throw new InvalidArgumentError(`Expected a number ${min}..${max}.`);
    return value;
  };
}
