// The meta RM behind an HTTP server: a scalar head (vLLM /classify or /pooling, SGLang /classify) or the log-odds of Yes over No from any
// causal model. One text per request; the server batches.
//
//   M1. `rank` answers within its deadline and never rejects for what an engine does.
//   M2. A reply without a finite number is never turned into one (P7).
//   M3. The self-test decides which name of the activation switch is used from then on.
import { randomUUID } from 'node:crypto';
import { setMaxListeners } from 'node:events';
import { limits } from '../limits.js';
import { steadyNow } from '../process/clock.js';
import type { EngineGauges, Health, MetaEngine, RankJob, RankResult } from './engine.js';
import {
  type ActivationSwitch,
  type Head,
  type HeadInput,
  type HeadOptions,
  type HeadReading,
  heads,
  type MetaKind,
} from './meta-heads.js';
import { type Ask, testPlainHead, testSwitchedHead } from './meta-self-test.js';
import { type Cutoff, cutoff } from './openai-cutoff.js';
import { connectionReason, drop, type Endpoint, openEndpoint, readText } from './openai-http.js';
import { parseJson } from './openai-json.js';
import { classifyPage, classifyReply } from './openai-outcome.js';
import { servedHealth, servedModel, serverGauges, type ServedModel } from './openai-probe.js';
import { serverTokens } from './openai-tokens.js';
import { engineRequestId } from './openai-request.js';
import { Slots } from './openai-slots.js';

export interface MetaEngineOptions {
  readonly name: string;
  readonly kind: MetaKind;
  readonly baseUrl: string;
  /** Absent: the first that the server lists. */
  readonly model?: string;
  readonly apiKey?: string;
  /** Texts in the server at once; more wait here. */
  readonly slots: number;
  readonly requestTimeoutMs: number;
  /** For yes_no. Default "Yes" and "No". */
  readonly yesWord?: string;
  readonly noWord?: string;
  /** Fields for this server alone, such as `{"add_special_tokens": false}` where the text already carries them (double BOS). */
  readonly extraBody?: Readonly<Record<string, unknown>>;
  /** Control tokens that texts must not spell, besides those that the server tells. */
  readonly specialTokens?: readonly string[];
  /** Ask the server at opening for its own control tokens (openai-tokens.ts). Default false. */
  readonly asksTokens?: boolean;
}

const probeConnections = 2;

/** Asks the server which model it serves; rejects with a plain reason when it cannot be reached or does not serve the one wanted. */
export async function openMetaEngine(options: MetaEngineOptions): Promise<MetaEngine> {
  const connect = (connections: number) =>
    openEndpoint({ baseUrl: options.baseUrl, apiKey: options.apiKey, connections });
  const probes = connect(probeConnections);
  try {
    const served = await servedModel(probes, options.model);
    const told = options.asksTokens === true ? await serverTokens(probes, served.model) : [];
    return new HttpMetaEngine(options, { ...served, told }, connect(options.slots), probes);
  } catch (error) {
    await probes.close();
    throw error;
  }
}

/** A reading, or a failure as `rank` reports it. */
type Answer = Extract<HeadReading, { kind: 'logit' }> | Exclude<RankResult, { kind: 'logit' }>;

class HttpMetaEngine implements MetaEngine {
  readonly name: string;
  readonly description: string;
  readonly model: string;
  readonly fake: boolean;
  readonly specialTokens: readonly string[];
  readonly traits: string;
  readonly #head: Head;
  readonly #headOptions: HeadOptions;
  readonly #requestTimeoutMs: number;
  readonly #texts: Endpoint;
  readonly #probes: Endpoint;
  readonly #slots: Slots;
  readonly #closing = new AbortController();
  #activation: ActivationSwitch = { name: 'use_activation', on: false };

  constructor(
    options: MetaEngineOptions,
    served: ServedModel & { readonly told: readonly string[] },
    texts: Endpoint,
    probes: Endpoint,
  ) {
    this.name = options.name;
    this.description = `${options.kind} ${texts.address}`;
    this.model = served.model;
    this.fake = served.fake;
    this.specialTokens = [...(options.specialTokens ?? []), ...served.told];
    this.traits = served.traits;
    this.#head = heads[options.kind];
    this.#headOptions = {
      model: served.model,
      yesWord: options.yesWord ?? 'Yes',
      noWord: options.noWord ?? 'No',
      extraBody: options.extraBody ?? {},
    };
    this.#requestTimeoutMs = options.requestTimeoutMs;
    this.#texts = texts;
    this.#probes = probes;
    this.#slots = new Slots(options.slots);
    setMaxListeners(0, this.#closing.signal);
  }

