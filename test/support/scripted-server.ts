// A real HTTP server that answers as a test tells it: for replies that no well-behaved engine gives.
import { createServer, type IncomingMessage, type ServerResponse } from 'node:http';
import type { AddressInfo, Socket } from 'node:net';

export interface ScriptedServer extends AsyncDisposable {
  readonly url: string;
  /** Connections accepted so far. */
  connections(): number;
  /** Requests seen: "METHOD path". */
  readonly seen: readonly string[];
}

export type Script = (req: IncomingMessage, res: ServerResponse, body: string) => void;

/** Answers GET /v1/models itself (one model, "scripted"), unless the script is told to answer all. */
export async function scriptedServer(
  script: Script,
  options: { readonly answersAll?: boolean } = {},
): Promise<ScriptedServer> {
  const seen: string[] = [];
  const sockets = new Set<Socket>();
  let connections = 0;
  const server = createServer((req, res) => {
    const parts: Buffer[] = [];
    req.on('data', (part: Buffer) => parts.push(part));
    req.on('end', () => {
      seen.push(`${req.method ?? ''} ${req.url ?? ''}`);
      if (req.url === '/v1/models' && options.answersAll !== true) {
        res.writeHead(200, { 'content-type': 'application/json' });
        res.end(JSON.stringify({ object: 'list', data: [{ id: 'scripted', object: 'model', owned_by: 'test' }] }));
      } else script(req, res, Buffer.concat(parts).toString('utf8'));
    });
  });
  server.on('connection', (socket) => {
    connections += 1;
    sockets.add(socket);
    socket.once('close', () => sockets.delete(socket));
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  return {
    url: `http://127.0.0.1:${(server.address() as AddressInfo).port}`,
    connections: () => connections,
    seen,
    async [Symbol.asyncDispose]() {
      for (const socket of sockets) socket.destroy();
      await new Promise((resolve) => server.close(resolve));
    },
  };
}
