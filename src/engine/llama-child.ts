// The embedded engine's child process, as its parent sees it.
//
//   C1. A call hears answers until it ends itself, or is told once that the child is lost. After that it hears nothing.
//   C2. Nothing is restarted here: a lost child stays lost, with its reason. Supervision is the actors' business.
//   C3. close() ends the child for certain: first the channel, then, past its time, a kill.

import { fork, type ChildProcess } from 'node:child_process';
import { availableParallelism, homedir } from 'node:os';
import { join, resolve } from 'node:path';
import { limits } from '../limits.js';
import { steadyAfter, steadyNow } from '../process/clock.js';
import { UnfitModel, type Health } from './engine.js';
import { checkGguf } from './gguf-file.js';
import type {
  FromChild,
  LlamaChildOptions,
  LlamaFacts,
  LlamaGpu,
  LlamaGrammarOption,
  LlamaLogLevel,
  LlamaSharing,
  LlamaStats,
  ToChild,
} from './llama-protocol.js';
import { locateLlama } from './llama-runtime.js';

/** What of the child's last words is kept for the reason of its death, characters. */
const LAST_WORDS_CHARS = 500;
/** The opening listens under the id that no call gets. */
const OPENING = 0;

export interface LlamaOptions {
  /** Unique on the node. */
  readonly name: string;
  /** A path to a GGUF file, or `hf:user/repo/file.gguf` or `hf:user/repo:Q8_0`. */
  readonly model: string;
  /** Samples generated in parallel; each has a context of its own. */
  readonly slots: number;
  /** Evaluated prompts kept for the samples to come, each as big as a slot. Default: 2, or 1 with one slot. */
  readonly warmPrompts?: number;
  /** Default: what the model was trained on, at most 4096. */
  readonly contextTokens?: number;
  /** CPU threads. Default: half of the CPUs; more than there are free makes it slower, not faster. */
  readonly threads?: number;
  /** Default: false (CPU). `auto` takes the best backend whose package is installed. */
  readonly gpu?: LlamaGpu;
  readonly grammar?: LlamaGrammarOption;
  /** Texts that end an answer; they are not part of it. */
  readonly stop?: readonly string[];
  /** Control tokens that texts must not spell, besides those of the vocabulary. */
  readonly specialTokens?: readonly string[];
  /** How samples of one prompt share its evaluation. Default: copy. */
  readonly sharing?: LlamaSharing;
  /** For ranking: the answers whose log-odds are the meta reward. Default: Yes, No. */
  readonly yesWord?: string;
  readonly noWord?: string;
  /** Where `hf:` models are kept. Default: ~/.cache/grm/models. */
  readonly modelsDir?: string;
  /** Where services/llama-engine's packages are installed. Default: in this package. */
  readonly runtimeDir?: string;
  readonly onProgress?: (stage: 'download' | 'load', doneRatio: number) => void;
  readonly log?: (level: LlamaLogLevel, message: string) => void;
  /** Aborts the opening: a download can take long. */
  readonly signal?: AbortSignal;
}

/** How a call ended. `expired`: its deadline passed; `closed`: close() came first. */
export type Ending =
  | { readonly kind: 'answered' }
  | { readonly kind: 'aborted' }
  | { readonly kind: 'expired' }
  | { readonly kind: 'closed' }
  | { readonly kind: 'lost'; readonly reason: string };

export interface CallTerms {
  /** Told by steadyNow. */
  readonly deadlineAtMs: number;
  readonly signal: AbortSignal | undefined;
}

interface Call {
  answer(message: FromChild): void;
  end(ending: Ending): void;
}

type State =
  | { readonly kind: 'opening' }
  | { readonly kind: 'alive' }
  | { readonly kind: 'closing' }
  | { readonly kind: 'lost'; readonly reason: string };

/** Starts the child and waits until its model answers. Rejects with what to do when it cannot. */
export async function openLlamaChild(options: LlamaOptions): Promise<LlamaChild> {
  const located = locateLlama(options.runtimeDir);
  if (located.kind === 'missing') throw new Error(located.reason);
  const resolved = await resolveOptions(options, located.runtimeDir);
  options.signal?.throwIfAborted();
  const process = fork(located.childMain, [], {
    serialization: 'advanced',
    stdio: ['ignore', 'ignore', 'pipe', 'ipc'],
    // Not the parent's: a debugger's port or a test runner's loader is no business of the child.
    execArgv: [],
  });
  const child = new LlamaChild(process, options.log ?? (() => undefined));
  try {
    await child.open(resolved, options);
  } catch (error) {
    await child.close();
    throw error;
  }
  return child;
}

