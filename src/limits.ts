// Every bound of the system, with its unit and the reason for it. A bound that a user may move is a default in
// process/config.ts and refers to the hard limit here. Relations between bounds are asserted when this file loads.

const KiB = 1024;
const MiB = 1024 * KiB;

export const limits = {
  /** Responses in one request: all stand in one prompt, and a judge's context ends somewhere. */
  responsesMax: 16,
  /** Samples per request; the paper's curves are flat well before. */
  kMax: 128,
  /** Turns in a conversation: bounds decoding work, far above real dialogues. */
  messagesMax: 4096,
  /** Caller's principles per request. */
  principlesMax: 64,
  /** One principle's text. */
  principleBytesMax: 8 * KiB,
  /** Query, responses, reference and principles together, UTF-8 bytes: what a request may weigh. */
  contentBytesMax: 8 * MiB,
  /** One gRPC message either way: a content at its limit with its envelope, or a verdict of kMax samples. */
  grpcMessageBytesMax: 12 * MiB,
  /** Idempotency key, UTF-8 bytes: it is hashed, never stored in a subject. */
  idempotencyKeyBytesMax: 256,
  tenantCharsMax: 64,
  correlationIdBytesMax: 256,
  temperatureMax: 2,
  /** Tokens one sample may generate; real critiques take 200-400. */
  maxTokensMax: 32_768,
  timeBudgetMsMin: 100,
  timeBudgetMsMax: 3_600_000,
  /** One sample's text as kept in the ledger; longer output is cut and the sample is judged on what is left. */
  sampleTextBytesMax: 256 * KiB,
  /** Content that travels inside a shard; above it the shard refers to GRM_REQ. Saves a round trip for the common small prompt. */
  inlineContentBytesMax: 16 * KiB,
  /** Content that GRM_REQ holds itself; above it goes to the object store. Below NATS's default max_payload of 1 MiB with room for the envelope. */
  recordContentBytesMax: 512 * KiB,
  /** One message to NATS: its default max_payload. */
  natsPayloadBytesMax: 1 * MiB,
  /** Samples in one shard: more share more of a prompt, fewer spread over more engines. */
  shardSamplesMax: 8,
  /** Deliveries of one shard before it is quarantined (promise P5). */
  deliveriesMax: 5,
  /** A delivery not renewed for this long goes to another worker. */
  ackWaitMs: 30_000,
  /** How often a worker renews a delivery: a third of ackWaitMs, so two renewals may be lost. */
  workingEveryMs: 10_000,
  /** Deliveries out at one consumer. */
  ackPendingMax: 10_000,
  /** Parked pulls at one consumer: at least twice the slots of the largest fleet (platform.md 1.3.12). */
  pullsWaitingMax: 8_192,
  /** A parked pull's life. Short, so that a worker that became busy holds no stale claim on a lower class. */
  pullExpiresMs: 5_000,
  /** Messages in one work queue; above it publishing fails and admission sheds. */
  workMessagesMax: 1_000_000,
  /** Control-plane heartbeat and the lease it renews. */
  heartbeatMs: 2_000,
  leaseMs: 6_000,
  /** Ask over NATS: how long a control message may take. */
  askMs: 5_000,
  /** One PubAck: then the publish is repeated under the same id. */
  pubAckMs: 5_000,
  /** Tries of one publish. With pubAckMs it bounds how long a NATS outage is ridden out. */
  publishTriesMax: 12,
  /** Publishes awaiting their PubAck in one process. */
  pubAcksPendingMax: 16_384,
  /** Samples in flight per worker process, over all engines. */
  slotsMax: 4_096,
  /** Requests kept decoded per worker, for shards that refer to GRM_REQ. */
  contentCacheBytesMax: 64 * MiB,
  /** Cancelled request ids a worker remembers, to drop shards that were already on their way. */
  cancelledMax: 10_000,
  /** Control messages may be this big. */
  controlBytesMax: 256 * KiB,
  /** Tenants with their own queue at one coordinator; more share one. */
  tenantsMax: 1_000,
  /** Requests open on one ScoreStream: the stream stops reading above it (back-pressure). */
  streamOpenMax: 256,
  /** Callers waiting for the same request. */
  waitersMax: 1_024,
  /** Dead letters listed at once. */
  deadListMax: 1_000,
  /** An engine's reply, and one line of its event stream. */
  engineReplyBytesMax: 16 * MiB,
} as const;

function holds(relation: boolean, words: string): void {
  if (!relation) throw new Error(`limits: ${words}`);
}

holds(limits.workingEveryMs * 3 <= limits.ackWaitMs, 'two renewals may be lost before a delivery is given away');
holds(limits.heartbeatMs * 3 <= limits.leaseMs, 'a lease outlives two lost heartbeats');
holds(limits.inlineContentBytesMax < limits.recordContentBytesMax, 'what is inline fits the record');
holds(limits.recordContentBytesMax < limits.natsPayloadBytesMax, 'a record fits a NATS message');
holds(limits.sampleTextBytesMax * 2 < limits.natsPayloadBytesMax, 'a sample with its parts fits a NATS message');
holds(limits.contentBytesMax < limits.grpcMessageBytesMax, 'a content at its limit fits a gRPC message');
holds(limits.pullsWaitingMax >= 2 * limits.slotsMax, 'every slot of the largest worker may park a pull');
