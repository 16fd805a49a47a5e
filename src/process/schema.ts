// Schema: every setting, once. Defaults, bounds, types, `--help` and docs/configuration.md all come from here.
//
// Names are camelCase here and in code, snake_case in files, environment and flags (shape.ts converts).

import { z } from 'zod';
import { classes, stopRules, voteMethods } from '../grm/query.js';
import { reasoningDefaults } from '../grm/reasoning.js';
import { stopErrorDefault, waveSizes } from '../grm/stop.js';
import { limits } from '../limits.js';
import { logLevels } from '../observe/log.js';
import { engineSchema, metaEngineSchema } from './engines.js';
import {
  choice,
  flag,
  list,
  listenAddress,
  natsUrl,
  optional,
  poolName,
  secret,
  real,
  text,
  told,
  whole,
} from './fields.js';
import type { Secret } from './secret.js';

const MiB = 1024 * 1024;
const TiB = MiB * MiB;
const second = 1_000;
const minute = 60 * second;
const hour = 60 * minute;
const day = 24 * hour;

const weight = z.number().positive().max(1_000_000);

const nats = z.strictObject({
  servers: list(
    natsUrl,
    16,
    [],
    'Addresses of one NATS cluster. Empty: nats://127.0.0.1:4222, and `grm up` starts a server of its own.',
  ),
  token: optional(secret, 'Token to connect with.', 'secret'),
  user: optional(text, 'User to connect as.'),
  password: optional(secret, "The user's password.", 'secret'),
  credsFile: optional(text, 'Credentials file (JWT and seed).'),
  tls: told(
    z
      .strictObject({
        caFile: optional(text, "PEM file of the authority that signed the server's certificate; absent: the system's."),
        certFile: optional(text, 'PEM file of our certificate.'),
        keyFile: optional(text, 'PEM file of its key.'),
      })
      .exactOptional(),
    'Given, even empty: connect with TLS.',
  ),
  storage: choice(
    ['file', 'memory'],
    'file',
    'Where the streams live. In memory nothing survives a restart of the server.',
  ),
  replicas: told(z.literal([1, 3]).default(1), 'Copies of each stream; 3 needs a cluster of three servers.'),
  storageBytesMax: whole(64 * MiB, TiB, limits.storageBytesDefault, 'Storage of all streams together.'),
  retentionMs: whole(
    10 * minute,
    30 * day,
    limits.ledgerKeepMs,
    'How long requests, samples and verdicts are kept: within it a retry pays for nothing again.',
  ),
  ackWaitMs: whole(
    second,
    10 * minute,
    limits.ackWaitMs,
    'Work of a worker that died goes to another after this; living workers renew what they hold every third of it. The same in every process.',
  ),
  publishForMs: whole(
    limits.pubAckMs,
    limits.publishForMs,
    limits.publishForMs,
    'A message that NATS does not store is tried again for so long; then its request is told UNAVAILABLE, or its shard goes back to the queue. Shorter: callers hear sooner, and shorter outages cost work.',
  ),
  clockSkewMsMax: whole(
    second,
    30 * day,
    limits.clockSkewMsMax,
    "A process whose machine's clock is further from NATS's takes no work and says so. Deadlines are told by the clock of NATS, so that smaller distances do no harm; above a second they are warned of.",
  ),
  serverBinary: told(text.default('nats-server'), 'Program that `grm up` starts when no server is given.'),
});

const grpcToken = z.strictObject({
  name: told(text.max(limits.tenantCharsMax), 'Name for logs and people; never the secret.'),
  token: told(secret, 'The bearer token.', 'secret'),
  tenants: optional(
    z.array(text.max(limits.tenantCharsMax)).min(1).max(limits.tenantsMax),
    "Tenants that it may score for; absent: all, and the cluster's controls.",
  ),
});

const grpc = z.strictObject({
  listen: told(listenAddress.default('127.0.0.1:50051'), 'Address of the gRPC door; port 0 takes any free one.'),
  tls: told(
    z
      .strictObject({
        certFile: told(text, 'PEM file of the certificate.'),
        keyFile: told(text, 'PEM file of its key.'),
        clientCaFile: optional(text, 'Given: clients must show a certificate signed by it (mTLS).'),
      })
      .exactOptional(),
    'Given: the door speaks TLS.',
  ),
  tokens: list(grpcToken, 1_000, [], 'Bearer tokens. Empty: whoever reaches the door may use it.'),
  allowInsecure: flag(false, 'Listen beyond this machine without TLS. For networks that are trusted.'),
  maxConnectionAgeMs: whole(
    10 * second,
    day,
    5 * minute,
    'A connection is closed gracefully after this, so that clients find new coordinators.',
  ),
});

const http = z.strictObject({
  listen: told(
    listenAddress.default('127.0.0.1:9464'),
    'Address of /metrics, /healthz, /readyz and /debug/state; port 0 takes any free one.',
  ),
});