async function resolveOptions(options: LlamaOptions, runtimeDir: string): Promise<LlamaChildOptions> {
  const hub = options.model.startsWith('hf:');
  const model = hub ? options.model : resolve(options.model);
  if (!hub) await checkGguf(model);
  const warmPrompts = options.warmPrompts ?? Math.min(2, options.slots);
  const sequences = options.slots + warmPrompts;
  if (options.slots < 1 || warmPrompts < 1 || sequences > limits.llamaSequencesMax) {
    throw new Error(`slots and warm prompts must be at least 1, together at most ${limits.llamaSequencesMax}`);
  }
  const stop = (options.stop ?? []).filter((text) => text.length > 0);
  if (stop.length > limits.llamaStopsMax || stop.some((text) => text.length > limits.llamaStopCharsMax)) {
    throw new Error(`at most ${limits.llamaStopsMax} stop sequences of ${limits.llamaStopCharsMax} characters`);
  }
  return {
    runtimeDir,
    model,
    modelsDir: options.modelsDir ?? join(homedir(), '.cache', 'grm', 'models'),
    slots: options.slots,
    warmPrompts,
    contextTokens: options.contextTokens,
    threads: options.threads ?? Math.max(1, Math.floor(availableParallelism() / 2)),
    gpu: options.gpu ?? false,
    grammar: options.grammar ?? 'none',
    stop,
    sharing: options.sharing ?? 'copy',
    yesWord: options.yesWord ?? 'Yes',
    noWord: options.noWord ?? 'No',
  };
}

export class LlamaChild {
  readonly #process: ChildProcess;
  readonly #log: (level: LlamaLogLevel, message: string) => void;
  readonly #calls = new Map<number, Call>();
  readonly #exited: Promise<void>;
  /** Resolves with the reason when the process ends by itself. */
  readonly died: Promise<string>;
  #die: (reason: string) => void = () => undefined;
  #state: State = { kind: 'opening' };
  #facts: LlamaFacts | undefined;
  #lastWords = '';
  #ids = 0;

  constructor(process: ChildProcess, log: (level: LlamaLogLevel, message: string) => void) {
    this.#process = process;
    this.#log = log;
    this.died = new Promise((resolve) => (this.#die = resolve));
    process.stderr?.setEncoding('utf8').on('data', (words: string) => {
      this.#lastWords = (this.#lastWords + words).slice(-LAST_WORDS_CHARS);
    });
    this.#exited = new Promise((resolve) => {
      process.on('error', (error) => {
        this.#lose(`the llama process could not be started: ${error.message}`);
        resolve();
      });
      process.once('exit', (code, signal) => {
        const words = this.#lastWords.trim();
        this.#lose(`the llama process ended (${signal ?? `exit code ${code}`})${words === '' ? '' : `: ${words}`}`);
        resolve();
      });
    });
  }

  /** The operating system's id, for logs and for tests that kill it. */
  get pid(): number | undefined {
    return this.#process.pid;
  }

