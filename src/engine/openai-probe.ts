// The small questions to a server, the same for samples and for meta rewards: which models, how is your health, what do your metrics say.
import { limits } from '../limits.js';
import { steadyNow } from '../process/clock.js';
import type { EngineGauges, Health } from './engine.js';
import { cutoff } from './openai-cutoff.js';
import { connectionReason, type Endpoint, type HttpReply, readText } from './openai-http.js';
import { listAt, numberAt, parseJson, stringAt } from './openai-json.js';
import { classifyReply } from './openai-outcome.js';
import { readGauges } from './openai-gauges.js';

/** What the fake engine writes into `owned_by`, so that nobody takes its judgements for real ones. */
const fakeOwner = 'grm-cluster-fake';
/** llama-server answers under any name. */
const anyNameOwner = 'llamacpp';

export interface ServedModel {
  readonly model: string;
  readonly fake: boolean;
  /** What else the server says of it that a model of the same name would not share; empty when nothing. */
  readonly traits: string;
}

/** The model that will answer: `wanted`, or the server's first. Throws an Error that says what to do when the server has none such. */
export async function servedModel(
  endpoint: Endpoint,
  wanted: string | undefined,
  signal?: AbortSignal,
): Promise<ServedModel> {
  const answer = await probe(endpoint, '/v1/models', signal);
  if (answer.kind === 'failing') {
    if (answer.status === 404 && wanted !== undefined) return { model: wanted, fake: false, traits: '' };
    throw new Error(
      `${endpoint.address} does not list its models (${answer.reason}): is the server up, and is the address right?`,
    );
  }
  const served = listAt(parseJson(answer.text), 'data');
  const ids = served.map((entry) => stringAt(entry, 'id')).filter((id) => id !== undefined);
  const model = wanted ?? ids[0];
  if (model === undefined) throw new Error(`${endpoint.address} serves no model`);
  const entry = served.find((candidate) => stringAt(candidate, 'id') === model);
  const owners = served.map((candidate) => stringAt(candidate, 'owned_by'));
  if (entry === undefined && ids.length > 0 && !owners.includes(anyNameOwner)) {
    throw new Error(`${endpoint.address} does not serve "${model}"; it serves ${ids.slice(0, 8).join(', ')}`);
  }
  // Where any name will do, what stands behind it is the one that is listed.
  const traits = entry === undefined ? `${lastName(ids[0])} ${traitsOf(served[0])}`.trim() : traitsOf(entry);
  return { model, fake: owners.includes(fakeOwner), traits };
}

/**
 * vLLM tells what an alias stands for (`root`, and of an adapter its base, `parent`), llama-server how big the file is. A path tells by its
 * last name: where a server keeps its models is its own business.
 */
function traitsOf(entry: unknown): string {
  const names = [stringAt(entry, 'root'), stringAt(entry, 'parent')].map(lastName);
  const sizes = ['n_params', 'size', 'n_vocab'].map((key) => numberAt(entry, 'meta', key) ?? '');
  const said = [...names, ...sizes];
  return said.every((each) => each === '') ? '' : said.join(' ');
}

function lastName(path: string | undefined): string {
  return path?.split('/').at(-1) ?? '';
}

/** The server's health, and whether it still serves what it did when its engine was opened: a server may be started anew with another model. */
export async function servedHealth(endpoint: Endpoint, before: ServedModel, signal: AbortSignal): Promise<Health> {
  const health = await serverHealth(endpoint, signal);
  if (health.kind === 'failing') return health;
  try {
    const now = await servedModel(endpoint, before.model, signal);
    if (now.fake === before.fake && now.traits === before.traits) return health;
    return { kind: 'failing', reason: `${endpoint.address} serves another model as ${before.model} than it did` };
  } catch (error) {
    return { kind: 'failing', reason: error instanceof Error ? error.message : String(error) };
  }
}

/** GET /health; where there is no such route, GET /v1/models. */
export async function serverHealth(endpoint: Endpoint, signal: AbortSignal): Promise<Health> {
  let answer = await probe(endpoint, '/health', signal);
  if (answer.kind === 'failing' && answer.status === 404) answer = await probe(endpoint, '/v1/models', signal);
  return answer.kind === 'ok' ? { kind: 'ok' } : { kind: 'failing', reason: answer.reason };
}

/** undefined when the server has no metrics that we know. */
export async function serverGauges(endpoint: Endpoint, signal: AbortSignal): Promise<EngineGauges | undefined> {
  const answer = await probe(endpoint, '/metrics', signal);
  return answer.kind === 'ok' ? readGauges(answer.text) : undefined;
}

type Probe =
  | { readonly kind: 'ok'; readonly text: string }
  | { readonly kind: 'failing'; readonly reason: string; readonly status?: number };

async function probe(endpoint: Endpoint, path: string, signal: AbortSignal | undefined): Promise<Probe> {
  const cut = cutoff(signal === undefined ? [] : [signal], steadyNow() + limits.engineProbeMs);
  try {
    const reply: HttpReply = await endpoint.send({ method: 'GET', path }, cut.signal);
    if (reply.kind === 'ok') {
      const text = await readText(reply.body, limits.engineReplyBytesMax);
      return text === undefined ? { kind: 'failing', reason: `${path}: the reply is too large` } : { kind: 'ok', text };
    }
    if (reply.kind === 'status') return { kind: 'failing', status: reply.status, reason: classifyReply(reply).reason };
    return { kind: 'failing', reason: probeReason(cut.why, reply.reason) };
  } catch (error) {
    return { kind: 'failing', reason: probeReason(cut.why, connectionReason(error)) };
  } finally {
    cut.dispose();
  }
}

function probeReason(why: 'cancelled' | 'deadline' | 'timeout' | undefined, reason: string): string {
  if (why === undefined) return reason;
  return why === 'cancelled' ? 'cancelled' : `no answer within ${limits.engineProbeMs} ms`;
}
