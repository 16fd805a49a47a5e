// The engine for any OpenAI-compatible server: vLLM, SGLang, llama-server.
//
// One streamed request per sample, each with its own seed: finished samples leave early, one long sample holds no other, and the server's
// prefix cache shares the prompt between the requests. Retries are the worker's business: a draw tries each sample once (but see H2 in
// openai-http.ts). Keeps N1-N3 of engine.ts; closing a connection is what stops the server from generating (N2).
import { randomUUID } from 'node:crypto';
import { setMaxListeners } from 'node:events';
import { limits } from '../limits.js';
import type { DrawJob, DrawResult, DrawSpec, Engine, EngineGauges, Health } from './engine.js';
import { type Cutoff, cutoff } from './openai-cutoff.js';
import { drop, type Endpoint, openEndpoint } from './openai-http.js';
import { classifyPage, classifyReply } from './openai-outcome.js';
import { servedHealth, servedModel, serverGauges, type ServedModel } from './openai-probe.js';
import { engineRequestId, generationPath, requestBody, type RequestOptions } from './openai-request.js';
import { Slots } from './openai-slots.js';
import { readGeneration } from './openai-stream.js';
import { serverTokens } from './openai-tokens.js';

export interface OpenAiEngineOptions {
  readonly name: string;
  /** `http://host:8000`, with or without `/v1`. */
  readonly baseUrl: string;
  /** Absent: the first that the server lists. */
  readonly model?: string;
  readonly apiKey?: string;
  readonly mode: 'chat' | 'completions';
  /** Samples in the server at once; more wait here. */
  readonly slots: number;
  /** One sample, from its first byte out to its last byte in. */
  readonly requestTimeoutMs: number;
  /** The server runs with priority scheduling. Default false: the priority stays here. */
  readonly priorityScheduling?: boolean;
  /** Fields for this server alone, such as `guided_regex`. They never replace ours. */
  readonly extraBody?: Readonly<Record<string, unknown>>;
  /** Texts that end a generation. */
  readonly stop?: readonly string[];
  /** Control tokens that texts must not spell, besides those that the server tells. */
  readonly specialTokens?: readonly string[];
  /** Ask the server at opening for its own control tokens (openai-tokens.ts). Default false: nothing is rendered for it. */
  readonly asksTokens?: boolean;
}

/** Connections beside the samples': health, metrics, models. */
const probeConnections = 2;

/** Asks the server which model it serves; rejects with a plain reason when it cannot be reached or does not serve the one wanted. */
export async function openOpenAiEngine(options: OpenAiEngineOptions): Promise<Engine> {
  const connect = (connections: number) =>
    openEndpoint({ baseUrl: options.baseUrl, apiKey: options.apiKey, connections });
  // Apart, so that a server full of samples still answers how it is.
  const probes = connect(probeConnections);
  try {
    const served = await servedModel(probes, options.model);
    const told = options.asksTokens === true ? await serverTokens(probes, served.model) : [];
    return new OpenAiEngine(options, { ...served, told }, connect(options.slots), probes);
  } catch (error) {
    await probes.close();
    throw error;
  }
}

class OpenAiEngine implements Engine {
  readonly name: string;
  readonly description: string;
  readonly model: string;
  readonly fake: boolean;
  readonly specialTokens: readonly string[];
  readonly traits: string;
  readonly #mode: 'chat' | 'completions';
  readonly #requestTimeoutMs: number;
  readonly #request: RequestOptions;
  readonly #samples: Endpoint;
  readonly #probes: Endpoint;
  readonly #slots: Slots;
  readonly #closing = new AbortController();

