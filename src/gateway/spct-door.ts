// SPCT door: the rule-based reward over HTTP, for a trainer that runs elsewhere than in TypeScript.
//
//   POST /spct/reward {"rows": [{"completion", "labels" | "best" with "n", "permutation"?, "finish_reason"?, "opens_reasoning"?}, ...]}
//     200 {"rewards": [1, -1, ...], "reasons": [null, "tie", ...], "scores": [[3, 9], ...]}, in the order of the rows
//     400 with violations, each with the row's index and the field: the first limits.violationsMax; `count` has the total
//     401, 404, 413, 415 and 500 in the same form. 408 (a request that is too slow), 431 (a head that is too big) and 503 (a request on a
//     connection that is still open while the door closes) have the HTTP server's own body. Nothing answers 429: a connection above
//     limits.spctConnectionsMax is closed without an answer.
//   GET /healthz
//
//   G1. A batch has rewards for all its rows, or none (spct/reward.ts, R2).
//   G2. A peer costs bounded memory and time, whatever it sends (limits.spct*).
//   G3. With a token, nothing but /healthz is answered without it; it is compared as a hash, in constant time.
//   G4. Closing lets batches under way finish, at most limits.spctCloseMs.
//
// Nothing of a completion is logged or sent back.

import { createHash, timingSafeEqual } from 'node:crypto';
import type { AddressInfo } from 'node:net';
import { fastify, type FastifyError, type FastifyReply } from 'fastify';
import { fault, faults, type FaultKind, type Violation } from '../fault.js';
import { limits } from '../limits.js';
import { listenText, parseListen } from '../observe/listen.js';
import { rewardBatch } from '../spct/reward.js';

export interface SpctDoorOptions {
  /** "127.0.0.1:8300"; port 0 takes any free one. */
  readonly listen: string;
  /** Bearer token that callers must show; absent: none. */
  readonly token?: string;
  /** Told of every answer. */
  readonly onAnswer?: (answer: { readonly status: number; readonly rows: number }) => void;
  /** Told of an error while answering; the peer gets a bare 500. */
  readonly onError?: (error: unknown) => void;
}

export interface SpctDoor {
  /** Where it listens, with the port that was taken. */
  readonly address: string;
  close(): Promise<void>;
}

/** Rejects with a plain message when the address is wrong or taken. */
export async function serveSpct(options: SpctDoorOptions): Promise<SpctDoor> {
  const wanted = parseListen(options.listen);
  if (!wanted) throw new Error(`"${options.listen}" is no address of the form host:port`);
  const app = fastify({
    bodyLimit: limits.spctBatchBytesMax,
    requestTimeout: limits.spctRequestMs,
    forceCloseConnections: 'idle',
    return503OnClosing: true,
    http: { maxHeaderSize: limits.httpHeaderBytesMax, headersTimeout: limits.httpHeadersMs },
  });
  app.server.maxConnections = limits.spctConnectionsMax;
  const known = options.token === undefined ? undefined : hash(options.token);

  app.addHook('onRequest', async (request, reply) => {
    if (known === undefined || request.url === '/healthz') return;
    const given = /^Bearer (.+)$/i.exec(request.headers.authorization ?? '')?.[1];
    if (given === undefined || !timingSafeEqual(hash(given), known))
      await refuse(reply.header('www-authenticate', 'Bearer'), 'unauthenticated', faults.unauthenticated.doc);
  });
  app.addHook('onResponse', (request, reply, done) => {
    if (request.url !== '/healthz') options.onAnswer?.({ status: reply.statusCode, rows: rowsOf(request.body) });
    done();
  });
  app.setNotFoundHandler((_, reply) => refuse(reply, 'not_found', 'POST /spct/reward, GET /healthz'));
  app.setErrorHandler((error: FastifyError, _, reply) => {
    const status = error.statusCode ?? 500;
    if (status < 500) return refuse(reply, 'invalid_request', error.message, { status });
    options.onError?.(error);
    return refuse(reply, 'internal', 'internal error');
  });

  app.get('/healthz', (_, reply) => reply.send({ kind: 'ok' }));
  app.post('/spct/reward', (request, reply) => {
    const { body } = request;
    const rows: unknown = typeof body === 'object' && body !== null && 'rows' in body ? body.rows : undefined;
    if (!Array.isArray(rows)) {
      const description = 'came nothing that is a list, expected a list of rows';
      return refuse(reply, 'invalid_request', `rows: ${description}`, { violations: [{ field: 'rows', description }] });
    }
    if (rows.length > limits.spctBatchRowsMax) {
      const description = `came ${rows.length}, expected at most ${limits.spctBatchRowsMax}: send several batches`;
      return refuse(reply, 'invalid_request', `rows: ${description}`, { violations: [{ field: 'rows', description }] });
    }
    const batch = rewardBatch(rows);
    if (batch.kind === 'violations') {
      const { violations, count } = batch;
      const [first] = violations;
      const more = count > 1 ? ` (and ${count - 1} more)` : '';
      const message = first ? `rows[${first.index}].${first.field}: ${first.description}${more}` : 'invalid rows';
      return refuse(reply, 'invalid_request', message, { violations, count });
    }
    return reply.send({
      rewards: batch.rewards.map(({ reward }) => reward),
      reasons: batch.rewards.map(({ reason }) => reason ?? null),
      scores: batch.rewards.map(({ scores }) => scores ?? null),
    });
  });

  try {
    await app.listen({ host: wanted.host, port: wanted.port });
  } catch (error) {
    await app.close();
    const { code, message } = error as NodeJS.ErrnoException;
    const why = code === 'EADDRINUSE' ? 'the port is taken' : message;
    throw new Error(`cannot listen on ${options.listen}: ${why}`, { cause: error });
  }
  const { address, port } = app.server.address() as AddressInfo;
  return {
    address: listenText({ host: address, port }),
    async close() {
      const timer = setTimeout(() => app.server.closeAllConnections(), limits.spctCloseMs);
      await app.close();
      clearTimeout(timer);
    },
  };
}

interface Refusal {
  readonly status?: number;
  readonly violations?: readonly Violation[];
  readonly count?: number;
}

function refuse(reply: FastifyReply, kind: FaultKind, message: string, { status, ...more }: Refusal = {}) {
  return reply.code(status ?? faults[kind].http).send({ error: { ...fault(kind, message), ...more } });
}

function rowsOf(body: unknown): number {
  return typeof body === 'object' && body !== null && 'rows' in body && Array.isArray(body.rows) ? body.rows.length : 0;
}

function hash(token: string): Buffer {
  return createHash('sha256').update(token).digest();
}
