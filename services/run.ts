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
  /** Longest that `close` may take. */
  readonly closeMs: number;
  close(): Promise<void>;
}

/** Usage of every service: `[--config FILE] [--set section.key=value ...]`. */
export async function runService(name: string, open: (config: Config) => Promise<OpenedService>): Promise<void> {
  const exit = (code: number): never => process.exit(code);
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

/** `grm up` starts services with an IPC channel: it hears when they are ready, and they end when it is gone. */
function tellParent(opened: OpenedService): void {
  if (!process.send) return;
  const send = (message: object): void => {
    if (process.connected) process.send?.(message);
  };
  send({ kind: 'ready', ...opened.ready });
  opened.onServing?.((serving) => send({ kind: 'serving', ...serving }));
  process.once('disconnect', () => process.kill(process.pid, 'SIGTERM'));
}