  constructor(
    options: OpenAiEngineOptions,
    served: ServedModel & { readonly told: readonly string[] },
    samples: Endpoint,
    probes: Endpoint,
  ) {
    this.name = options.name;
    this.description = `openai ${samples.address}`;
    this.model = served.model;
    this.fake = served.fake;
    this.specialTokens = [...(options.specialTokens ?? []), ...served.told];
    this.traits = served.traits;
    this.#mode = options.mode;
    this.#requestTimeoutMs = options.requestTimeoutMs;
    this.#request = {
      mode: options.mode,
      model: served.model,
      stop: options.stop ?? [],
      priorityScheduling: options.priorityScheduling ?? false,
      extraBody: options.extraBody ?? {},
    };
    this.#samples = samples;
    this.#probes = probes;
    this.#slots = new Slots(options.slots);
    setMaxListeners(0, this.#closing.signal);
  }

  async draw(job: DrawJob, onResult: (result: DrawResult) => void, signal: AbortSignal): Promise<void> {
    // One listener on the caller's signal, however many samples follow it.
    const draw = new AbortController();
    setMaxListeners(0, draw.signal);
    const cancel = () => draw.abort();
    signal.addEventListener('abort', cancel, { once: true });
    if (signal.aborted) cancel();
    try {
      await Promise.all(job.samples.map(async (sample) => onResult(await this.#sample(job, sample, draw.signal))));
    } finally {
      signal.removeEventListener('abort', cancel);
    }
  }

  async probe(job: DrawJob, signal: AbortSignal): Promise<DrawResult> {
    const sample = job.samples[0]!;
    const cut = cutoff([signal, this.#closing.signal], job.deadlineAtMs);
    try {
      return await this.#generate(this.#probes, job, sample, cut);
    } finally {
      cut.dispose();
    }
  }

  async health(signal: AbortSignal): Promise<Health> {
    return await servedHealth(this.#probes, this, signal);
  }

  async gauges(): Promise<EngineGauges> {
    const own = { running: this.#slots.taken, waiting: this.#slots.waiting };
    return (await serverGauges(this.#probes, this.#closing.signal)) ?? own;
  }

  async close(): Promise<void> {
    this.#closing.abort();
    await Promise.all([this.#samples.close(), this.#probes.close()]);
  }

  async #sample(job: DrawJob, sample: DrawSpec, signal: AbortSignal): Promise<DrawResult> {
    const cut = cutoff([signal, this.#closing.signal], job.deadlineAtMs);
    try {
      if (!(await this.#slots.take(cut.signal))) return stopped(sample.index, cut);
      try {
        cut.limit(this.#requestTimeoutMs);
        return await this.#generate(this.#samples, job, sample, cut);
      } finally {
        this.#slots.give();
      }
    } finally {
      cut.dispose();
    }
  }

  async #generate(endpoint: Endpoint, job: DrawJob, sample: DrawSpec, cut: Cutoff): Promise<DrawResult> {
    const { index } = sample;
    const startedMs = performance.now();
    const reply = await endpoint.send(
      {
        method: 'POST',
        path: generationPath[this.#mode],
        json: requestBody(job, sample, this.#request),
        requestId: engineRequestId(job.requestId, index, randomUUID().slice(0, 8)),
      },
      cut.signal,
    );
    if (reply.kind === 'status') return { index, ...classifyReply(reply) };
    if (reply.kind === 'failed')
      return cut.why === undefined ? { ...reply, kind: 'retryable', index } : stopped(index, cut);
    const page = classifyPage(reply.contentType);
    if (page !== undefined) {
      await drop(reply.body);
      return { index, ...page };
    }
    const redact = (text: string) => endpoint.redact(text);
    const generation = await readGeneration(reply, limits.engineReplyBytesMax, redact, job.maxTokens);
    if (generation.kind === 'text') return { index, ...generation, engineMs: performance.now() - startedMs };
    return cut.why === undefined ? { index, ...generation } : stopped(index, cut);
  }
}

/** What is said of a sample that was ended from this side. */
function stopped(index: number, cut: Cutoff): DrawResult {
  if (cut.why === 'deadline')
    return { kind: 'retryable', index, reason: 'the deadline passed before the sample was finished' };
  if (cut.why === 'timeout')
    return { kind: 'retryable', index, reason: 'the engine took longer than the request time-out', trouble: 'broke' };
  return { kind: 'cancelled', index };
}
