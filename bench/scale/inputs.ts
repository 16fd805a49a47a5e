// Inputs: every number that the simulation takes as given, with its unit and where it comes from. docs/scale.md repeats them.

export interface Inputs {
  readonly nats: NatsCosts;
  readonly coordinator: CoordinatorCosts;
  readonly engine: EngineCosts;
  readonly meta: MetaCosts;
  readonly sizes: Sizes;
}

/** CPU of nats-server 2.9.10 for one replica on files, microseconds, unless said otherwise. */
export interface NatsCosts {
  /** Cores that one server may use. */
  readonly cores: number;
  /** One message, in or out. Core publish to subscriber, 1 KB: 0.7 core at 190,000 pairs/s. */
  readonly message: number;
  /** Storing one message, without its own two (in, ack). Counted acks, file: 1.1 cores at 91,000/s. */
  readonly store: number;
  /** For each KiB stored. 8 KB against 1 KB messages with awaited acks: 0.5 core at 10,000/s and 16,500/s. */
  readonly storeKiB: number;
  /** Handing out one task and hearing its ack, without their two messages. Consume and ack, file: 1.0 core at 56,000/s. */
  readonly consume: number;
  /** A direct read or an API call, without its two messages. Assumed: half a store. */
  readonly read: number;
  /** Factor on `store` and `storeKiB`: 1 is what was measured, one replica; three replicas are taken for 3 (assumed). */
  readonly replicaFactor: number;
  /** A round trip, milliseconds. Assumed: one rack. */
  readonly rttMs: number;
}

/** CPU of a coordinator's one busy thread, microseconds. bench/scale/costs.ts measures them; the defaults are assumed (docs/scale.md). */
export interface CoordinatorCosts {
  /** A request: gRPC both ways, identity, plan, record, vote, verdict. */
  readonly request: number;
  /** A shard into the queue. */
  readonly shard: number;
  /** A sample's notice: decode, gather. */
  readonly sample: number;
  /** A meta task out and its result in. */
  readonly meta: number;
  /** A lease read, of any node. */
  readonly lease: number;
  /** A subject in a list of the ledger (the look for unfinished requests). */
  readonly listed: number;
}

/** An engine with continuous batching: a step gives each running sequence a token and takes base + perSequence * running. */
export interface EngineCosts {
  /** Samples at once. */
  readonly slots: number;
  readonly stepBaseMs: number;
  /** Throughput reaches half of 1 / perSequence at base / perSequence sequences: the knee. */
  readonly stepPerSequenceMs: number;
  readonly prefillTokensPerSecond: number;
}

export interface MetaCosts {
  /** Texts at once, one engine. */
  readonly slots: number;
  readonly tokensPerSecond: number;
  /** Of one text that has the engine for itself, milliseconds. */
  readonly baseMs: number;
}

/** Tokens are lognormal: median and standard deviation of the logarithm. Bytes are those of one message with its subject and headers. */
export interface Sizes {
  readonly promptTokens: number;
  readonly promptSigma: number;
  readonly outputTokens: number;
  readonly outputSigma: number;
  readonly outputTokensMax: number;
  readonly bytesPerToken: number;
  /** Of a record, a shard, a sample, a verdict's sample and a meta task, besides their texts. */
  readonly envelopeBytes: number;
  /** A meta result. */
  readonly metaBytes: number;
  /** A lease, and each request that it names. */
  readonly leaseBytes: number;
  readonly leaseRequestBytes: number;
}

export const inputsDefault: Inputs = {
  nats: {
    cores: 4,
    message: 1.85,
    store: 8.4,
    storeKiB: 2.9,
    consume: 14.2,
    read: 4.2,
    replicaFactor: 1,
    rttMs: 0.5,
  },
  coordinator: { request: 1_000, shard: 60, sample: 60, meta: 80, lease: 30, listed: 1 },
  engine: { slots: 64, stepBaseMs: 20, stepPerSequenceMs: 0.3, prefillTokensPerSecond: 10_000 },
  meta: { slots: 32, tokensPerSecond: 20_000, baseMs: 30 },
  sizes: {
    promptTokens: 900,
    promptSigma: 0.5,
    outputTokens: 280,
    outputSigma: 0.35,
    outputTokensMax: 1_024,
    bytesPerToken: 4,
    envelopeBytes: 500,
    metaBytes: 250,
    leaseBytes: 700,
    leaseRequestBytes: 36,
  },
};