const defaults = z.strictObject({
  k: whole(1, limits.kMax, 8, 'Samples per request.'),
  temperature: real(0, limits.temperatureMax, 0.5, 'Sampling temperature; 0 = greedy.'),
  topP: told(z.number().gt(0).max(1).default(1), 'Nucleus sampling.'),
  maxTokens: whole(1, limits.maxTokensMax, 1024, 'Tokens one sample may generate.'),
  vote: choice(
    ['auto', ...voteMethods],
    'auto',
    'How samples are combined; auto: meta_topk when a meta worker serves or is about to, else sum.',
  ),
  quorumRatio: real(
    0,
    1,
    0.5,
    'Share of the samples that must be valid when the time budget ends; at least one always.',
  ),
  timeBudgetMs: whole(
    limits.timeBudgetMsMin,
    limits.timeBudgetMsMax,
    100 * second,
    "Time for a request. Below the callers' own time-outs, so that they get an answer.",
  ),
  stop: choice(stopRules, 'none', 'When drawing may end before k samples (adaptive k).'),
  stopError: told(
    z.number().gt(0).max(limits.stopErrorMax).default(stopErrorDefault),
    'Error level of the rule confident: the chance that k samples would have had another best response.',
  ),
  class: choice(classes, 'rl', 'Class of a request that names none.'),
});

const coordinator = z.strictObject({
  pool: told(poolName.default('grm'), 'Pool of workers that draws the samples.'),
  metaPool: told(poolName.default('meta'), 'Pool of meta workers that ranks them.'),
  requestsInFlightMax: whole(1, 1_000_000, 10_000, 'Requests held at once; more are shed.'),
  samplesInFlightMax: whole(1, 10_000_000, 20_000, 'Samples of the requests held at once; more are shed.'),
  bytesInFlightMax: whole(
    limits.contentBytesMax,
    64 * 1024 * MiB,
    256 * MiB,
    'Content bytes of the requests held at once; more are shed.',
  ),
  dispatchSamplesMax: told(
    z
      .union([z.literal('auto'), z.int().min(1).max(1_000_000)], { error: 'must be "auto" or a whole number from 1' })
      .default('auto'),
    `Samples in the work queue at once; the rest waits here, where tenants and classes share by weight. auto: 1.25 x the pool's slots / coordinators, at least ${limits.dispatchSamplesMin}.`,
    '"auto" or a whole number, 1 to 1000000',
  ),
  shardSamplesMax: whole(
    1,
    limits.shardSamplesMax,
    limits.shardSamplesMax,
    'Samples in one shard: more share more of a prompt, fewer spread over more engines.',
  ),
  waves: choice(
    waveSizes,
    'by_load',
    'Adaptive k asks for samples as far ahead as slots are free (by_load), or never ahead (small): the verdict is the same.',
  ),
  hedge: z
    .strictObject({
      extraRatio: real(
        0,
        1,
        0.05,
        'Late samples are asked for once more, elsewhere, while slots are free; at most this share of all samples. 0: never.',
      ),
      percentile: real(
        0.5,
        1,
        0.98,
        'Late is what takes longer than this share of the latest samples took, from asking to having.',
      ),
      floorMs: whole(second, hour, 5 * second, 'And never what takes less.'),
    })
    .prefault({}),
  weights: z
    .strictObject({
      class: z
        .strictObject({
          interactive: told(weight.default(8), 'Weight of the class interactive.'),
          rl: told(weight.default(4), 'Weight of the class rl.'),
          batch: told(weight.default(1), 'Weight of the class batch.'),
        })
        .prefault({}),
      tenant: told(
        z.record(text.max(limits.tenantCharsMax), weight).default({}),
        'Weight of a tenant; 1 when not named.',
      ),
    })
    .prefault({}),
  drainGraceMs: whole(
    0,
    hour,
    30 * second,
    'Time for running requests when told to stop; the rest goes to other coordinators.',
  ),
  lingerMs: whole(
    0,
    minute,
    2 * second,
    'A request whose last caller left runs on for so long, so that a retry can join it.',
  ),
  metaPatienceMs: whole(
    0,
    10 * minute,
    10 * second,
    'How long the meta RM may be away before a request that waits for it alone is voted on without.',
  ),
  silenceMs: whole(
    100,
    minute,
    2 * second,
    'After so long without news a request reads the ledger, in case a notice was lost.',
  ),
  takeoverEveryMs: whole(
    100,
    hour,
    minute,
    'How often unfinished requests are looked for, besides the death of a coordinator.',
  ),
  sweepEveryMs: whole(
    second,
    hour,
    30 * second,
    'How often the janitor looks for what a killed nats-server left behind.',
  ),
});

