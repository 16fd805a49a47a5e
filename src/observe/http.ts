// Observability door: /metrics, /healthz, /readyz and /debug/state over plain HTTP, on the loopback unless told otherwise.
//
//   H1. A peer that is slow, greedy or silent costs a bounded time and a bounded number of connections (limits.http*).
//   H2. /healthz speaks of this process alone, never of NATS or engines; /readyz says why it is not ready.
//   H3. What /debug/state shows passes redact.ts, always without texts.

import { createServer, type IncomingMessage, type Server, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';
import { limits } from '../limits.js';
import { listenText, parseListen } from './listen.js';
import type { Metrics } from './metrics.js';
import { redacted } from './redact.js';

export type Liveness = { readonly kind: 'ok' } | { readonly kind: 'failing'; readonly reason: string };

export interface Readiness {
  readonly ok: boolean;
  /** What is missing; empty when ok. */
  readonly reasons: readonly string[];
}

export interface ObservabilityOptions {
  /** "127.0.0.1:9464"; port 0 takes any free one. */
  readonly listen: string;
  readonly metrics: Pick<Metrics, 'page'>;
  readonly live: () => Liveness;
  readonly ready: () => Readiness;
  readonly debugState: () => unknown;
  /** Told of an error while answering; the peer gets a bare 500. */
  readonly onError?: (error: unknown) => void;
}

export interface Observability {
  /** Where it listens, with the port that was taken. */
  readonly address: string;
  /** Takes no new connections; answers under way get limits.httpCloseMs. */
  close(): Promise<void>;
}

/** Rejects with a plain message when the address is wrong or taken. */
export async function serveObservability(options: ObservabilityOptions): Promise<Observability> {
  const wanted = parseListen(options.listen);
  if (!wanted) throw new Error(`observability: "${options.listen}" is no address of the form host:port`);
  const server = createServer(
    {
      maxHeaderSize: limits.httpHeaderBytesMax,
      headersTimeout: limits.httpHeadersMs,
      requestTimeout: limits.httpRequestMs,
      // Node looks at the two above only this often; its own default is 30 s.
      connectionsCheckingInterval: Math.ceil(limits.httpHeadersMs / 2),
      keepAliveTimeout: limits.httpHeadersMs,
    },
    (request, response) => {
      answer(options, request, response).catch((error: unknown) => {
        options.onError?.(error);
        if (response.headersSent) response.destroy();
        else reply(request, response, 500, 'text/plain; charset=utf-8', 'internal error\n');
      });
    },
  );
  server.maxConnections = limits.httpConnectionsMax;
  server.timeout = limits.httpRequestMs;
  await listening(server, options.listen, wanted);
  server.on('error', (error) => options.onError?.(error));
  const { address, port } = server.address() as AddressInfo;
  return { address: listenText({ host: address, port }), close: () => closed(server) };
}

async function answer(
  options: ObservabilityOptions,
  request: IncomingMessage,
  response: ServerResponse,
): Promise<void> {
  request.resume();
  if (request.method !== 'GET' && request.method !== 'HEAD') {
    response.setHeader('allow', 'GET, HEAD');
    reply(request, response, 405, 'text/plain; charset=utf-8', 'only GET and HEAD\n');
    return;
  }
  const [path] = (request.url ?? '').split('?', 1);
  switch (path) {
    case '/metrics': {
      const page = await options.metrics.page(wantsOpenMetrics(request.headers.accept) ? 'openmetrics' : 'prometheus');
      reply(request, response, 200, page.contentType, page.body);
      return;
    }
    case '/healthz': {
      const live = options.live();
      json(request, response, live.kind === 'ok' ? 200 : 503, live);
      return;
    }
    case '/readyz': {
      const ready = options.ready();
      json(request, response, ready.ok ? 200 : 503, ready);
      return;
    }
    case '/debug/state':
      json(request, response, 200, options.debugState());
      return;
    default:
      reply(request, response, 404, 'text/plain; charset=utf-8', '/metrics /healthz /readyz /debug/state\n');
  }
}

/** True when the peer prefers OpenMetrics to plain text: Prometheus sends both, each with a weight. */
export function wantsOpenMetrics(accept: string | undefined): boolean {
  let open = 0;
  let plain = 0;
  for (const part of (accept ?? '').split(',')) {
    const [type = '', ...parameters] = part.split(';').map((word) => word.trim().toLowerCase());
    const q = parameters.find((parameter) => parameter.startsWith('q='));
    const weight = q === undefined ? 1 : Number(q.slice(2));
    if (!(weight > 0)) continue;
    // Only 1.0 is spoken; 0.0.1 was a draft.
    const version = parameters.find((parameter) => parameter.startsWith('version='));
    if (type === 'application/openmetrics-text' && (version === undefined || version === 'version=1.0.0')) {
      open = Math.max(open, weight);
    }
    if (type === 'text/plain') plain = Math.max(plain, weight);
  }
  return open > 0 && open >= plain;
}

function json(request: IncomingMessage, response: ServerResponse, status: number, value: unknown): void {
  const body = JSON.stringify(redacted(value, { texts: false }), null, 2);
  reply(request, response, status, 'application/json; charset=utf-8', `${body}\n`);
}

function reply(
  request: IncomingMessage,
  response: ServerResponse,
  status: number,
  contentType: string,
  body: string,
): void {
  response.writeHead(status, {
    'content-type': contentType,
    'content-length': Buffer.byteLength(body),
    'cache-control': 'no-store',
    'x-content-type-options': 'nosniff',
  });
  response.end(request.method === 'HEAD' ? undefined : body);
}

function listening(server: Server, text: string, address: { host: string; port: number }): Promise<void> {
  return new Promise((resolve, reject) => {
    server.once('error', (error: NodeJS.ErrnoException) => {
      const why = error.code === 'EADDRINUSE' ? 'the port is taken' : error.message;
      reject(new Error(`observability: cannot listen on ${text}: ${why}`, { cause: error }));
    });
    server.listen(address.port, address.host, () => {
      server.removeAllListeners('error');
      resolve();
    });
  });
}

function closed(server: Server): Promise<void> {
  return new Promise((resolve) => {
    const timer = setTimeout(() => server.closeAllConnections(), limits.httpCloseMs);
    server.close(() => {
      clearTimeout(timer);
      resolve();
    });
    server.closeIdleConnections();
  });
}
