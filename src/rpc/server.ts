// Server: the gRPC door of a coordinator, from listening to its last answer.
//
//   V1. It serves from the moment serveRpc() resolves. close() turns health to NOT_SERVING, stops listening (new calls are
//       UNAVAILABLE), lets open calls finish for `graceMs`, and answers the rest with UNAVAILABLE, without cancelling its requests:
//       they are accepted, and another coordinator goes on with them.
//   V2. Messages (unpacked, too), calls per connection, silent connections and slow senders are bounded (limits.ts, keep-alive, arrival.ts).
//   V3. Connections are asked to reconnect after `maxConnectionAgeMs`, so that clients find new coordinators; their open calls go on.

import { Server, type ServerCredentials } from '@grpc/grpc-js';
import type { Coordinator } from '../coordinator/coordinator.js';
import { limits } from '../limits.js';
import type { Events } from '../observe/events.js';
import type { Clock } from '../process/clock.js';
import { ClusterServiceService } from '../wire/gen/grm/v1/cluster.js';
import { RewardServiceService } from '../wire/gen/grm/v1/reward.js';
import { arrivalGuard } from './arrival.js';
import { Auth, type Token } from './auth.js';
import { OpenCalls, type RpcContext } from './calls.js';
import { clusterHandlers, type ClusterControl } from './cluster.js';
import { Health, type NotServing } from './health.js';
import { longDeadlines } from './long-deadlines.js';
import { reflection } from './reflection.js';
import { rewardHandlers } from './reward.js';
import { checkExposure, hostOf, serverCredentials, type ServerTls } from './tls.js';

export interface RpcOptions {
  /** `host:port`; port 0 takes a free one. */
  readonly listen: string;
  readonly tls?: ServerTls;
  /** Without TLS only loopback may be listened on, unless this is true. */
  readonly allowInsecure?: boolean;
  /** Empty or absent: no token is asked for. */
  readonly tokens?: readonly Token[];
  readonly coordinator: Coordinator;
  readonly cluster: ClusterControl;
  readonly events: Events;
  /** The coordinator's; default: the system's. */
  readonly clock?: Pick<Clock, 'now'>;
  /** Default 5 minutes. */
  readonly maxConnectionAgeMs?: number;
  /** A ping after so long a silence, and how long its answer may take. Defaults 30 s and 10 s. */
  readonly keepaliveMs?: number;
  readonly keepaliveTimeoutMs?: number;
  /** How often the TLS files are read anew. Default 60 s. */
  readonly tlsReloadMs?: number;
  /** A request must be there whole after so long. Default limits.requestArrivalMs. */
  readonly arrivalMs?: number;
}

export interface RpcServer {
  /** `host:port` with the port that was taken. */
  readonly address: string;
  /** A reason for health to say NOT_SERVING, or its end. Calls are still taken: the coordinator answers for itself. */
  setNotServing(reason: NotServing, holds: boolean): void;
  /** Calls open now. */
  open(): number;
  /** Never rejects; resolves when the last connection is gone. A second call changes nothing. */
  close(graceMs: number): Promise<void>;
}

const defaults = { maxConnectionAgeMs: 300_000, keepaliveMs: 30_000, keepaliveTimeoutMs: 10_000, tlsReloadMs: 60_000 };

/** After the last call: for its bytes to leave. Health watchers keep connections open for ever and are not waited for longer. */
const flushMs = 1_000;

/** Rejects when the address cannot be had, when TLS files do not load, or when the door would stand open by mistake (tls.ts, T1). */
export async function serveRpc(options: RpcOptions): Promise<RpcServer> {
  checkExposure(options.listen, options.tls, options.allowInsecure ?? false);
  const { coordinator, cluster, events, clock = { now: () => Date.now() } } = options;
  const auth = new Auth(options.tokens ?? []);
  const context: RpcContext = { coordinator, cluster, events, auth, open: new OpenCalls(), clock };
  const trouble = (error: unknown) => events.emit('trouble', { where: 'rpc tls files', error });
  const credentials = serverCredentials(options.tls, options.tlsReloadMs ?? defaults.tlsReloadMs, trouble);

  const server = new Server({
    'grpc.max_receive_message_length': limits.grpcMessageBytesMax,
    'grpc.max_send_message_length': limits.grpcMessageBytesMax,
    'grpc.max_concurrent_streams': limits.callsPerConnectionMax,
    'grpc.max_connection_age_ms': options.maxConnectionAgeMs ?? defaults.maxConnectionAgeMs,
    'grpc.keepalive_time_ms': options.keepaliveMs ?? defaults.keepaliveMs,
    'grpc.keepalive_timeout_ms': options.keepaliveTimeoutMs ?? defaults.keepaliveTimeoutMs,
    // Channelz stays on: without it grpc-js 1.14 keeps no list of sessions, and forceShutdown() would cut none.
    'grpc.so_reuseport': 0,
    interceptors: [longDeadlines(), arrivalGuard(options.arrivalMs ?? limits.requestArrivalMs), ...auth.interceptors()],
  });
  const health = new Health();
  server.addService(RewardServiceService, rewardHandlers(context));
  server.addService(ClusterServiceService, clusterHandlers(context));
  health.addTo(server);
  reflection().addToServer(server);

  const unhear = events.on('queue.connection', ({ state }) => health.set('nats', state === 'disconnected'));
  const port = await bind(server, options.listen, credentials);
  const host = hostOf(options.listen);
  let closing: Promise<void> | undefined;
  return {
    address: host.includes(':') ? `[${host}]:${port}` : `${host}:${port}`,
    setNotServing: (reason, holds) => health.set(reason, holds),
    open: () => context.open.size,
    close: (graceMs) => {
      unhear();
      health.closing();
      return (closing ??= shutDown(server, context.open, graceMs));
    },
  };
}

function bind(server: Server, listen: string, credentials: ServerCredentials): Promise<number> {
  return new Promise((resolve, reject) => {
    server.bindAsync(listen, credentials, (error, port) => {
      if (error) reject(new Error(`rpc.listen = "${listen}": ${error.message}`));
      else resolve(port);
    });
  });
}

async function shutDown(server: Server, open: OpenCalls, graceMs: number): Promise<void> {
  let timer: NodeJS.Timeout | undefined;
  const after = (ms: number) => new Promise<void>((resolve) => (timer = setTimeout(resolve, ms)));
  const connectionsGone = new Promise<void>((resolve) => server.tryShutdown(() => resolve()));
  await Promise.race([open.drain(), after(graceMs)]);
  clearTimeout(timer);
  open.cut();
  await Promise.race([connectionsGone, after(flushMs)]);
  clearTimeout(timer);
  server.forceShutdown();
}
