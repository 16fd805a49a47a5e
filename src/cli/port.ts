// Port: whether an address can be listened at, or answers, before a process is started that needs it.

import { connect, createServer } from 'node:net';

export type Claim =
  { readonly kind: 'free'; readonly listen: string } | { readonly kind: 'taken'; readonly reason: string };

/** The address with its port, chosen when it was 0. It is free when this resolves, and held by nobody. */
export function claim(listen: string): Promise<Claim> {
  const at = listen.lastIndexOf(':');
  const host = listen.slice(0, at);
  return new Promise((resolve) => {
    const probe = createServer();
    probe.once('error', (error: NodeJS.ErrnoException) => {
      const reason = error.code === 'EADDRINUSE' ? 'another process listens there' : error.message;
      resolve({ kind: 'taken', reason });
    });
    probe.listen(Number(listen.slice(at + 1)), host.replace(/^\[(.*)\]$/, '$1'), () => {
      const address = probe.address();
      const port = typeof address === 'object' && address !== null ? address.port : 0;
      probe.close(() => resolve({ kind: 'free', listen: `${host}:${port}` }));
    });
  });
}

/** Why nothing answers there; undefined when something does. `server` is "nats://user:password@host:port", or any part of it with the host. */
export function silence(server: string, withinMs: number): Promise<string | undefined> {
  const { hostname, port } = new URL(server.includes('://') ? server : `nats://${server}`);
  return new Promise((resolve) => {
    const socket = connect(Number(port || 4222), hostname.replace(/^\[(.*)\]$/, '$1'));
    const end = (reason: string | undefined): void => {
      socket.destroy();
      resolve(reason);
    };
    socket.setTimeout(withinMs, () => end(`nothing within ${withinMs / 1_000} s`));
    socket.once('connect', () => end(undefined));
    socket.once('error', (error: NodeJS.ErrnoException) => end(error.code ?? error.message));
  });
}
