// Run: what is the same for every service's main: read the configuration, open the process, tell the parent, end cleanly.

import { parseArgs } from 'node:util';
import type { Log } from '../src/observe/log.js';
import { openLog } from '../src/observe/log.js';
import { problemText, resolveConfig } from '../src/process/config.js';
import { environment } from '../src/process/environment.js';
import { exitCodes, runProcess } from '../src/process/run.js';
import type { Config } from '../src/process/schema.js';

export interface OpenedService {
  /** Facts for the parent and the first line of the log: addresses, node id. */
  readonly ready: Readonly<Record<string, string>>;
  readonly log: Log;
  /** Tells how many nodes serve, now and at every change; for `grm up`, which waits for them. */
  onServing?(tell: (serving: { readonly workers: number; readonly metaWorkers: number }) => void): void;
  /** Tells how its engines are, now and at every change; for `grm up`. */
  onEngines?(tell: (engines: readonly EngineNews[]) => void): void;
  /** Longest that `close` may take. */
  readonly closeMs: number;
  close(): Promise<void>;
}

/** One engine of a worker, for the parent. */
export interface EngineNews {
  readonly name: string;
  readonly state: string;
  readonly reason: string;
  readonly restarts: number;
  /** While it starts: what it says, and how far it is when that is known. */
  readonly loading?: { readonly line: string; readonly doneRatio?: number };
}

/** Usage of every service: `[--config FILE] [--set section.key=value ...]`. */
export async function runService(name: string, open: (config: Config) => Promise<OpenedService>): Promise<void> {
  const exit = (code: number): never => process.exit(code);
  endWithParent();
  const bootLog = openLog({ level: 'info', format: 'auto', texts: false, name });
  const config = readConfig(name, exit);
  await runProcess({
    name,
    log: bootLog,
    exit,
    open: async () => {
      const opened = await open(config);
      tellParent(opened);
      return opened;
    },
  });
}

function readConfig(name: string, exit: (code: number) => never): Config {
  let args: { config?: string; set?: string[] };
  try {
    args = parseArgs({ options: { config: { type: 'string' }, set: { type: 'string', multiple: true } } }).values;
  } catch (error) {
    process.stderr.write(`${name}: ${error instanceof Error ? error.message : String(error)}\n`);
    return exit(exitCodes.usage);
  }
  const resolved = resolveConfig({
    ...(args.config !== undefined && { file: args.config }),
    env: environment(),
    flags: { set: args.set ?? [] },
  });
  if (resolved.kind === 'ok') return resolved.config;
  for (const problem of resolved.problems) process.stderr.write(`${name}: ${problemText(problem)}\n`);
  return exit(exitCodes.usage);
}

/** `grm up` starts services with an IPC channel. When it is gone, however early, they drain and end. */
function endWithParent(): void {
  if (!process.send) return;
  const end = (): void => void process.kill(process.pid, 'SIGTERM');
  process.once('disconnect', end);
  // It went away while this process loaded its code: nobody will say so again. The handler of the signal comes first.
  if (!process.connected) setImmediate(end);
}

/** The parent hears when the service is ready, and how it goes on. */
function tellParent(opened: OpenedService): void {
  if (!process.send) return;
  const send = (message: object): void => {
    if (process.connected) process.send?.(message);
  };
  send({ kind: 'ready', ...opened.ready });
  opened.onServing?.((serving) => send({ kind: 'serving', ...serving }));
  opened.onEngines?.((engines) => send({ kind: 'engines', engines }));
}
