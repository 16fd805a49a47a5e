// Service: one process of an embedded cluster, supervised.
//
//   starting --ready--> running --ended--> pausing --due--> starting ...
//   starting, the first time --ended--> failed: the start is wrong, and trying again would not help
//   any --stop--> stopped
//
//   S1. Its process runs in a group of its own: a Ctrl-C in the terminal reaches only the parent, which stops its services in order.
//   S2. A process that dies is started again after growing pauses; one that dies limits.upRestartsMax times in a row is lost.
//   S3. After `stop` resolved the process is gone.

import { fork, type ChildProcess } from 'node:child_process';
import { join } from 'node:path';
import { ServerLog } from '../engine/server-log.js';
import { limits } from '../limits.js';
import { steadyNow } from '../process/clock.js';
import { exitCodes } from '../process/run.js';
import { packageRoot } from '../process/version.js';
import { CliError } from './context.js';
import { lastError, lastWords, LineSplitter, logWords } from './last-words.js';

export interface ServicePlan {
  readonly name: string;
  /** Below dist/. */
  readonly script: string;
  /** @param before what the process of the last start told when it was ready: a restart takes the same addresses */
  readonly args: (before: Ready | undefined) => readonly string[];
  readonly env: Readonly<Record<string, string | undefined>>;
  readonly restarts?: RestartPlan;
}

export interface RestartPlan {
  /** Before the first, second ... restart in a row; the last one stays. */
  readonly pausesMs: readonly number[];
  /** In a row. */
  readonly max: number;
}

const restartsDefault: RestartPlan = { pausesMs: [250, 1_000, 4_000, 15_000], max: limits.upRestartsMax };

/** Facts that a service tells when it is ready. */
export interface Ready {
  readonly grpc?: string;
  readonly http?: string;
  readonly node?: string;
  readonly url?: string;
  readonly natsPid?: string;
}

/** What a service tells later. */
export type News =
  | { readonly kind: 'serving'; readonly workers: number; readonly metaWorkers: number }
  | { readonly kind: 'engines'; readonly engines: readonly EngineNews[] };

export interface EngineNews {
  readonly name: string;
  readonly state: string;
  readonly reason: string;
  readonly restarts: number;
  /** While it loads: what it says, and how far it is when that is known. */
  readonly loading?: { readonly line: string; readonly doneRatio?: number };
}

export interface ServiceHooks {
  readonly logDir: string;
  /** A process was started: `pid` is its number. */
  onStarted(): void;
  onReady(service: Service, ready: Ready): void;
  onNews(service: Service, news: News): void;
  onLog(service: Service, line: string): void;
  /** `againInMs` is absent when it is lost (S2). */
  onEnded(service: Service, reason: string, againInMs?: number): void;
}

const lastWordsMs = 300;
const unreadyGraceMs = 2_000;

export class Service {
  readonly name: string;
  #child: ChildProcess | undefined;
  #gone: Promise<void> = Promise.resolve();
  #stopping = false;
  #failures = 0;
  #ready: Ready | undefined;
  #exitCode: number | undefined;
  #lastLine = '';
  #pause: NodeJS.Timeout | undefined;

  constructor(
    private readonly plan: ServicePlan,
    private readonly hooks: ServiceHooks,
  ) {
    this.name = plan.name;
  }

  get pid(): number | undefined {
    return this.#child?.pid;
  }

  /** Of the process that ended last. */
  get exitCode(): number | undefined {
    return this.#exitCode;
  }

  get script(): string {
    return this.plan.script;
  }

  /** The first start. Rejects with CliError when the process is not ready in time, or ends instead; it is stopped then. */
  async start(): Promise<Ready> {
    try {
      return await this.#launch();
    } catch (error) {
      await this.stop(0);
      throw error;
    }
  }

