// A TCP proxy with weather: it stands between two processes and delays, swallows, holds back or cuts what they say to each other.
//
//   X1. It reads no further than it can pass on: what the weather holds back waits in the sockets of whoever sends, and in one chunk here.
//   X2. In all weathers but `mute` a connection that lives has lost nothing and keeps its order. One that lost bytes is cut when the
//       weather changes: a stream with a hole in it is nothing that TCP could do.

import { once } from 'node:events';
import { connect, createServer, type AddressInfo, type Socket } from 'node:net';

export type Weather =
  | { readonly kind: 'clear' }
  /** Every piece waits so long, in either direction; what comes meanwhile travels with the next. */
  | { readonly kind: 'delay'; readonly delayMs: number }
  /** Nothing passes and nothing breaks. New connections are taken, and say nothing. */
  | { readonly kind: 'black hole' }
  /** Requests pass, answers are thrown away: the work is done and nobody hears of it. */
  | { readonly kind: 'mute' }
  /** Whoever connects reads its answers at this speed. */
  | { readonly kind: 'slow reader'; readonly bytesPerSecond: number };

export interface TcpProxyStats {
  /** Connections since the start, and those open now. */
  readonly connections: number;
  readonly open: number;
  /** To the server, to whoever connected, and thrown away. */
  readonly bytesUp: number;
  readonly bytesDown: number;
  readonly bytesDropped: number;
}

export interface TcpProxy extends AsyncDisposable {
  readonly port: number;
  /** "host:port" */
  readonly address: string;
  /** Where new connections lead from now on. */
  aim(target: Target): void;
  set(weather: Weather): void;
  /** Resets every connection there is. */
  cut(): void;
  stats(): TcpProxyStats;
}

/** A port of this machine's loopback, or "host:port". */
export type Target = number | string;

interface Pair {
  readonly client: Socket;
  readonly server: Socket;
  /** Bytes of it were thrown away. */
  torn: boolean;
}

/** A slow reader takes so many pieces a second. */
const piecesPerSecond = 10;

/**
 * @param target without one, connections are refused (closed at once) until `aim` names it
 * @param host where it listens
 */
export async function startTcpProxy(target?: Target, host = '127.0.0.1'): Promise<TcpProxy> {
  let to = target;
  let weather: Weather = { kind: 'clear' };
  let isClosed = false;
  /** Aborted when the weather changes: wakes whoever waits for that. */
  let change = new AbortController();
  const pairs = new Set<Pair>();
  const counts = { connections: 0, bytesUp: 0, bytesDown: 0, bytesDropped: 0 };

  /** Sleeps `forMs`, or until the weather changes. */
  const wait = (forMs: number): Promise<void> =>
    new Promise((resolve) => {
      const { signal } = change;
      const wake = (): void => {
        clearTimeout(timer);
        signal.removeEventListener('abort', wake);
        resolve();
      };
      const timer = setTimeout(wake, Math.min(forMs, 2 ** 31 - 1));
      signal.addEventListener('abort', wake);
    });

  const pass = async (to: Socket, bytes: Buffer, way: 'bytesUp' | 'bytesDown'): Promise<void> => {
    if (to.destroyed) return;
    counts[way] += bytes.length;
    if (!to.write(bytes)) await Promise.race([once(to, 'drain'), once(to, 'close')]).catch(() => undefined);
  };

  /** One chunk through the weather, which may change meanwhile. */
  const carry = async (chunk: Buffer, pair: Pair, way: 'bytesUp' | 'bytesDown'): Promise<void> => {
    const receiver = way === 'bytesUp' ? pair.server : pair.client;
    let rest = chunk;
    let hasWaited = false;
    while (rest.length > 0 && !receiver.destroyed && !isOver()) {
      const now = weatherNow();
      if (now.kind === 'black hole') await wait(Infinity);
      else if (now.kind === 'delay' && !hasWaited) {
        await wait(now.delayMs);
        hasWaited = true;
      } else if (now.kind === 'mute' && way === 'bytesDown') {
        counts.bytesDropped += rest.length;
        pair.torn = true;
        return;
      } else if (now.kind === 'slow reader' && way === 'bytesDown') {
        const size = Math.max(1, Math.floor(now.bytesPerSecond / piecesPerSecond));
        await pass(receiver, rest.subarray(0, size), way);
        rest = rest.subarray(size);
        await wait(1_000 / piecesPerSecond);
      } else {
        await pass(receiver, rest, way);
        return;
      }
    }
  };
  const weatherNow = (): Weather => weather;
  const isOver = (): boolean => isClosed;

  const pump = async (pair: Pair, way: 'bytesUp' | 'bytesDown'): Promise<void> => {
    const [from, receiver] = way === 'bytesUp' ? [pair.client, pair.server] : [pair.server, pair.client];
    for await (const chunk of from.iterator({ destroyOnReturn: false })) await carry(chunk as Buffer, pair, way);
    if (!pair.torn) receiver.end();
  };

  const reset = (pair: Pair): void => {
    pairs.delete(pair);
    pair.client.resetAndDestroy();
    pair.server.resetAndDestroy();
  };

  const listener = createServer({ allowHalfOpen: true, noDelay: true }, (client) => {
    client.on('error', () => undefined);
    if (to === undefined || isClosed) {
      client.resetAndDestroy();
      return;
    }
    const server = connect({ ...addressOf(to), allowHalfOpen: true, noDelay: true });
    server.on('error', () => undefined);
    const pair: Pair = { client, server, torn: false };
    counts.connections += 1;
    pairs.add(pair);
    // A side that broke breaks the other; both ends that ended well are gone by themselves.
    for (const way of ['bytesUp', 'bytesDown'] as const) pump(pair, way).catch(() => reset(pair));
    let closed = 0;
    for (const side of [client, server]) side.once('close', () => (closed += 1) === 2 && pairs.delete(pair));
  });
  await new Promise<void>((resolve, reject) => {
    listener.once('error', reject);
    listener.listen(0, host, resolve);
  });
  const { port } = listener.address() as AddressInfo;

  return {
    port,
    address: `${host}:${port}`,
    aim: (next) => void (to = next),
    set(next) {
      weather = next;
      for (const pair of [...pairs]) if (pair.torn && next.kind !== 'mute') reset(pair);
      const before = change;
      change = new AbortController();
      before.abort();
    },
    cut: () => [...pairs].forEach(reset),
    stats: () => ({ ...counts, open: pairs.size }),
    async [Symbol.asyncDispose]() {
      isClosed = true;
      change.abort();
      const gone = new Promise((resolve) => listener.close(resolve));
      [...pairs].forEach(reset);
      await gone;
    },
  };
}

function addressOf(target: Target): { readonly host: string; readonly port: number } {
  if (typeof target === 'number') return { host: '127.0.0.1', port: target };
  const colon = target.lastIndexOf(':');
  return { host: target.slice(0, colon), port: Number(target.slice(colon + 1)) };
}
