// A real gRPC server with a scripted coordinator behind it, and its certificates where a test wants TLS.

import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { generate } from 'selfsigned';
import { Events } from '../../src/observe/events.js';
import { serveRpc, type RpcOptions, type RpcServer } from '../../src/rpc/server.js';
import { GrmClient, GrmError, type ConnectOptions, type ScoreRequest } from '../../src/rpc/client.js';
import type { ClusterStatus } from '../../src/rpc/cluster.js';
import { ActorState } from '../../src/wire/gen/grm/v1/cluster.js';
import { ScriptedCluster, ScriptedCoordinator } from './scripted-coordinator.js';

export class RpcPeer implements AsyncDisposable {
  readonly #clients: GrmClient[] = [];
  readonly troubles: unknown[] = [];

  private constructor(
    readonly server: RpcServer,
    readonly coordinator: ScriptedCoordinator,
    readonly cluster: ScriptedCluster,
    readonly events: Events,
  ) {
    events.on('trouble', ({ error }) => this.troubles.push(error));
  }

  static async open(more: Partial<RpcOptions> = {}): Promise<RpcPeer> {
    const coordinator = new ScriptedCoordinator();
    const cluster = new ScriptedCluster(someStatus);
    const events = new Events();
    const server = await serveRpc({ listen: '127.0.0.1:0', coordinator, cluster, events, ...more });
    return new RpcPeer(server, coordinator, cluster, events);
  }

  client(more: Partial<ConnectOptions> = {}): GrmClient {
    const client = GrmClient.connect({ address: this.server.address, ...more });
    this.#clients.push(client);
    return client;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    for (const client of this.#clients) client.close();
    await this.server.close(0);
  }
}

export function aRequest(more: Partial<ScoreRequest> = {}): ScoreRequest {
  return { query: 'Why is the sky blue?', responses: ['Rayleigh scattering.', 'Paint.'], ...more };
}

/** The GrmError that a call must fail with. */
export async function failure(promise: Promise<unknown>): Promise<GrmError> {
  const error = await promise.then(
    () => new Error('it succeeded'),
    (reason: unknown) => reason,
  );
  if (!(error instanceof GrmError)) throw error as Error;
  return error;
}

/** Resolves when `holds` does; the test's own time limit is the deadline. */
export async function until(holds: () => boolean): Promise<void> {
  while (!holds()) await new Promise((resolve) => setTimeout(resolve, 5));
}

export const someStatus: ClusterStatus = {
  nodes: [
    {
      id: 'n1',
      role: 'grm-worker',
      host: 'host-a',
      pid: 42,
      version: '0.1.0',
      pool: 'grm',
      actors: [
        {
          id: 'a1',
          kind: 'engine',
          name: 'gpu-0',
          state: ActorState.RESTARTING,
          stateReason: 'exit 137',
          restarts: 2,
          restartsMax: -1,
          concurrencyMax: 16,
          running: 3,
          gpus: [0, 1],
          model: 'judge',
          engine: 'openai http://127.0.0.1:1',
          stateSinceMs: 1_700_000_000_000,
          judge: '0123456789abcdef',
        },
      ],
      gpus: 2,
      slots: 16,
      running: 3,
      done: 2 ** 40,
      ratePerSecond: 1.5,
      startedAtMs: 1_700_000_000_000,
      heartbeatAgeMs: 20,
      address: '',
      fake: true,
      draining: false,
      clockSkewMs: -1_500,
      refuses: '',
      expired: 3,
    },
  ],
  queues: [{ stream: 'GRM_WORK', name: 'grm/rl', pending: 9, inFlight: 3, redelivered: 1 }],
  dead: 1,
  requestsInFlight: 2,
  natsVersion: '2.9.10',
  drift: ['GRM_RES.max_age'],
  nowMs: 1_700_000_060_000,
  streams: [{ name: 'GRM_RES', bytes: 900, bytesMax: 1_000, messages: 3, trouble: '' }],
  unread: [],
  judges: [{ role: 'grm-worker', pool: 'grm', models: [{ id: '0123456789abcdef', model: 'judge' }] }],
};

export interface Certificates extends AsyncDisposable {
  readonly folder: string;
  readonly caFile: string;
  /** For 127.0.0.1 and localhost, signed by the CA. */
  readonly server: { readonly certFile: string; readonly keyFile: string };
  readonly client: { readonly certFile: string; readonly keyFile: string };
  /** The same, whose time is over, and of one whose time has not come. */
  readonly expired: { readonly certFile: string; readonly keyFile: string };
  readonly early: { readonly certFile: string; readonly keyFile: string };
}

/** A certificate authority with a server's and a client's certificate, as PEM files. */
export async function makeCertificates(): Promise<Certificates> {
  const folder = await mkdtemp(join(tmpdir(), 'grm-tls-'));
  const file = async (name: string, text: string) => {
    await writeFile(join(folder, name), text);
    return join(folder, name);
  };
  const base = { keyType: 'ec', algorithm: 'sha256' } as const;
  const authority = await generate([{ name: 'commonName', value: 'test authority' }], {
    ...base,
    extensions: [
      { name: 'basicConstraints', cA: true, critical: true },
      { name: 'keyUsage', keyCertSign: true, cRLSign: true, critical: true },
    ],
  });
  const signed = async (name: string, dates: { notBeforeDate?: Date; notAfterDate?: Date } = {}) => {
    const { cert, private: key } = await generate([{ name: 'commonName', value: name }], {
      ...base,
      ...dates,
      ca: { cert: authority.cert, key: authority.private },
      extensions: [
        { name: 'basicConstraints', cA: false },
        { name: 'extKeyUsage', serverAuth: true, clientAuth: true },
        {
          name: 'subjectAltName',
          altNames: [
            { type: 2, value: 'localhost' },
            { type: 7, ip: '127.0.0.1' },
          ],
        },
      ],
    });
    return { certFile: await file(`${name}.crt`, cert), keyFile: await file(`${name}.key`, key) };
  };
  return {
    folder,
    caFile: await file('ca.crt', authority.cert),
    server: await signed('server'),
    client: await signed('client'),
    expired: await signed('expired', { notBeforeDate: new Date('2020-01-01'), notAfterDate: new Date('2020-02-01') }),
    early: await signed('early', { notBeforeDate: new Date('2099-01-01'), notAfterDate: new Date('2099-02-01') }),
    [Symbol.asyncDispose]: () => rm(folder, { recursive: true }),
  };
}