  async rank(job: RankJob, signal: AbortSignal): Promise<RankResult> {
    const answer = await this.#ask(job, this.#activation, job.deadlineAtMs, job.requestId, signal);
    return answer.kind === 'logit' ? { kind: 'logit', metaReward: answer.logit } : answer;
  }

  async probe(job: RankJob, signal: AbortSignal): Promise<RankResult> {
    const cut = cutoff([signal, this.#closing.signal], job.deadlineAtMs);
    try {
      const answer = await this.#send(this.#probes, job, this.#activation, job.requestId, cut);
      if (answer.kind === 'logit') return { kind: 'logit', metaReward: answer.logit };
      return cut.why === undefined ? answer : stopped(cut);
    } finally {
      cut.dispose();
    }
  }

  async selfTest(signal: AbortSignal): Promise<Health> {
    const deadlineAtMs = steadyNow() + limits.engineSelfTestMs;
    const ask: Ask = async (input, activation) => {
      const answer = await this.#ask(input, activation, deadlineAtMs, 'self-test', signal);
      if (answer.kind === 'logit') return answer;
      return { kind: 'failed', reason: answer.kind === 'cancelled' ? 'cancelled' : answer.reason };
    };
    const finding = this.#head.hasSwitch ? await testSwitchedHead(ask) : await testPlainHead(ask);
    this.#activation = finding.activation ?? this.#activation;
    return finding.health;
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
    await Promise.all([this.#texts.close(), this.#probes.close()]);
  }

  async #ask(
    input: HeadInput,
    activation: ActivationSwitch,
    deadlineAtMs: number,
    requestId: string,
    signal: AbortSignal,
  ): Promise<Answer> {
    const cut = cutoff([signal, this.#closing.signal], deadlineAtMs);
    try {
      if (!(await this.#slots.take(cut.signal))) return stopped(cut);
      try {
        cut.limit(this.#requestTimeoutMs);
        const result = await this.#send(this.#texts, input, activation, requestId, cut);
        return cut.why === undefined || result.kind === 'logit' ? result : stopped(cut);
      } finally {
        this.#slots.give();
      }
    } finally {
      cut.dispose();
    }
  }

  async #send(
    endpoint: Endpoint,
    input: HeadInput,
    activation: ActivationSwitch,
    requestId: string,
    cut: Cutoff,
  ): Promise<Answer> {
    const json = this.#head.body(input, this.#headOptions, activation);
    const id = engineRequestId(requestId, 0, randomUUID().slice(0, 8));
    const reply = await endpoint.send({ method: 'POST', path: this.#head.path, json, requestId: id }, cut.signal);
    if (reply.kind === 'failed') return { ...reply, kind: 'retryable' };
    if (reply.kind === 'status') {
      const failure = classifyReply(reply);
      return failure.kind === 'terminal' ? { kind: 'terminal', reason: failure.reason } : failure;
    }
    const page = classifyPage(reply.contentType);
    if (page !== undefined) {
      await drop(reply.body);
      return page.kind === 'terminal' ? { kind: 'terminal', reason: page.reason } : page;
    }
    let text: string | undefined;
    try {
      text = await readText(reply.body, limits.engineReplyBytesMax);
    } catch (error) {
      return { kind: 'retryable', reason: connectionReason(error), trouble: 'broke' };
    }
    const value = text === undefined ? undefined : parseJson(text);
    if (value === undefined) {
      return { kind: 'retryable', reason: 'the reply is not JSON, or too large', trouble: 'failing' };
    }
    const reading = this.#head.read(value, this.#headOptions);
    // M2. The text may be at fault, or a server that gives no scores at all.
    return reading.kind === 'logit' ? reading : { kind: 'retryable', reason: reading.reason, trouble: 'unclear' };
  }
}

function stopped(cut: Cutoff): Exclude<RankResult, { kind: 'logit' }> {
  if (cut.why === 'deadline') return { kind: 'retryable', reason: 'the deadline passed before the text was ranked' };
  if (cut.why === 'timeout') {
    return { kind: 'retryable', reason: 'the meta RM took longer than the request time-out', trouble: 'broke' };
  }
  return { kind: 'cancelled' };
}
