// Load: from options to a model that is ready to answer. Everything here happens once, in the child, and throws when it cannot be done:
// the child then says why and leaves.

import { basename } from 'node:path';
import type {
  Llama,
  LlamaContext,
  LlamaGrammar,
  LlamaGrammarEvaluationState,
  LlamaLogLevel as NativeLogLevel,
  LlamaModel,
} from 'node-llama-cpp';
import { limits } from '../limits.js';
import { steadyNow } from '../process/clock.js';
import { checkGguf } from './gguf-file.js';
import { openChat, type Chat } from './llama-chat.js';
import { forkBy, possibleSharing } from './llama-fork.js';
import { grammarText } from './llama-grammar.js';
import { Lanes } from './llama-lane.js';
import type { FromChild, LlamaChildOptions, LlamaFacts, LlamaLogLevel } from './llama-protocol.js';
import { importJinja, importLlama, type LlamaModule } from './llama-runtime.js';
import { Trunks } from './llama-trunk.js';
import { yesNoTokens, type YesNo } from './llama-yesno.js';

const CONTEXT_TOKENS_DEFAULT = 4096;
const PROGRESS_EVERY_MS = 250;

export interface Loaded {
  readonly model: LlamaModel;
  readonly context: LlamaContext;
  readonly facts: LlamaFacts;
  readonly chat: Chat;
  readonly lanes: Lanes;
  readonly trunks: Trunks;
  readonly fork: ReturnType<typeof forkBy>;
  readonly yesNo: YesNo | undefined;
  /** A fresh grammar state for one sample; undefined = free text. */
  grammarState(scoreCount: number | undefined): Promise<LlamaGrammarEvaluationState | undefined>;
}

export async function loadLlama(options: LlamaChildOptions, tell: (message: FromChild) => void): Promise<Loaded> {
  const progress = progressTeller(tell);
  const library = await importLlama(options.runtimeDir);
  const llama = await library.getLlama({
    gpu: options.gpu,
    build: 'never',
    skipDownload: true,
    progressLogs: false,
    logger: (level, message) => tell({ kind: 'log', level: logLevel(level), message: message.trimEnd() }),
  });
  const path = await resolveModel(library, options, progress);
  // The parent has looked at a path; what was downloaded is seen here first.
  if (path !== options.model) await checkGguf(path);
  const model = await llama.loadModel({
    modelPath: path,
    onLoadProgress: (doneRatio) => progress('load', doneRatio),
  });
  const contextTokens = options.contextTokens ?? Math.min(model.trainContextSize, CONTEXT_TOKENS_DEFAULT);
  if (contextTokens > model.trainContextSize) {
    const message = `context of ${contextTokens} tokens, but the model was trained on ${model.trainContextSize}`;
    tell({ kind: 'log', level: 'warn', message });
  }
  const sequences = options.slots + options.warmPrompts;
  const context = await model.createContext({ contextSize: contextTokens, sequences, threads: options.threads });
  const all = Array.from({ length: sequences }, () => context.getSequence());
  const sharing = possibleSharing(options.sharing, all[0]!);
  const fork = forkBy(sharing);
  const chat = openChat(model, await importJinja(options.runtimeDir));
  const yesNo = yesNoTokens(model, options.yesWord, options.noWord);
  const grammarState = grammarStates(library, llama, model, options);
  // A grammar that does not parse is found now, not at the first sample.
  await grammarState(undefined);

  return {
    model,
    context,
    chat,
    fork,
    yesNo,
    grammarState,
    lanes: new Lanes(all.slice(0, options.slots)),
    trunks: new Trunks(all.slice(options.slots), fork),
    facts: {
      model: basename(path).replace(/\.gguf$/i, ''),
      path,
      contextTokens,
      trainContextTokens: model.trainContextSize,
      gpu: llama.gpu,
      chatTemplate: chat.hasTemplate,
      specialTokens: chat.specialTokens,
      sharing,
      ranks: yesNo !== undefined,
    },
  };
}

type Progress = (stage: 'download' | 'load', doneRatio: number) => void;

/** The library tells each step of a load; a few a second are enough to see, and to show that nothing stalls. */
function progressTeller(tell: (message: FromChild) => void): Progress {
  let toldAtMs = 0;
  return (stage, doneRatio) => {
    const nowMs = steadyNow();
    if (nowMs - toldAtMs < PROGRESS_EVERY_MS && doneRatio < 1) return;
    toldAtMs = nowMs;
    tell({ kind: 'progress', stage, doneRatio });
  };
}

/** A path as it is; a `hf:` address is looked up in the models' folder and downloaded when it is not there. */
async function resolveModel(library: LlamaModule, options: LlamaChildOptions, progress: Progress): Promise<string> {
  if (!options.model.startsWith('hf:')) return options.model;
  let connect: NodeJS.Timeout | undefined;
  const silence = new Promise<never>((_, reject) => {
    const reason = `nothing came for ${limits.llamaConnectMsMax / 1000} seconds`;
    connect = setTimeout(() => reject(new Error(reason)), limits.llamaConnectMsMax);
  });
  try {
    const resolved = library.resolveModelFile(options.model, {
      directory: options.modelsDir,
      cli: false,
      onProgress: ({ totalSize, downloadedSize }) => {
        clearTimeout(connect);
        progress('download', totalSize > 0 ? downloadedSize / totalSize : 0);
      },
    });
    return await Promise.race([resolved, silence]);
  } catch (error) {
    const reason = error instanceof Error ? describe(error) : String(error);
    const fix = 'check the address and the network, or download the file elsewhere and give its path';
    throw new Error(`${options.model} is not in ${options.modelsDir} and could not be downloaded (${reason}); ${fix}`);
  } finally {
    clearTimeout(connect);
  }
}

/** "fetch failed" says nothing; its cause does. */
function describe(error: Error): string {
  return error.cause instanceof Error ? `${error.message}: ${error.cause.message}` : error.message;
}

function grammarStates(
  library: LlamaModule,
  llama: Llama,
  model: LlamaModel,
  options: LlamaChildOptions,
): Loaded['grammarState'] {
  const compiled = new Map<number, LlamaGrammar>();
  return async (scoreCount) => {
    const count = scoreCount === undefined ? 0 : Math.min(Math.max(scoreCount, 1), limits.responsesMax);
    let grammar = compiled.get(count);
    if (grammar === undefined) {
      const text = grammarText(options.grammar, count === 0 ? undefined : count);
      if (text === undefined) return undefined;
      grammar = await llama.createGrammar({ grammar: text });
      compiled.set(count, grammar);
    }
    return new library.LlamaGrammarEvaluationState({ model, grammar });
  };
}

function logLevel(level: NativeLogLevel): LlamaLogLevel {
  const word: string = level;
  if (word === 'fatal' || word === 'error') return 'error';
  if (word === 'warn' || word === 'info') return word;
  return 'debug';
}
