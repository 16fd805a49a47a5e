// Channel: the client's connection to the service, and single calls over it.

import {
  connectivityState,
  Metadata,
  type CallOptions,
  type ChannelOptions,
  type ClientUnaryCall,
  type ServiceError,
} from '@grpc/grpc-js';
import { fault } from '../fault.js';
import { limits } from '../limits.js';
import { systemAt } from '../process/clock.js';
import { ClusterServiceClient } from '../wire/gen/grm/v1/cluster.js';
import { RewardServiceClient } from '../wire/gen/grm/v1/reward.js';
import { GrmError } from './grm-error.js';
import { keepAskingWhileClosing, onClientSession } from './sessions.js';
import { faultOfError } from './status.js';
import { clientCredentials, type ClientTls } from './tls.js';

export interface Channel {
  readonly reward: RewardServiceClient;
  readonly cluster: ClusterServiceClient;
  readonly metadata: Metadata;
  /** A coordinator is connected now. */
  isConnected(): boolean;
  /** Throws GrmError once the channel is closed: grpc-js would throw an error without a code. */
  checkOpen(): void;
  close(): void;
}

/** One connection per coordinator that the address names, spread over round-robin; the library's own retries are off, ours know the faults. */
const channelOptions: ChannelOptions = {
  'grpc.max_receive_message_length': limits.grpcMessageBytesMax,
  'grpc.max_send_message_length': limits.grpcMessageBytesMax,
  'grpc.enable_retries': 0,
  'grpc.enable_channelz': 0,
  'grpc.use_local_subchannel_pool': 1,
  'grpc.initial_reconnect_backoff_ms': 100,
  'grpc.max_reconnect_backoff_ms': 5_000,
  'grpc.service_config': JSON.stringify({ loadBalancingConfig: [{ round_robin: {} }] }),
};

/** A ping after so long a silence while calls are open, and how long its answer may take. */
export interface KeepAlive {
  readonly afterMs: number;
  readonly withinMs: number;
}

const keepAliveDefault: KeepAlive = { afterMs: 30_000, withinMs: 10_000 };

export interface ChannelTarget {
  readonly address: string;
  readonly tls?: ClientTls | undefined;
  readonly token?: string | undefined;
  readonly keepAlive?: KeepAlive | undefined;
}

export function openChannel({ address, tls, token, keepAlive = keepAliveDefault }: ChannelTarget): Channel {
  const name = tls?.serverName;
  const options = {
    ...channelOptions,
    'grpc.keepalive_time_ms': keepAlive.afterMs,
    'grpc.keepalive_timeout_ms': keepAlive.withinMs,
    ...(name !== undefined && { 'grpc.ssl_target_name_override': name }),
  };
  const credentials = clientCredentials(tls);
  const reward = new RewardServiceClient(address, credentials, options);
  const cluster = new ClusterServiceClient(address, credentials, { ...options, channelOverride: reward.getChannel() });
  onClientSession(reward, keepAskingWhileClosing);
  const metadata = new Metadata();
  if (token !== undefined) metadata.set('authorization', `Bearer ${token}`);
  let closed = false;
  return {
    reward,
    cluster,
    metadata,
    isConnected: () => !closed && reward.getChannel().getConnectivityState(false) === connectivityState.READY,
    checkOpen: () => {
      if (closed) throw new GrmError(fault('failed_precondition', 'this client is closed'));
    },
    close: () => {
      closed = true;
      reward.close();
    },
  };
}

type Unary<Q, T> = (
  request: Q,
  metadata: Metadata,
  options: Partial<CallOptions>,
  reply: (error: ServiceError | null, response: T) => void,
) => ClientUnaryCall;

/**
 * One try of a unary call. Rejects with GrmError.
 * @param deadlineAtMs told by steadyNow
 */
export function callOnce<Q, T>(
  call: Unary<Q, T>,
  request: Q,
  metadata: Metadata,
  deadlineAtMs: number,
  signal: AbortSignal | undefined,
): Promise<T> {
  return new Promise((resolve, reject) => {
    const running = call(request, metadata, { deadline: systemAt(deadlineAtMs) }, (error, response) => {
      signal?.removeEventListener('abort', cancel);
      if (error) reject(new GrmError(faultOfError(error)));
      else resolve(response);
    });
    const cancel = () => running.cancel();
    if (signal?.aborted) cancel();
    else signal?.addEventListener('abort', cancel, { once: true });
  });
}
