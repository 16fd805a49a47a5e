// Link: the connection to NATS and its state.
//
//   disconnected <-> connected -> closed. The client library reconnects for ever; callers wait here instead of publishing into a
//   connection that is not there, because what the library holds at that moment is thrown away.

import {
  connect,
  credsAuthenticator,
  errors,
  type Msg,
  type NatsConnection,
  type NodeConnectionOptions,
  type PublishOptions,
  type Subscription,
} from '@nats-io/transport-node';
import { randomBytes } from 'node:crypto';
import { readFile } from 'node:fs/promises';
import { setTimeout as sleep } from 'node:timers/promises';
import { fault, FaultError } from '../fault.js';
import { limits } from '../limits.js';
import { steadyNow } from '../process/clock.js';
import { scrubbed } from '../observe/redact.js';
import type { OnQueueEvent } from './events.js';

export interface LinkOptions {
  /** "nats://host:4222"; more than one of the same cluster. */
  readonly servers: readonly string[];
  /** Connection name; also names the inbox, so that permissions can be given per role: `_INBOX_<name>.>`. */
  readonly name: string;
  readonly token?: string;
  readonly user?: string;
  readonly password?: string;
  readonly credsFile?: string;
  readonly tls?: { readonly caFile?: string; readonly certFile?: string; readonly keyFile?: string };
  /** Default limits.natsConnectMs. */
  readonly connectMs?: number;
}

type Hear = (state: 'connected' | 'disconnected', reason: string) => void;

export interface Denied {
  readonly operation: 'publish' | 'subscription';
  readonly subject: string;
}

export interface Link {
  readonly nc: NatsConnection;
  /** Unique to this connection, without a dot at its end. */
  readonly inbox: string;
  /** A single token, unique to this connection. */
  readonly id: string;
  connected(): boolean;
  /** The returned function ends it. */
  onChange(hear: Hear): () => void;
  /** Times that the connection was lost: a changed number means that a server may have been restarted. */
  losses(): number;
  /** Called when the server refuses this user a subject. The returned function ends it. */
  onDenied(hear: (denied: Denied) => void): () => void;
  /** True once connected; false when `ms` passed, `signal` aborted or the link was closed first. */
  whenConnected(ms: number, signal?: AbortSignal): Promise<boolean>;
  /**
   * Sent with all else that is published in this turn of the event loop: one write to the socket instead of one per message, which is a tenth
   * of a busy process's time (measured). What is published while the connection is away, or lost in this turn, is thrown away.
   */
  publish(subject: string, data: Uint8Array, options?: PublishOptions): void;
  /** Resolves once the server has handled what was published before. */
  flush(): Promise<void>;
  /** What `hear` throws is told and goes no further: the client library would stop reading the connection. */
  subscribe(subject: string, hear: (msg: Msg) => void): Subscription;
  close(): Promise<void>;
}

/** Connects, trying again up to `connectMs`; throws FaultError naming the servers, without credentials. */
export async function openLink(options: LinkOptions, onEvent: OnQueueEvent): Promise<Link> {
  const nc = await firstConnection(options);
  const id = randomBytes(9).toString('base64url');
  let connected = true;
  let losses = 0;
  const hearers = new Set<Hear>();
  const denialHearers = new Set<(denied: Denied) => void>();

  const outbox: {
    readonly subject: string;
    readonly data: Uint8Array;
    readonly options: PublishOptions | undefined;
  }[] = [];
  const change = (state: 'connected' | 'disconnected', reason: string): void => {
    if (connected === (state === 'connected')) return;
    connected = state === 'connected';
    if (!connected) {
      losses += 1;
      outbox.length = 0;
    }
    onEvent({ kind: 'connection', state, reason });
    for (const hear of [...hearers]) hear(state, reason);
  };

  const hearError = (error: Error): void => {
    if (!(error instanceof errors.PermissionViolationError)) {
      onEvent({ kind: 'waiting', words: `nats: ${error.message}` });
      return;
    }
    const { operation, subject } = error;
    onEvent({ kind: 'denied', operation, subject });
    for (const hear of [...denialHearers]) hear({ operation, subject });
  };

  const watch = async (): Promise<void> => {
    for await (const status of nc.status()) {
      if (status.type === 'disconnect') change('disconnected', `the connection to ${status.server} is lost`);
      else if (status.type === 'staleConnection') change('disconnected', 'the server does not answer pings');
      else if (status.type === 'reconnect') change('connected', `connected again to ${status.server}`);
      else if (status.type === 'ldm') onEvent({ kind: 'waiting', words: `${status.server} is shutting down` });
      else if (status.type === 'error') hearError(status.error);
    }
    change('disconnected', 'the connection is closed');
  };
  void watch();

  const send = (): void => {
    const messages = outbox.splice(0);
    if (!connected || nc.isClosed()) return;
    for (const { subject, data, options: how } of messages) {
      try {
        nc.publish(subject, data, how);
      } catch (error) {
        onEvent({ kind: 'waiting', words: `nats: ${subject} was not sent: ${String(error)}` });
      }
    }
  };

  return {
    nc,
    inbox: `${inboxPrefix(options.name)}.${id}`,
    id,
    connected: () => connected && !nc.isClosed(),
    onChange(hear) {
      hearers.add(hear);
      return () => void hearers.delete(hear);
    },
    losses: () => losses,
    onDenied(hear) {
      denialHearers.add(hear);
      return () => void denialHearers.delete(hear);
    },
    whenConnected(ms, signal) {
      if (connected) return Promise.resolve(true);
      if (nc.isClosed() || signal?.aborted) return Promise.resolve(false);
      return new Promise((resolve) => {
        const end = (answer: boolean): void => {
          clearTimeout(timer);
          hearers.delete(hear);
          signal?.removeEventListener('abort', aborted);
          resolve(answer);
        };
        const hear: Hear = (state) => {
          if (state === 'connected') end(true);
          else if (nc.isClosed()) end(false);
        };
        const aborted = (): void => {
          end(false);
        };
        const timer = setTimeout(aborted, ms);
        hearers.add(hear);
        signal?.addEventListener('abort', aborted);
      });
    },
    publish(subject, data, options) {
      if (outbox.push({ subject, data, options }) === 1) setImmediate(send);
    },
    flush() {
      send();
      return nc.flush();
    },
    subscribe: (subject, hear) =>
      nc.subscribe(subject, {
        callback: (error, msg) => {
          if (error) return;
          try {
            hear(msg);
          } catch (thrown) {
            onEvent({ kind: 'undecodable', label: msg.subject, reason: `its listener failed: ${String(thrown)}` });
          }
        },
      }),
    async close() {
      if (nc.isClosed()) return;
      send();
      if (connected) await Promise.race([nc.flush().catch(() => undefined), sleep(limits.queueCallMs)]);
      await nc.close();
    },
  };
}

