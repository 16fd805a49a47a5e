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
  'grpc.keepalive_time_ms': 30_000,
  'grpc.keepalive_timeout_ms': 10_000,
  'grpc.initial_reconnect_backoff_ms': 100,
  'grpc.max_reconnect_backoff_ms': 5_000,
  'grpc.service_config': JSON.stringify({ loadBalancingConfig: [{ round_robin: {} }] }),
};

export function openChannel(address: string, tls: ClientTls | undefined, token: string | undefined): Channel {
  const name = tls?.serverName;
  const options = name === undefined ? channelOptions : { ...channelOptions, 'grpc.ssl_target_name_override': name };
  const credentials = clientCredentials(tls);
  const reward = new RewardServiceClient(address, credentials, options);
  const cluster = new ClusterServiceClient(address, credentials, { ...options, channelOverride: reward.getChannel() });
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
