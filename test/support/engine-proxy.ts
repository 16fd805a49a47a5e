// A proxy in front of an engine that sees every request before the engine does: for tests in which a prompt does harm, or in which the
// way to the engine breaks.

import { createServer, type IncomingMessage, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';

export interface EngineProxy extends AsyncDisposable {
  readonly url: string;
  readonly port: number;
  /** Generations and meta calls that came through. */
  seen(): number;
}

/** What to do with one request: pass it on, or break the connection without an answer. */
export type Look = (body: string, path: string) => 'pass' | 'break' | Promise<'pass' | 'break'>;

/** A look that holds requests back until it is opened: what a test does meanwhile, it does while they are in hand. */
export interface Gate {
  readonly look: Look;
  /** Requests that wait before it now. */
  held(): number;
  /** Lets go of all that wait, and of all that come. */
  open(): void;
}

/** @param before so many requests pass before it holds the others */
export function closedGate(before = 0): Gate {
  let left = before;
  let held = 0;
  let open: () => void = () => undefined;
  const opened = new Promise<void>((resolve) => (open = resolve));
  return {
    look: async () => {
      if (left > 0) {
        left -= 1;
        return 'pass' as const;
      }
      held += 1;
      await opened;
      held -= 1;
      return 'pass' as const;
    },
    held: () => held,
    open,
  };
}

/**
 * @param port 0 = any free one
 * @param host where it listens
 */
export async function startEngineProxy(target: string, look: Look, port = 0, host = '127.0.0.1'): Promise<EngineProxy> {
  let seen = 0;
  const serve = async (req: IncomingMessage, res: ServerResponse): Promise<void> => {
    const parts: Buffer[] = [];
    for await (const part of req as AsyncIterable<Buffer>) parts.push(part);
    const body = Buffer.concat(parts);
    const path = req.url ?? '/';
    // A question about the vocabulary is no work.
    const isWork = req.method === 'POST' && !path.endsWith('/tokenize');
    if (isWork) seen += 1;
    const gone = new AbortController();
    res.once('close', () => gone.abort());
    if (isWork && (await look(body.toString('utf8'), path)) === 'break') {
      res.destroy();
      return;
    }
    const reply = await fetch(target + path, {
      method: req.method ?? 'GET',
      headers: { 'content-type': req.headers['content-type'] ?? 'application/json' },
      ...(req.method === 'POST' && { body }),
      signal: gone.signal,
    });
    res.writeHead(reply.status, { 'content-type': reply.headers.get('content-type') ?? 'text/plain' });
    for await (const part of reply.body ?? []) res.write(part);
    res.end();
  };
  const server = createServer((req, res) => {
    serve(req, res).catch(() => res.destroy());
  });
  await new Promise<void>((resolve, reject) => {
    server.once('error', reject);
    server.listen(port, host, resolve);
  });
  const { port: taken } = server.address() as AddressInfo;
  return {
    url: `http://${host}:${taken}`,
    port: taken,
    seen: () => seen,
    async [Symbol.asyncDispose]() {
      const closed = new Promise((resolve) => server.close(resolve));
      server.closeAllConnections();
      await closed;
    },
  };
}