  get facts(): LlamaFacts {
    if (this.#facts === undefined) throw new Error('the llama process is not open');
    return this.#facts;
  }

  /** Called once, by openLlamaChild. */
  async open(resolved: LlamaChildOptions, options: LlamaOptions): Promise<void> {
    let stall: NodeJS.Timeout | undefined;
    let aborted: () => void = () => undefined;
    try {
      await new Promise<void>((done, fail) => {
        const watch = (): void => {
          clearTimeout(stall);
          const reason = `no progress opening ${resolved.model} for ${limits.llamaOpenStallMsMax / 1000} seconds`;
          stall = setTimeout(() => fail(new Error(reason)), limits.llamaOpenStallMsMax);
        };
        aborted = () => fail(asError(options.signal?.reason));
        options.signal?.addEventListener('abort', aborted, { once: true });
        watch();
        this.#calls.set(OPENING, {
          answer: (message) => {
            if (message.kind === 'progress') {
              watch();
              options.onProgress?.(message.stage, message.doneRatio);
            } else if (message.kind === 'failed') {
              fail(message.unfit ? new UnfitModel(message.reason) : new Error(message.reason));
            } else if (message.kind === 'ready') {
              this.#facts = message.facts;
              this.#state = { kind: 'alive' };
              done();
            }
          },
          end: (ending) => fail(new Error(ending.kind === 'lost' ? ending.reason : 'closed while it was opening')),
        });
        this.#process.on('message', (message: FromChild) => this.#receive(message));
        this.#post({ kind: 'open', options: resolved });
      });
    } finally {
      clearTimeout(stall);
      options.signal?.removeEventListener('abort', aborted);
      this.#calls.delete(OPENING);
    }
  }

  /**
   * Sends a call and hands its answers to `heard` until that says true (C1). When it ends otherwise the child is told to stop
   * working for it. Never rejects.
   */
  async call(make: (id: number) => ToChild, terms: CallTerms, heard: (message: FromChild) => boolean): Promise<Ending> {
    const { signal, deadlineAtMs } = terms;
    const leftMs = deadlineAtMs - steadyNow();
    if (this.#state.kind === 'lost') return this.#state;
    if (this.#state.kind !== 'alive') return { kind: 'closed' };
    if (signal?.aborted) return { kind: 'aborted' };
    if (leftMs <= 0) return { kind: 'expired' };
    const id = ++this.#ids;
    return await new Promise<Ending>((resolve) => {
      const end = (ending: Ending): void => {
        if (!this.#calls.delete(id)) return;
        endTimer();
        signal?.removeEventListener('abort', abort);
        if (ending.kind === 'aborted' || ending.kind === 'expired') this.#post({ kind: 'cancel', id });
        resolve(ending);
      };
      const abort = (): void => end({ kind: 'aborted' });
      const endTimer = steadyAfter(leftMs, () => end({ kind: 'expired' }));
      signal?.addEventListener('abort', abort, { once: true });
      const answer = (message: FromChild): void => {
        if (heard(message)) end({ kind: 'answered' });
      };
      this.#calls.set(id, { answer, end });
      this.#post(make(id));
    });
  }

  /** Undefined when it does not answer in time or is gone. */
  async stats(signal?: AbortSignal): Promise<LlamaStats | undefined> {
    let stats: LlamaStats | undefined;
    const terms = { deadlineAtMs: steadyNow() + limits.llamaAnswerMsMax, signal };
    await this.call(
      (id) => ({ kind: 'stats', id }),
      terms,
      (message) => {
        if (message.kind === 'stats') stats = message.stats;
        return true;
      },
    );
    return stats;
  }

  async health(signal: AbortSignal): Promise<Health> {
    if ((await this.stats(signal)) !== undefined) return { kind: 'ok' };
    const reason = this.#state.kind === 'lost' ? this.#state.reason : 'the llama process does not answer';
    return { kind: 'failing', reason };
  }

  /** Calls still open end as `closed`. */
  async close(): Promise<void> {
    if (this.#state.kind !== 'lost') {
      this.#state = { kind: 'closing' };
      this.#endAll({ kind: 'closed' });
    }
    if (this.#process.connected) this.#process.disconnect();
    const timer = setTimeout(() => this.#process.kill('SIGKILL'), limits.llamaCloseMsMax);
    await this.#exited;
    clearTimeout(timer);
  }

  #receive(message: FromChild): void {
    if (message.kind === 'log') this.#log(message.level, message.message);
    else this.#calls.get('id' in message ? message.id : OPENING)?.answer(message);
  }

  #post(message: ToChild): void {
    // A closed channel is no news here: the exit that closed it is what counts.
    if (this.#process.connected) this.#process.send(message, () => undefined);
  }

  #lose(reason: string): void {
    // After close() this is no loss but what was asked for.
    if (this.#state.kind === 'closing') return;
    const lost = { kind: 'lost', reason } as const;
    this.#state = lost;
    this.#die(reason);
    this.#endAll(lost);
  }

  #endAll(ending: Ending): void {
    for (const call of [...this.#calls.values()]) call.end(ending);
  }
}

function asError(reason: unknown): Error {
  return reason instanceof Error ? reason : new Error(String(reason));
}
