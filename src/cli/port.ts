// Port: whether an address can be listened at, before a process is started for it.

import { createServer } from 'node:net';

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