const worker = z.strictObject({
  pool: told(poolName.default('grm'), 'Pool that this worker serves.'),
  engines: told(
    z.array(engineSchema).max(limits.enginesMax).default([]),
    'Engines that draw samples. None: `grm up` takes the nano judge, which ships with the package.',
  ),
  gpus: told(
    z
      .union([z.literal('auto'), z.array(z.int().min(0).max(1_023)).max(limits.gpusMax)], {
        error: 'must be "auto" or a list of GPU indexes',
      })
      .default('auto'),
    'GPUs that managed engines share out; auto asks nvidia-smi.',
    '"auto" or a list of whole numbers',
  ),
  slots: optional(
    z.int().min(1).max(limits.slotsMax),
    'Samples at once over all engines; absent: the sum of their slots.',
  ),
  learnSlots: flag(
    true,
    'Give an engine fewer samples than its slots while more would only wait inside it, by its own metrics. Not where `slots` is set.',
  ),
  drainGraceMs: whole(0, hour, minute, 'Time for running samples when told to stop; the rest is handed back.'),
  restartsMax: whole(-1, 1_000_000, -1, 'Restarts of a failing engine; -1 = no end.'),
  reasoning: list(
    z.strictObject({
      open: told(text.max(limits.reasoningMarkerCharsMax), 'Marker that opens reasoning, in any case of letters.'),
      close: told(text.max(limits.reasoningMarkerCharsMax), 'Marker that closes it.'),
    }),
    limits.reasoningMarkersMax,
    [...reasoningDefaults],
    'Markers between which models reason; what stands there is never read for scores. A list given here replaces the default one.',
  ),
});

const meta = z.strictObject({
  pool: told(poolName.default('meta'), 'Pool that this meta worker serves.'),
  engines: told(
    z.array(metaEngineSchema).max(limits.enginesMax).default([]),
    'Engines that give meta rewards. None: requests are voted on without, except with the nano judge of `grm up`.',
  ),
  slots: optional(
    z.int().min(1).max(limits.slotsMax),
    'Texts at once over all engines; absent: the sum of their slots.',
  ),
  drainGraceMs: whole(0, hour, minute, 'Time for running texts when told to stop; the rest is handed back.'),
  restartsMax: whole(-1, 1_000_000, -1, 'Restarts of a failing engine; -1 = no end.'),
});

const templates = z.strictObject({
  grm: told(
    text.default('default'),
    'Prompt template of the GRM: default, nano (for the nano models alone), or a path.',
  ),
  meta: told(
    text.default('default'),
    'Prompt template of the meta RM: default, nano (for the nano models alone), or a path.',
  ),
  extra: told(
    z.record(poolName, text).default({}),
    'Further templates of the GRM that requests may name: name to path, or to default or nano.',
  ),
});

const log = z.strictObject({
  level: choice(logLevels, 'info', 'Least level that is written.'),
  format: choice(['auto', 'json', 'pretty'], 'auto', 'auto: pretty on a terminal, else JSON.'),
  texts: flag(false, 'Let prompts, responses and critiques into the log.'),
});

const up = z.strictObject({
  workers: whole(0, 64, 1, 'GRM workers that `grm up` starts.'),
  metaWorkers: whole(0, 64, 1, 'Meta workers that `grm up` starts.'),
  dataDir: told(
    text.default('.grm'),
    'Folder of its NATS data, logs and state; the fake engine has one of its own in it.',
  ),
});

export const configSchema = z.strictObject({
  nats: told(nats.prefault({}), 'NATS: the queues and the ledger.'),
  grpc: told(grpc.prefault({}), 'The gRPC door of a coordinator.'),
  http: told(http.prefault({}), 'The observability door of every process.'),
  defaults: told(defaults.prefault({}), 'What a request gets that does not say.'),
  coordinator: told(coordinator.prefault({}), 'Coordinators.'),
  worker: told(worker.prefault({}), 'GRM workers.'),
  meta: told(meta.prefault({}), 'Meta workers.'),
  templates: told(templates.prefault({}), 'Prompt templates.'),
  log: told(log.prefault({}), 'The log of every process.'),
  up: told(up.prefault({}), '`grm up`: a whole cluster on one machine.'),
});

type DeepReadonly<T> = T extends Secret
  ? T
  : T extends readonly (infer U)[]
    ? readonly DeepReadonly<U>[]
    : T extends object
      ? { readonly [K in keyof T]: DeepReadonly<T[K]> }
      : T;

/** The whole configuration, resolved: every default applied, frozen. */
export type Config = DeepReadonly<z.output<typeof configSchema>>;
export type EngineConfig = Config['worker']['engines'][number];
export type EngineConfigOf<K extends EngineConfig['kind']> = Extract<EngineConfig, { readonly kind: K }>;
export type MetaEngineConfig = Config['meta']['engines'][number];
