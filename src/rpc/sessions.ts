// Sessions: what the HTTP/2 sessions under gRPC lack.
//
//   SE1. A session that closes (GOAWAY was sent or received) stays alive for as long as calls run on it, and is still asked for signs of life.
//        Node refuses a PING on it, and grpc-js 1.14 takes that for a dead peer and destroys the session with all its calls
//        (grpc/grpc-node#3068). So such a session is asked by an empty SETTINGS frame, which a peer must acknowledge as well (RFC 9113, 6.5.3).
//   SE2. A client may give up calls, many at once, without harm to its others: Node ends a connection with all its calls when too many are reset
//        on it (CVE-2023-44487), so one that comes near is asked to close before (GOAWAY). Its open calls go on and new ones come over a new
//        connection. On a connection that is asked to close no call can begin, so whoever attacks gains nothing by it.
//   SE3. What grpc-js keeps to itself is read here alone, and its version is pinned. Where it is not as expected, sessions are as grpc-js
//        makes them.

import { constants, type ClientHttp2Session, type Http2Session, type ServerHttp2Session } from 'node:http2';
import type { Client, Server } from '@grpc/grpc-js';
import { limits } from '../limits.js';

type PingCallback = (error: Error | null, durationMs: number, payload: Buffer<ArrayBuffer>) => void;

/** SE1. */
export function keepAskingWhileClosing(session: Http2Session): void {
  const ping = session.ping.bind(session) as (...given: unknown[]) => boolean;
  session.ping = (first: ArrayBufferView | PingCallback, second?: PingCallback): boolean => {
    const callback = typeof first === 'function' ? first : second;
    if (!session.closed || session.destroyed || !callback) return second ? ping(first, second) : ping(first);
    const payload =
      typeof first === 'function'
        ? Buffer.alloc(8)
        : Buffer.from(first.buffer.slice(first.byteOffset, first.byteOffset + 8) as ArrayBuffer);
    session.settings({}, (error, _settings, durationMs) => callback(error, durationMs, payload));
    return true;
  };
}

/** SE2. */
export function retireWhenReset(session: ServerHttp2Session, now: () => number = () => performance.now()): void {
  let resets = 0;
  let countedAtMs = now();
  session.on('stream', (stream) => {
    stream.once('close', () => {
      if (stream.rstCode === constants.NGHTTP2_NO_ERROR || session.closed) return;
      const atMs = now();
      resets = 1 + Math.max(0, resets - ((atMs - countedAtMs) / 1_000) * limits.connectionResetsPerSecond);
      countedAtMs = atMs;
      if (resets >= limits.connectionResetsMax) session.close();
    });
  });
}

interface ServerParts {
  readonly http2Servers?: ReadonlyMap<
    { on(event: 'session', hear: (session: ServerHttp2Session) => void): unknown },
    unknown
  >;
}

/** Calls `hear` with every session of a server that is bound. */
export function onServerSession(server: Server, hear: (session: ServerHttp2Session) => void): void {
  for (const http2Server of (server as unknown as ServerParts).http2Servers?.keys() ?? []) {
    http2Server.on('session', hear);
  }
}

interface Connector {
  connect(...given: unknown[]): Promise<{ readonly session?: ClientHttp2Session }>;
}

interface ChannelParts {
  readonly internalChannel?: {
    readonly subchannelPool?: { getOrCreateSubchannel?: (...given: unknown[]) => { readonly connector?: Connector } };
  };
}

/** Calls `hear` with every session that the client opens from now on. Its channel must have a subchannel pool of its own. */
export function onClientSession(client: Client, hear: (session: ClientHttp2Session) => void): void {
  const pool = (client.getChannel() as unknown as ChannelParts).internalChannel?.subchannelPool;
  const create = pool?.getOrCreateSubchannel?.bind(pool);
  if (!pool || !create) return;
  const known = new WeakSet<Connector>();
  pool.getOrCreateSubchannel = (...given) => {
    const subchannel = create(...given);
    const { connector } = subchannel;
    if (!connector || known.has(connector)) return subchannel;
    known.add(connector);
    const connect = connector.connect.bind(connector);
    connector.connect = async (...to) => {
      const transport = await connect(...to);
      if (transport.session) hear(transport.session);
      return transport;
    };
    return subchannel;
  };
}