export function inboxPrefix(name: string): string {
  return `_INBOX_${name.replaceAll(/[^A-Za-z0-9_-]/g, '-')}`;
}

/** The library's own waiting for a first connection has no end; this one has. */
async function firstConnection(options: LinkOptions): Promise<NatsConnection> {
  const { tls } = options;
  const wanted: NodeConnectionOptions = {
    servers: [...options.servers],
    name: options.name,
    maxReconnectAttempts: -1,
    // Two refusals in a row end a connection for ever otherwise, and "Authentication Timeout" of a busy server is one.
    ignoreAuthErrorAbort: true,
    reconnectTimeWait: 200,
    reconnectJitter: 800,
    reconnectJitterTLS: 800,
    pingInterval: 5_000,
    maxPingOut: 2,
    timeout: 5_000,
    inboxPrefix: inboxPrefix(options.name),
    // A stack per request costs half of the client's time (measured).
    noAsyncTraces: true,
    ...(options.token !== undefined && { token: options.token }),
    ...(options.user !== undefined && { user: options.user }),
    ...(options.password !== undefined && { pass: options.password }),
    ...(options.credsFile !== undefined && { authenticator: credsAuthenticator(await readFile(options.credsFile)) }),
    ...(tls && { tls: { ...tls } }),
  };
  const giveUpAt = steadyNow() + (options.connectMs ?? limits.natsConnectMs);
  for (;;) {
    try {
      return await connect(wanted);
    } catch (error) {
      // Addresses may hold a password.
      const words = scrubbed(error instanceof Error ? error.message : String(error));
      const where = options.servers.map(scrubbed).join(', ');
      // A server or a client that is short of time is told by the same class, and its words alone.
      const late = /timeout/i.test(words);
      if (error instanceof errors.AuthorizationError && !late) {
        throw new FaultError(fault('permission_denied', `NATS at ${where} refuses these credentials: ${words}`));
      }
      if (steadyNow() >= giveUpAt) {
        throw new FaultError(fault('queue_unavailable', `no NATS server answers at ${where}: ${words}`));
      }
      await sleep(Math.min(250, Math.max(1, giveUpAt - steadyNow())));
    }
  }
}

/** What to say of a refused subject: the one thing that helps is another user, or more permissions for this one. */
export function deniedFault({ operation, subject }: Denied): FaultError {
  const verb = operation === 'publish' ? 'publish' : 'subscribe';
  const words = `NATS does not let this user ${verb} to ${subject}: is it the user of this role? (deploy/nats/nats-server.conf)`;
  return new FaultError(fault('permission_denied', words));
}

/** The refusal in what the client library threw, wherever it put it. */
export function denialIn(error: unknown): Denied | undefined {
  for (let at = error, depth = 0; at instanceof Error && depth < 4; at = at.cause, depth += 1) {
    if (at instanceof errors.PermissionViolationError) return { operation: at.operation, subject: at.subject };
  }
  return undefined;
}
