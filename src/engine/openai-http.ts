// One engine's HTTP address: the only place that opens connections to a model server.
//
//   H1. No time-out of the HTTP library ends a request: generations are long, so headersTimeout and bodyTimeout are off and the caller's signal
//       is the one deadline.
//   H2. A request is sent once. The one exception: a kept-alive connection that the server had closed, noticed before any byte of a reply came,
//       is replaced at once by a new one, a single time. A server that held the request longer than a moment had taken it.
//   H3. No secret leaves: the key stands in no error, and an address with a password in it is refused.
import { Pool } from 'undici';
import { limits } from '../limits.js';
import type { EngineTrouble, Untaken } from './engine.js';
import { at, parseJson, stringAt } from './openai-json.js';
import { type FailedReply, parseRetryAfter } from './openai-outcome.js';

export interface EndpointOptions {
  /** `http://host:8000`, with or without a path; a trailing `/v1` is dropped. */
  readonly baseUrl: string;
  readonly apiKey?: string | undefined;
  /** Connections kept open at once. */
  readonly connections: number;
}

export interface HttpRequest {
  readonly method: 'GET' | 'POST';
  /** From the root of the server's API: `/v1/models`. */
  readonly path: string;
  readonly json?: unknown;
  readonly requestId?: string;
}

export type HttpReply =
  | { readonly kind: 'ok'; readonly contentType: string; readonly body: AsyncIterable<Buffer> }
  | ({ readonly kind: 'status' } & FailedReply)
  /** No reply: the connection failed, or the signal aborted. `untaken`: it never came about. */
  | {
      readonly kind: 'failed';
      readonly reason: string;
      readonly trouble: Extract<EngineTrouble, 'away' | 'broke'>;
      readonly untaken?: Untaken;
    };

export interface Endpoint {
  /** Address without secrets. */
  readonly address: string;
  send(request: HttpRequest, signal: AbortSignal): Promise<HttpReply>;
  /** Removes the key from a text that may repeat it. */
  redact(text: string): string;
  /** Cuts all connections. */
  close(): Promise<void>;
}

/** Throws a TypeError when the address or the key cannot be used. */
export function openEndpoint(options: EndpointOptions): Endpoint {
  const base = readAddress(options.baseUrl);
  const prefix = base.pathname.replace(/\/+$/, '').replace(/\/v1$/, '');
  const { apiKey } = options;
  if (apiKey !== undefined && !/^[\x21-\x7e]+$/.test(apiKey))
    throw new TypeError('the API key has characters that no header takes');
  const pool = new Pool(base.origin, {
    connections: options.connections,
    pipelining: 1,
    headersTimeout: 0,
    bodyTimeout: 0,
    connect: { timeout: limits.engineConnectMs },
  });
  let repliesSeen = 0;

  const redact = (text: string) => (apiKey === undefined ? text : text.replaceAll(apiKey, '***'));

  async function attempt({ method, path, json, requestId }: HttpRequest, signal: AbortSignal): Promise<HttpReply> {
    const reply = await pool.request({
      method,
      path: `${prefix}${path}`,
      signal,
      headers: {
        accept: 'application/json, text/event-stream',
        ...(json === undefined ? {} : { 'content-type': 'application/json' }),
        ...(apiKey === undefined ? {} : { authorization: `Bearer ${apiKey}` }),
        ...(requestId === undefined ? {} : { 'x-request-id': requestId }),
      },
      body: json === undefined ? null : JSON.stringify(json),
    });
    repliesSeen += 1;
    const status = reply.statusCode;
    if (status >= 200 && status < 300) {
      return { kind: 'ok', contentType: String(reply.headers['content-type'] ?? ''), body: reply.body };
    }
    // The status stands, even when its words break off.
    const text = await readText(reply.body, limits.engineErrorBytesMax).catch(() => undefined);
    const retryAfter = reply.headers['retry-after'];
    // A date is one of the server's clock, which says beside it what time it is there.
    const serverMs = Date.parse(String(reply.headers.date ?? ''));
    const nowMs = Number.isNaN(serverMs) ? Date.now() : serverMs;
    const retryAfterMs = parseRetryAfter(typeof retryAfter === 'string' ? retryAfter : undefined, nowMs);
    const location = locationOf(reply.headers.location);
    return {
      kind: 'status',
      status,
      message: redact(errorMessage(text ?? '')),
      retryAfterMs,
      ...(location !== undefined && { location: redact(location) }),
    };
  }

  return {
    address: `${base.origin}${prefix}`,
    redact,
    async send(request, signal) {
      for (let reconnects = 0; ; reconnects++) {
        const sentMs = performance.now();
        try {
          return await attempt(request, signal);
        } catch (error) {
          const soon = performance.now() - sentMs < limits.engineStaleSocketMs;
          const staleSocket = reconnects === 0 && soon && !signal.aborted && repliesSeen > 0 && isReset(error);
          if (staleSocket) continue;
          const reason = connectionReason(error);
          if (neverOpen(error)) return { kind: 'failed', reason, trouble: 'away', untaken: true };
          return { kind: 'failed', reason, trouble: 'broke' };
        }
      }
    },
    close: () => pool.destroy(),
  };
}

