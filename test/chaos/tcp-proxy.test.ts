// The proxy that chaos runs put between processes: each weather does what it says, and a connection that lives has lost nothing.

import { once } from 'node:events';
import { connect, createServer, type AddressInfo, type Socket } from 'node:net';
import { setTimeout as sleep } from 'node:timers/promises';
import { expect, test } from 'vitest';
import { until } from '../support/processes.js';
import { startTcpProxy } from '../support/tcp-proxy.js';

interface Peer extends AsyncDisposable {
  readonly port: number;
  /** All that came, over all connections. */
  heard(): Buffer;
  readonly sockets: Socket[];
}

/** A server that hears, and answers with what it is told to. */
async function startPeer(answer: (chunk: Buffer) => Buffer = (chunk) => chunk): Promise<Peer> {
  const parts: Buffer[] = [];
  const sockets: Socket[] = [];
  const server = createServer({ allowHalfOpen: true }, (socket) => {
    sockets.push(socket);
    socket.on('error', () => undefined);
    socket.on('data', (chunk: Buffer) => {
      parts.push(chunk);
      socket.write(answer(chunk));
    });
    socket.on('end', () => socket.end('bye'));
  });
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  return {
    port: (server.address() as AddressInfo).port,
    heard: () => Buffer.concat(parts),
    sockets,
    async [Symbol.asyncDispose]() {
      for (const socket of sockets) socket.destroy();
      await new Promise((resolve) => server.close(resolve));
    },
  };
}

interface Caller extends Disposable {
  readonly socket: Socket;
  got(): string;
  bytes(): number;
  /** "open", "ended", or the code of what broke it. */
  state(): string;
}

async function call(port: number): Promise<Caller> {
  const socket = connect({ port, host: '127.0.0.1', allowHalfOpen: true });
  const parts: Buffer[] = [];
  let state = 'open';
  socket.on('data', (chunk: Buffer) => void parts.push(chunk));
  socket.on('end', () => (state = 'ended'));
  socket.on('error', (error: NodeJS.ErrnoException) => (state = error.code ?? error.message));
  // A connection that is refused at once may be broken before it is seen to be there.
  await once(socket, 'connect').catch(() => undefined);
  return {
    socket,
    got: () => Buffer.concat(parts).toString('latin1'),
    bytes: () => parts.reduce((sum, part) => sum + part.length, 0),
    state: () => state,
    [Symbol.dispose]: () => socket.destroy(),
  };
}

/** Longer than a byte takes over the loopback, so that "nothing came" means something. */
const aWhileMs = 250;

test('clear: bytes pass both ways in order, also after one side has ended', async () => {
  await using peer = await startPeer();
  await using proxy = await startTcpProxy(peer.port);
  using caller = await call(proxy.port);
  const text = Array.from({ length: 40_000 }, (_, at) => `${at} `).join('');
  caller.socket.end(text);
  await until(() => caller.state() === 'ended', 'the answer has come whole');
  expect(caller.got()).toBe(`${text}bye`);
  expect(proxy.stats()).toMatchObject({ connections: 1, bytesUp: text.length, bytesDown: text.length + 3 });
  await until(() => proxy.stats().open === 0, 'nothing is left of the connection');
});

test('delay: everything comes later, and in order', async () => {
  await using peer = await startPeer();
  await using proxy = await startTcpProxy(peer.port);
  proxy.set({ kind: 'delay', delayMs: 2_000 });
  using caller = await call(proxy.port);
  caller.socket.write('one ');
  await sleep(aWhileMs);
  expect(peer.heard().length).toBe(0);
  caller.socket.write('two');
  await until(() => caller.got() === 'one two', 'the echo has come');
});

test('black hole: nothing passes either way, nothing breaks, and all of it goes on when it ends', async () => {
  await using peer = await startPeer();
  await using proxy = await startTcpProxy(peer.port);
  using caller = await call(proxy.port);
  caller.socket.write('before ');
  await until(() => caller.got() === 'before ', 'the way is open');
  proxy.set({ kind: 'black hole' });
  caller.socket.write('during ');
  using late = await call(proxy.port);
  late.socket.write('late');
  await sleep(aWhileMs);
  expect(peer.heard().toString()).toBe('before ');
  expect([caller.state(), late.state()]).toEqual(['open', 'open']);
  proxy.set({ kind: 'clear' });
  await until(() => caller.got() === 'before during ' && late.got() === 'late', 'what was held back has come');
});

test('mute: requests are heard and answers never come; what lost bytes is cut, a new connection is well', async () => {
  await using peer = await startPeer();
  await using proxy = await startTcpProxy(peer.port);
  using caller = await call(proxy.port);
  using silent = await call(proxy.port);
  proxy.set({ kind: 'mute' });
  caller.socket.write('do it');
  await until(() => peer.heard().toString() === 'do it', 'the request is heard');
  await until(() => proxy.stats().bytesDropped === 5, 'the answer is thrown away');
  expect(caller.got()).toBe('');
  proxy.set({ kind: 'clear' });
  await until(() => caller.state() === 'ECONNRESET', 'the torn connection is cut');
  expect(caller.got()).toBe('');
  // It said nothing while answers were lost: it has lost nothing.
  silent.socket.write('still here');
  await until(() => silent.got() === 'still here', 'a connection without loss goes on');
});

test('slow reader: answers trickle, whole and in order, and the server feels it', async () => {
  const big = Buffer.alloc(8 * 1024 * 1024, 'abcdefghij');
  await using peer = await startPeer(() => big);
  await using proxy = await startTcpProxy(peer.port);
  proxy.set({ kind: 'slow reader', bytesPerSecond: 10_000 });
  using caller = await call(proxy.port);
  caller.socket.write('all of it');
  await until(() => caller.bytes() >= 2_000, 'some of it has come');
  // X1: neither the proxy nor the kernel holds it all.
  expect(peer.sockets[0]?.writableLength).toBeGreaterThan(0);
  expect(caller.bytes()).toBeLessThan(big.length / 2);
  proxy.set({ kind: 'clear' });
  await until(() => caller.bytes() === big.length, 'the rest comes at once');
  expect(caller.got() === big.toString('latin1')).toBe(true);
});

test('cut: every connection is reset on both sides; without a target new ones are refused', async () => {
  await using peer = await startPeer();
  await using proxy = await startTcpProxy(peer.port);
  using first = await call(proxy.port);
  using second = await call(proxy.port);
  second.socket.write('x');
  await until(() => second.got() === 'x' && peer.sockets.length === 2, 'both are connected');
  proxy.cut();
  await until(() => first.state() === 'ECONNRESET' && second.state() === 'ECONNRESET', 'both are reset');
  await until(() => peer.sockets.every((each) => each.destroyed), 'the server sees it too');
  using third = await call(proxy.port);
  third.socket.write('again');
  await until(() => third.got() === 'again', 'a new one passes');

  await using nowhere = await startTcpProxy();
  using refused = await call(nowhere.port);
  await until(() => refused.state() === 'ECONNRESET', 'nobody is there');
  nowhere.aim(peer.port);
  using aimed = await call(nowhere.port);
  aimed.socket.write('there');
  await until(() => aimed.got() === 'there', 'it leads somewhere now');
});