  send(message: object): void {
    if (this.#child?.connected === true) this.#child.send(message, () => undefined);
  }

  /** What it said last, in words; empty before it said anything. */
  get lastLine(): string {
    return this.#lastLine;
  }

  get isReady(): boolean {
    return this.#ready !== undefined;
  }

  /** SIGTERM, and SIGKILL after `graceMs`; sooner when it never was ready, and has nothing to drain. */
  async stop(drainMs: number): Promise<void> {
    const graceMs = this.#ready ? drainMs : Math.min(drainMs, unreadyGraceMs);
    this.#stopping = true;
    clearTimeout(this.#pause);
    const child = this.#child;
    if (child?.exitCode !== null || child.signalCode !== null) return this.#gone;
    child.kill(graceMs > 0 ? 'SIGTERM' : 'SIGKILL');
    const timer = setTimeout(() => child.kill('SIGKILL'), graceMs);
    await this.#gone;
    clearTimeout(timer);
  }

  kill(signal: NodeJS.Signals = 'SIGKILL'): void {
    this.#stopping = true;
    clearTimeout(this.#pause);
    this.#child?.kill(signal);
  }

  async #launch(): Promise<Ready> {
    const log = await ServerLog.open(join(this.hooks.logDir, `${this.name}.log`), () => undefined);
    if (this.#stopping) {
      await log.close();
      throw new CliError(`${this.name} is not wanted any more`);
    }
    const child = fork(join(packageRoot, 'dist', this.plan.script), [...this.plan.args(this.#ready)], {
      env: this.plan.env,
      stdio: ['ignore', 'pipe', 'pipe', 'ipc'],
      detached: true,
    });
    this.#child = child;
    this.hooks.onStarted();
    const startedAtMs = steadyNow();
    const last: string[] = [];
    for (const stream of [child.stdout, child.stderr]) {
      const splitter = new LineSplitter((line) => {
        last.push(line);
        if (last.length > limits.upLastLinesMax) last.shift();
        this.#lastLine = logWords(line).words;
        this.hooks.onLog(this, line);
      });
      stream?.on('data', (chunk: Buffer) => {
        void log.append(chunk);
        splitter.take(chunk);
      });
    }
    return new Promise((resolve, reject) => {
      const timer = setTimeout(() => {
        const waited = `${this.name} was not ready within ${limits.upReadyMs / 1_000} s`;
        reject(new CliError(`${waited}:\n${lastWords(last)}\n  log: ${log.path}`, exitCodes.unavailable));
        // The first time, start() ends it; later, its end makes the next start.
        if (this.#ready) child.kill('SIGKILL');
      }, limits.upReadyMs);
      child.on('message', (message: ({ readonly kind: 'ready' } & Ready) | News) => {
        if (message.kind !== 'ready') return this.hooks.onNews(this, message);
        clearTimeout(timer);
        this.#ready = message;
        this.hooks.onReady(this, message);
        resolve(message);
      });
      this.#gone = new Promise((gone) => {
        let ended = false;
        const end = (how: string): void => {
          if (ended) return;
          ended = true;
          clearTimeout(timer);
          void log.close();
          gone();
          const words = `${lastWords(last)}\n  log: ${log.path}`;
          reject(new CliError(`${this.name} did not start (${how}):\n${words}`, codeOf(child.exitCode)));
          if (this.#stopping || !this.#ready) return;
          const error = lastError(last);
          this.#startAgain(error === undefined ? how : `${how}: ${error}`, steadyNow() - startedAtMs);
        };
        child.once('error', (error) => {
          // Without a process there is no exit to wait for.
          if (child.pid === undefined) end(error.message);
        });
        child.once('exit', (code, signal) => {
          this.#exitCode = code ?? undefined;
          const how = signal ? `signal ${signal}` : `exit code ${code}`;
          // Its last words come until "close"; a grandchild that holds the pipe must not keep us waiting.
          const late = setTimeout(end, lastWordsMs, how);
          child.once('close', () => {
            clearTimeout(late);
            end(how);
          });
        });
      });
    });
  }

  #startAgain(reason: string, livedMs: number): void {
    this.#failures = livedMs >= limits.upWellAfterMs ? 1 : this.#failures + 1;
    const { pausesMs, max } = this.plan.restarts ?? restartsDefault;
    if (this.#failures > max) return this.hooks.onEnded(this, reason);
    const pauseMs = pausesMs[Math.min(this.#failures, pausesMs.length) - 1]!;
    this.hooks.onEnded(this, reason, pauseMs);
    this.#pause = setTimeout(() => {
      // Its end, ready or not, is heard above.
      if (!this.#stopping) this.#launch().catch(() => undefined);
    }, pauseMs);
  }
}

function codeOf(
  exitCode: number | null,
): typeof exitCodes.failure | typeof exitCodes.usage | typeof exitCodes.unavailable {
  if (exitCode === exitCodes.usage || exitCode === exitCodes.unavailable) return exitCode;
  return exitCodes.failure;
}