/** The whole body as text; undefined when it is longer than `bytesMax`. Throws what the connection throws. */
export async function readText(body: AsyncIterable<Buffer>, bytesMax: number): Promise<string | undefined> {
  const parts: Buffer[] = [];
  let bytes = 0;
  for await (const part of body) {
    bytes += part.length;
    if (bytes > bytesMax) return undefined;
    parts.push(part);
  }
  return Buffer.concat(parts).toString('utf8');
}

/** Lets go of a body that nobody reads. */
export async function drop(body: AsyncIterable<Buffer>): Promise<void> {
  try {
    // Ends the iteration at once, which closes the connection.
    for await (const _ of body) break;
  } catch {
    // It broke by itself.
  }
}

/** Why a connection failed, in a few words without addresses: the error's code, and what to do where that is ours to do. */
export function connectionReason(error: unknown): string {
  const code = codeOf(error) ?? (error instanceof Error ? error.name : 'unknown');
  const fix = ownCodes.get(code);
  return `connection failed: ${code}${fix === undefined ? '' : ` (${fix})`}`;
}

function codeOf(error: unknown): string | undefined {
  return stringAt(error, 'code') ?? stringAt(error, 'cause', 'code');
}

/** What this process, or its host, is short of. It says nothing of the engine. */
const ownCodes: ReadonlyMap<string, string> = new Map([
  ['EMFILE', 'this process may open no more files: raise `ulimit -n`, or lower the slots'],
  ['ENFILE', 'this host has no more files to open'],
  ['EADDRNOTAVAIL', 'this host has no free port left for another connection'],
  ['ENOBUFS', 'this host has no buffers left'],
  ['ENOMEM', 'this host has no memory left'],
]);

/** What befalls a connection before it is there: nobody has seen the request. */
const openingCodes: ReadonlySet<string> = new Set([
  ...ownCodes.keys(),
  'EACCES',
  'ECONNREFUSED',
  'EHOSTDOWN',
  'EHOSTUNREACH',
  'ENETDOWN',
  'ENETUNREACH',
  'ENODATA',
  'ENOTFOUND',
  'EAI_AGAIN',
  'EAI_FAIL',
  'EPERM',
  'EPROTO',
  'UND_ERR_CONNECT_TIMEOUT',
  // Certificates that are not believed (Node's and OpenSSL's names).
  'DEPTH_ZERO_SELF_SIGNED_CERT',
  'SELF_SIGNED_CERT_IN_CHAIN',
  'HOSTNAME_MISMATCH',
  'INVALID_CA',
]);
const openingFamilies = /^(?:ERR_TLS_|ERR_SSL_|CERT_|UNABLE_TO_)/;

function neverOpen(error: unknown): boolean {
  const code = codeOf(error) ?? '';
  return openingCodes.has(code) || openingFamilies.test(code);
}

/** What follows a "?" may hold a secret. */
function locationOf(header: string | readonly string[] | undefined): string | undefined {
  return typeof header === 'string' ? header.split(/[?#]/, 1)[0] : undefined;
}

function isReset(error: unknown): boolean {
  const code = at(error, 'code');
  if (code === 'ECONNRESET' || code === 'EPIPE') return true;
  const bytesRead = at(error, 'socket', 'bytesRead');
  return code === 'UND_ERR_SOCKET' && typeof bytesRead === 'number' && bytesRead > 0;
}

/** The message inside vLLM's (new and old), SGLang's, llama-server's and FastAPI's error bodies; else the text itself. */
export function errorMessage(text: string): string {
  const json = parseJson(text);
  const found =
    stringAt(json, 'error', 'message') ??
    stringAt(json, 'message') ??
    stringAt(json, 'error') ??
    stringAt(json, 'detail') ??
    text;
  return found.replaceAll(/\s+/g, ' ').trim().slice(0, limits.engineErrorCharsMax);
}

function readAddress(baseUrl: string): URL {
  if (!URL.canParse(baseUrl)) throw new TypeError('the engine address is not a URL');
  const url = new URL(baseUrl);
  if (url.protocol !== 'http:' && url.protocol !== 'https:')
    throw new TypeError('the engine address must begin with http:// or https://');
  if (url.username !== '' || url.password !== '')
    throw new TypeError('the engine address holds a password: give it as the API key');
  return url;
}
