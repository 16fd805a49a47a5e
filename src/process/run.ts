// Run: one process from its start to its exit code.
//
//   opening --opened--> running --told to stop, or ended by itself--> closing --closed--> exit
//
//   R1. The first SIGTERM or SIGINT closes gracefully, the second ends at once. While opening, the first aborts the opening's signal.
//   R2. Stopping is bounded: by `closeMs` once open, by limits.shutdownMarginMs before. Then the process ends with exitCodes.graceOver.
//   R3. An unhandled rejection or exception is logged and ends the process with exitCodes.failure: its state cannot be trusted any more.
//   R4. `exit` is called exactly once, by nobody else.

import { FaultError, faults } from '../fault.js';
import { limits } from '../limits.js';
import type { Log } from '../observe/log.js';

/** What the exit codes of our processes mean. */
export const exitCodes = {
  ok: 0,
  /** Something failed; the log or standard error says what. */
  failure: 1,
  /** Wrong flags or configuration: nothing was started. */
  usage: 2,
  /** A service that is needed (NATS, an engine, a coordinator) does not answer: trying again later may help. */
  unavailable: 3,
  /** Told to stop, but work was still running when the grace was over. It is left to other processes. */
  graceOver: 4,
  /** Rows were scored, and so many of them are invalid that the result is of little use (`grm score --max-invalid-share`). */
  tooManyInvalid: 5,
  /** Told to stop twice by Ctrl-C (128 + SIGINT). */
  interrupted: 130,
  /** Told to stop twice by SIGTERM (128 + SIGTERM). */
  terminated: 143,
} as const;

export type ExitCode = (typeof exitCodes)[keyof typeof exitCodes];

export interface Running {
  /** Drains and frees everything. */
  close(): Promise<void>;
  /** How long `close` may take: the drain grace and a margin. */
  readonly closeMs: number;
  /** Settles when it ends by itself: then it is closed and the process ends. Absent: it runs until told to stop. */
  readonly ended?: Promise<void>;
  /** Takes the place of the log that the process started with. */
  readonly log?: Log;
}

/** What signals and stray errors come from: Node's `process`. */
export interface ProcessEvents {
  on(event: string, hear: (what: unknown) => void): unknown;
  off(event: string, hear: (what: unknown) => void): unknown;
}

export interface RunOptions {
  readonly name: string;
  /** `signal` aborts when told to stop before it is open. */
  open(signal: AbortSignal): Promise<Running>;
  readonly log: Log;
  /** Ends the process: `process.exit`, given by services/ or cli/. */
  readonly exit: (code: ExitCode) => void;
  readonly events?: ProcessEvents;
}

const stopSignals = { SIGTERM: exitCodes.terminated, SIGINT: exitCodes.interrupted } as const;
type StopSignal = keyof typeof stopSignals;

/** Resolves to the exit code after `exit` was called with it; never rejects. */
export async function runProcess(options: RunOptions): Promise<ExitCode> {
  const events: ProcessEvents = options.events ?? process;
  const life = new Life(options);
  const heard: [string, (what: unknown) => void][] = [
    ['SIGTERM', () => life.onStop('SIGTERM')],
    ['SIGINT', () => life.onStop('SIGINT')],
    ['unhandledRejection', (error) => life.onStray(error)],
    ['uncaughtException', (error) => life.onStray(error)],
  ];
  for (const [event, hear] of heard) events.on(event, hear);
  const code = await life.run();
  for (const [event, hear] of heard) events.off(event, hear);
  options.exit(code);
  return code;
}

class Life {
  readonly #name: string;
  #log: Log;
  #open = false;
  /** Aborts at the first order to stop. */
  readonly #stop = new AbortController();
  readonly #opening = new AbortController();
  /** Aborts, with the exit code as its reason, when there is nothing left to wait for. */
  readonly #end = new AbortController();

  constructor(private readonly options: RunOptions) {
    this.#name = options.name;
    this.#log = options.log;
  }

  onStop(signal: StopSignal): void {
    if (this.#stop.signal.aborted) {
      this.#log.warn(`${this.#name}: ${signal} again, ending at once`);
      this.#end.abort(stopSignals[signal]);
      return;
    }
    this.#log.info(`${this.#name}: ${signal}, stopping`);
    this.#stop.abort();
    if (!this.#open) this.#opening.abort(new Error(`${signal} while starting`));
  }

  onStray(error: unknown): void {
    this.#log.fatal(`${this.#name}: unexpected error`, { error });
    this.#end.abort(exitCodes.failure);
  }

  async run(): Promise<ExitCode> {
    const code = await Promise.race([
      this.#whole(),
      aborted(this.#end.signal).then(() => this.#end.signal.reason as ExitCode),
    ]);
    this.#log.info(`${this.#name}: ended`, { code });
    return code;
  }

  async #whole(): Promise<ExitCode> {
    const running = await this.#opened();
    if (typeof running === 'number') return running;
    this.#open = true;
    this.#log = running.log ?? this.#log;
    this.#log.info(`${this.#name}: started`);
    const code = await this.#lived(running);
    const closed = await this.#closed(running);
    return closed === exitCodes.ok ? code : closed;
  }

  async #opened(): Promise<Running | ExitCode> {
    const never = new Promise<never>(() => undefined);
    const stuck = aborted(this.#stop.signal).then(() => (this.#open ? never : within(never, limits.shutdownMarginMs)));
    try {
      const opening = this.options.open(this.#opening.signal);
      const first = await Promise.race([opening, stuck]);
      if (first !== 'late') return first;
      this.#log.error(`${this.#name}: starting did not heed the order to stop`);
      return exitCodes.graceOver;
    } catch (error) {
      if (this.#stop.signal.aborted) return exitCodes.ok;
      this.#log.fatal(`${this.#name}: cannot start`, { error });
      return codeOf(error);
    }
  }

  async #lived(running: Running): Promise<ExitCode> {
    try {
      await Promise.race([aborted(this.#stop.signal), ...(running.ended ? [running.ended] : [])]);
      return exitCodes.ok;
    } catch (error) {
      this.#log.fatal(`${this.#name}: failed`, { error });
      return codeOf(error);
    }
  }

  async #closed(running: Running): Promise<ExitCode> {
    try {
      if ((await within(running.close(), running.closeMs)) !== 'late') return exitCodes.ok;
      this.#log.error(`${this.#name}: still busy when its grace was over; what is left goes to other processes`);
      return exitCodes.graceOver;
    } catch (error) {
      this.#log.error(`${this.#name}: closing failed`, { error });
      return exitCodes.failure;
    }
  }
}

function aborted(signal: AbortSignal): Promise<void> {
  return new Promise((resolve) => {
    if (signal.aborted) resolve();
    else signal.addEventListener('abort', () => resolve(), { once: true });
  });
}

async function within<T>(work: Promise<T>, ms: number): Promise<T | 'late'> {
  let timer: NodeJS.Timeout | undefined;
  const late = new Promise<'late'>((resolve) => {
    timer = setTimeout(() => resolve('late'), ms);
  });
  try {
    return await Promise.race([work, late]);
  } finally {
    clearTimeout(timer);
  }
}

function codeOf(error: unknown): ExitCode {
  const away = error instanceof FaultError && faults[error.fault.kind].grpc === 'UNAVAILABLE';
  return away ? exitCodes.unavailable : exitCodes.failure;
}
