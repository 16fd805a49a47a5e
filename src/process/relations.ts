// Relations: what settings must be to each other. Each broken one is a problem of the setting that is named.

import { isLoopback, parseListen } from '../observe/listen.js';
import type { Config } from './schema.js';

export interface Broken {
  readonly key: string;
  readonly message: string;
}

export function brokenRelations(config: Config): readonly Broken[] {
  return [...nats(config.nats), ...grpc(config.grpc), ...bounds(config), ...gpus(config.worker)];
}

function* nats({ token, user, password, credsFile, tls }: Config['nats']): Generator<Broken> {
  const ways = [
    token !== undefined ? 'token' : undefined,
    user !== undefined ? 'user' : undefined,
    credsFile !== undefined ? 'creds_file' : undefined,
  ].filter((way) => way !== undefined);
  const [first, ...more] = ways;
  for (const way of more)
    yield { key: `nats.${way}`, message: `cannot go with nats.${first ?? ''}: choose one way to log in` };
  if (password !== undefined && user === undefined) yield { key: 'nats.password', message: 'needs nats.user' };
  if (user !== undefined && password === undefined) yield { key: 'nats.user', message: 'needs nats.password' };
  if (tls?.certFile !== undefined && tls.keyFile === undefined) {
    yield { key: 'nats.tls.cert_file', message: 'needs nats.tls.key_file' };
  }
  if (tls?.keyFile !== undefined && tls.certFile === undefined) {
    yield { key: 'nats.tls.key_file', message: 'needs nats.tls.cert_file' };
  }
}

function* grpc({ listen, tls, allowInsecure, tokens }: Config['grpc']): Generator<Broken> {
  const host = parseListen(listen)?.host ?? '';
  if (!isLoopback(host) && !tls && !allowInsecure) {
    yield {
      key: 'grpc.listen',
      message:
        'can be reached from other machines without encryption: give grpc.tls, or set grpc.allow_insecure if the network is trusted',
    };
  }
  const names = new Set<string>();
  for (const [index, { name }] of tokens.entries()) {
    if (names.has(name)) yield { key: `grpc.tokens.${index}.name`, message: `"${name}" is the name of two tokens` };
    names.add(name);
  }
}

function* bounds({ nats, defaults, coordinator }: Config): Generator<Broken> {
  const atMost = function* (key: string, value: number, other: string, max: number, why: string): Generator<Broken> {
    if (value > max) yield { key, message: `must be at most ${other} (${max}): ${why}` };
  };
  const { dispatchSamplesMax } = coordinator;
  if (dispatchSamplesMax !== 'auto') {
    yield* atMost(
      'coordinator.shard_samples_max',
      coordinator.shardSamplesMax,
      'coordinator.dispatch_samples_max',
      dispatchSamplesMax,
      'a shard must fit into the work queue',
    );
    yield* atMost(
      'coordinator.dispatch_samples_max',
      dispatchSamplesMax,
      'coordinator.samples_in_flight_max',
      coordinator.samplesInFlightMax,
      'no more can be queued than is admitted',
    );
  }
  yield* atMost(
    'defaults.k',
    defaults.k,
    'coordinator.samples_in_flight_max',
    coordinator.samplesInFlightMax,
    'a request by defaults must be admitted',
  );
  yield* atMost(
    'defaults.time_budget_ms',
    defaults.timeBudgetMs,
    'nats.retention_ms',
    nats.retentionMs,
    'samples must be kept until their request ends',
  );
}

function* gpus({ gpus, engines }: Config['worker']): Generator<Broken> {
  if (gpus === 'auto') return;
  if (new Set(gpus).size < gpus.length) yield { key: 'worker.gpus', message: 'names a GPU twice' };
  for (const [index, engine] of engines.entries()) {
    if (engine.kind === 'managed' && engine.gpusPerEngine > gpus.length) {
      yield {
        key: `worker.engines.${index}.gpus_per_engine`,
        message: `is ${engine.gpusPerEngine}, but worker.gpus lists ${gpus.length}`,
      };
    }
  }
}
