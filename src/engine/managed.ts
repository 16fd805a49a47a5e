// The managed engine: a model server that this process starts on its own GPUs, waits for, and speaks to as an OpenAI-compatible server.
// It is one life of one server; the actor that holds it (src/actor) starts the next.
//
//   X1. It is returned only when the server answers that it is healthy and lists its model.
//   X2. Whatever goes wrong before that (death, deadline, abort), the server is gone when the promise rejects, and the reason is told.
//   X3. `close` ends the connections first, then the server with its whole process group.

import { createServer } from 'node:net';
import { join } from 'node:path';
import { limits } from '../limits.js';
import type { Events } from '../observe/events.js';
import { sleep, systemClock } from '../process/clock.js';
import type { Engine } from './engine.js';
import { checkGguf, isGguf } from './gguf-file.js';
import { guardEngine } from './guarded.js';
import { openEndpoint } from './openai-http.js';
import { serverHealth } from './openai-probe.js';
import { openOpenAiEngine, type OpenAiEngineOptions } from './openai.js';
import { serverCommand, vllmCommand } from './server-command.js';
import { ServerLog } from './server-log.js';
import { startServer, type ServerProcess } from './server-process.js';
import { superviseEngine, type Supervised } from './supervised.js';

export interface ManagedEngineOptions extends Omit<OpenAiEngineOptions, 'baseUrl' | 'model' | 'apiKey'> {
  /** Model that the server loads: a name or a path. */
  readonly model: string;
  /** See server-command.ts. Default `vllm serve`. */
  readonly command?: readonly string[];
  readonly args?: readonly string[];
  /** Its GPU group. Empty: the environment decides. */
  readonly gpus: readonly number[];
  /** From the start to its first "healthy". Default 30 minutes: big models load long. */
  readonly readyTimeoutMs?: number;
  /** Between SIGTERM and SIGKILL. Default 15 s. */
  readonly graceMs?: number;
  /** Folder of its output, `<name>.log`. */
  readonly logDir: string;
  /** Environment of the server; the GPUs are added. */
  readonly env: Readonly<Record<string, string | undefined>>;
  readonly events: Events;
}

export interface ManagedEngine extends Engine, Supervised {
  readonly baseUrl: string;
  /** Of the server. */
  readonly pid: number;
  readonly logPath: string;
}

const readyTimeoutMsDefault = 30 * 60_000;
const graceMsDefault = 15_000;

export async function openManagedEngine(options: ManagedEngineOptions, signal: AbortSignal): Promise<ManagedEngine> {
  const { name, events, model, gpus, command = vllmCommand, args = [], env, graceMs = graceMsDefault } = options;
  if (isGguf(model)) await checkGguf(model);
  const port = await freePort();
  const baseUrl = `http://127.0.0.1:${port}`;
  const log = await ServerLog.open(join(options.logDir, `${name}.log`), (error) => {
    events.emit('trouble', { where: `engine ${name}: log`, error });
  });
  let server: ServerProcess | undefined;
  try {
    const line = serverCommand({ command, args, model, port, gpus });
    await log.append(Buffer.from(`\n--- ${new Date().toISOString()} ${line.join(' ')}\n`));
    server = await startServer({ command: line, env, gpus, log, graceMs });
    await untilReady(options, baseUrl, server, log, signal);
    const engine = await openOpenAiEngine(connection(options, baseUrl));
    return live(guardEngine(engine, { events }), server, log, baseUrl);
  } catch (error) {
    await server?.stop();
    await log.close();
    throw error;
  }
}

function live(engine: Engine, server: ServerProcess, log: ServerLog, baseUrl: string): ManagedEngine {
  return {
    ...superviseEngine(engine, server.died),
    description: `managed ${engine.description}`,
    baseUrl,
    pid: server.pid,
    logPath: log.path,
    async close() {
      await engine.close();
      await server.stop();
      await log.close();
    },
  };
}

/** The server serves one model, under its own name for it: the first that it lists. */
function connection(options: ManagedEngineOptions, baseUrl: string): OpenAiEngineOptions {
  const { name, mode, slots, requestTimeoutMs, priorityScheduling, extraBody, stop, specialTokens } = options;
  return {
    name,
    baseUrl,
    mode,
    slots,
    requestTimeoutMs,
    ...(priorityScheduling === undefined ? {} : { priorityScheduling }),
    ...(extraBody === undefined ? {} : { extraBody }),
    ...(stop === undefined ? {} : { stop }),
    ...(specialTokens === undefined ? {} : { specialTokens }),
    ...(options.asksTokens === undefined ? {} : { asksTokens: options.asksTokens }),
  };
}

/** Resolves when the server is healthy (X1); throws when it dies, is late, or is not wanted any more (X2). */
async function untilReady(
  { name, events, readyTimeoutMs = readyTimeoutMsDefault }: ManagedEngineOptions,
  baseUrl: string,
  server: ServerProcess,
  log: ServerLog,
  signal: AbortSignal,
): Promise<void> {
  const startedAtMs = systemClock.now();
  const over = new AbortController();
  const end = (): void => over.abort();
  signal.addEventListener('abort', end);
  const timer = setTimeout(end, readyTimeoutMs);
  let death = undefined as string | undefined;
  void server.died.then((how) => {
    death = how;
    end();
  });
  const endpoint = openEndpoint({ baseUrl, connections: 1 });
  try {
    if (signal.aborted) end();
    const isOver = (): boolean => over.signal.aborted;
    let reason = 'not asked yet';
    let toldAtMs = startedAtMs;
    for (let waitMs = 50; !isOver(); waitMs = Math.min(limits.engineReadyEveryMs, waitMs * 1.5)) {
      await sleep(systemClock, waitMs, over.signal);
      const health = await serverHealth(endpoint, over.signal);
      if (health.kind === 'ok') return;
      // The aborted last try says nothing of the server.
      if (!isOver()) reason = health.reason;
      const now = systemClock.now();
      if (now - toldAtMs < limits.engineLoadingEveryMs) continue;
      toldAtMs = now;
      events.emit('engine.loading', { engine: name, elapsedMs: now - startedAtMs, line: log.lastLine() });
    }
    if (death !== undefined) throw new Error(`the server ended before it was ready: ${death}`);
    if (signal.aborted) throw new Error('the start was called off');
    throw new Error(`the server was not ready within ${readyTimeoutMs} ms: ${reason}; last output: ${log.lastLine()}`);
  } finally {
    clearTimeout(timer);
    signal.removeEventListener('abort', end);
    await endpoint.close();
  }
}

/** Free when asked. Another process may take it before the server does: then the server ends, and its next start gets another. */
function freePort(): Promise<number> {
  return new Promise((resolve, reject) => {
    const probe = createServer();
    probe.once('error', reject);
    probe.listen(0, '127.0.0.1', () => {
      const address = probe.address();
      const port = typeof address === 'object' && address !== null ? address.port : 0;
      probe.close(() => resolve(port));
    });
  });
}
