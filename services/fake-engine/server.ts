// The fake engine's HTTP server: vLLM's routes, and /fake/* to steer it.
//
// It is for tests and load: its judgements mean nothing, and it says so in /v1/models (`owned_by`), in every critique and at start.
import { createServer, type IncomingMessage, type Server, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';
import { type Clock, realClock } from './clock.js';
import { complete } from './completions.js';
import { defaultRetryAfterSeconds, FaultPlan, type FaultKind, type FaultSpec, readFaults } from './faults.js';
import { FakeModel, type ModelStats } from './model.js';
import { type FakeEngineOptions, settle } from './options.js';
import type { Lookup } from './prefix-cache.js';
import { readJson, sendError, sendJson } from './reply.js';
import { scalar } from './scalar-routes.js';

/** How the openai engine knows that what answers is fake. */
export const fakeOwner = 'grm-cluster-fake';

/** A prompt of the largest request, with the room that JSON escapes take. */
const bodyBytesMax = 64 * 1024 * 1024;
/** Requests open at once; above it 503. */
const openMax = 16_384;

export interface FakeEngineStats extends ModelStats {
  /** HTTP requests to completions and meta routes. */
  readonly requests: number;
  readonly faultsFired: Readonly<Record<FaultKind, number>>;
}

/** Of GET /fake/prompts. */
export interface FakePrompts {
  readonly blockTokens: number;
  /** In the order in which they began to run. */
  readonly prompts: readonly Lookup[];
}

export interface FakeEngine {
  /** `http://127.0.0.1:PORT` */
  readonly url: string;
  stats(): FakeEngineStats;
  /** Plans faults from now on, forgetting earlier ones: what POST /fake/faults does. */
  setFaults(faults: readonly FaultSpec[]): void;
  /** Aborts what runs, cuts all connections and frees the port. */
  close(): Promise<void>;
}

/** Starts a fake engine; rejects when the port is taken or an option is out of range. */
export async function startFakeEngine(options: FakeEngineOptions = {}, clock: Clock = realClock): Promise<FakeEngine> {
  const settings = settle(options);
  const model = new FakeModel(settings, clock);
  const faults = new FaultPlan(settings.faults, settings.seed);
  let requests = 0;
  let open = 0;

  const stats = (): FakeEngineStats => ({ ...model.stats(), requests, faultsFired: { ...faults.fired } });

  const server = createServer((req, res) => {
    open += 1;
    res.once('close', () => (open -= 1));
    if (open > openMax) {
      sendError(res, 503, 'too many open requests', { headers: { 'retry-after': '1' } });
      return;
    }
    route(req, res).catch((error: unknown) => {
      if (res.headersSent || res.destroyed) res.destroy();
      else sendError(res, 500, error instanceof Error ? error.message : 'unknown error');
    });
  });

  async function route(req: IncomingMessage, res: ServerResponse): Promise<void> {
    const path = new URL(req.url ?? '/', 'http://fake').pathname;
    if (req.method === 'GET' && path === '/health') return void res.writeHead(200).end();
    if (req.method === 'GET' && path === '/metrics') {
      const text = await model.metrics.text();
      return void res.writeHead(200, { 'content-type': model.metrics.contentType }).end(text);
    }
    if (path === '/fake/faults') return control(req, res);
    if (req.method === 'GET' && path === '/fake/stats') {
      sendJson(res, 200, stats());
      return;
    }
    if (req.method === 'GET' && path === '/fake/prompts') {
      const { blockTokens } = settings;
      sendJson(res, 200, { blockTokens, prompts: model.lookups() } satisfies FakePrompts);
      return;
    }
    if (settings.apiKey !== undefined && req.headers.authorization !== `Bearer ${settings.apiKey}`) {
      sendJson(res, 401, { error: 'Unauthorized' });
      return;
    }
    if (req.method === 'GET' && path === '/v1/models') {
      sendJson(res, 200, models());
      return;
    }
    if (req.method === 'GET' && path === '/version') {
      sendJson(res, 200, { version: 'fake' });
      return;
    }
    if (req.method === 'POST' && generationPaths.has(path)) return serve(req, res, 'generate', path);
    if (req.method === 'POST' && (path === '/classify' || path === '/pooling')) return serve(req, res, 'meta', path);
    sendJson(res, 404, { detail: 'Not Found' });
  }

  async function serve(
    req: IncomingMessage,
    res: ServerResponse,
    kind: 'generate' | 'meta',
    path: string,
  ): Promise<void> {
    requests += 1;
    const body = await readJson(req, bodyBytesMax);
    if (body.kind === 'too_large') {
      sendError(res, 413, 'the body is too large');
      return;
    }
    if (body.kind === 'not_json') {
      sendError(res, 400, 'the body is not JSON');
      return;
    }
    const fault = faults.choose(kind);
    if (fault?.kind === '500') {
      sendError(res, 500, 'a fault on demand');
      return;
    }
    if (fault?.kind === '429') {
      const seconds = fault.retryAfterSeconds ?? defaultRetryAfterSeconds;
      sendError(res, 429, 'a fault on demand', { headers: { 'retry-after': String(seconds) } });
      return;
    }
    if (kind === 'generate') complete(model, path === '/v1/chat/completions', body.value, fault, res);
    else scalar(model, path === '/classify' ? 'classify' : 'pooling', body.value, fault, res);
  }

  async function control(req: IncomingMessage, res: ServerResponse): Promise<void> {
    if (req.method === 'DELETE') faults.replace([]);
    if (req.method === 'POST') {
      const body = await readJson(req, bodyBytesMax);
      const specs = body.kind === 'json' ? readFaults(body.value) : 'the body is not JSON';
      if (typeof specs === 'string') {
        sendError(res, 400, specs);
        return;
      }
      faults.replace(specs);
    }
    sendJson(res, 200, { faults: faults.pending, fired: faults.fired });
  }

  function models(): unknown {
    const { model: id, maxModelLen } = settings;
    const entry = {
      id,
      object: 'model',
      created: 0,
      owned_by: fakeOwner,
      root: id,
      parent: null,
      max_model_len: maxModelLen,
    };
    return { object: 'list', data: [entry] };
  }

  await listen(server, settings.port, settings.host);
  const { address, family, port } = server.address() as AddressInfo;
  return {
    url: `http://${family === 'IPv6' ? `[${address}]` : address}:${port}`,
    stats,
    setFaults: (specs) => faults.replace(specs),
    close: async () => {
      const closed = new Promise<void>((resolve) => server.close(() => resolve()));
      model.close();
      server.closeAllConnections();
      await closed;
    },
  };
}

const generationPaths: ReadonlySet<string> = new Set(['/v1/chat/completions', '/v1/completions']);

function listen(server: Server, port: number, host: string): Promise<void> {
  return new Promise((resolve, reject) => {
    server.once('error', reject);
    server.listen(port, host, () => {
      server.off('error', reject);
      resolve();
    });
  });
}
