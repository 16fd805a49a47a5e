import { createServer, type Server } from 'node:net';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { claim, silence } from '../../../src/cli/port.js';

let server: Server;
let port: number;
beforeEach(async () => {
  server = createServer((socket) => socket.on('error', () => undefined));
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  ({ port } = server.address() as { port: number });
});
afterEach(() => new Promise((resolve) => server.close(resolve)));

describe('a port', () => {
  it('that is taken is told', async () => {
    expect(await claim(`127.0.0.1:${port}`)).toEqual({ kind: 'taken', reason: 'another process listens there' });
  });

  it('of an address that is not ours is told', async () => {
    expect(await claim('192.0.2.1:0')).toEqual({
      kind: 'taken',
      reason: expect.stringContaining('EADDRNOTAVAIL') as string,
    });
  });

  it('0 becomes a free one', async () => {
    const claimed = await claim('127.0.0.1:0');
    expect(claimed).toEqual({ kind: 'free', listen: expect.stringMatching(/^127\.0\.0\.1:[1-9]\d+$/) as string });
  });

  it('keeps the brackets of its address', async () => {
    const claimed = await claim('[::1]:0');
    expect(claimed).toEqual({ kind: 'free', listen: expect.stringMatching(/^\[::1\]:[1-9]\d+$/) as string });
  });
});

describe('a server', () => {
  it.each(['nats://u:p@127.0.0.1:', '127.0.0.1:', 'tls://localhost:'])('at %s answers', async (address) => {
    expect(await silence(`${address}${port}`, 2_000)).toBe(undefined);
  });

  it('that is not there is silent, with the reason', async () => {
    expect(await silence('nats://127.0.0.1:9', 2_000)).toBe('ECONNREFUSED');
  });
});
