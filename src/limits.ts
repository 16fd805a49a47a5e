// Every bound of the system, with its unit and the reason for it. A bound that a user may move is a default in
// process/config.ts and refers to the hard limit here. Relations between bounds are asserted when this file loads.

import { engineLimits } from './engine-limits.js';

const KiB = 1024;
const MiB = 1024 * KiB;

export const limits = {
  ...engineLimits,
  /** Responses in one request: all stand in one prompt, and a judge's context ends somewhere. */
  responsesMax: 16,
  /** Samples per request; the paper's curves are flat well before. */
  kMax: 128,
  /** Error level of the stop rule `confident`: above a half the runner-up would be the better guess. */
  stopErrorMax: 0.5,
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
  /** A prompt template's text, UTF-16 units: it is parsed by every worker and sent with every prompt. */
  templateCharsMax: 64 * KiB,
  temperatureMax: 2,
  /** Tokens one sample may generate; real critiques take 200-400. */
  maxTokensMax: 32_768,
  timeBudgetMsMin: 100,
  timeBudgetMsMax: 3_600_000,
  /** Kept of a caller's deadline for the last look, the vote and the way back: a tenth, at most so much. */
  answerReserveMsMax: 250,
  /** When the time is over the ledger is read once more, for notices that were lost: so long at most, or a ledger that does not answer would cost the answer too. */
  lastLookMsMax: 100,
  /** One sample's text as kept in the ledger; longer output is cut and the sample is judged on what is left. */
  sampleTextBytesMax: 256 * KiB,
  /** Content (or a sample's text) that travels inside a task, in UTF-16 units; above it the task refers to the ledger. Saves a round trip for the common small prompt. */
  inlineContentCharsMax: 16 * KiB,
  /** Content that GRM_REQ holds itself; above it goes to the object store. Below NATS's default max_payload of 1 MiB with room for the envelope. */
  recordContentBytesMax: 512 * KiB,
  /** One message to NATS: its default max_payload. */
  natsPayloadBytesMax: 1 * MiB,
  /** Samples in one shard: more share more of a prompt, fewer spread over more engines. */
  shardSamplesMax: 8,
  /** Samples in one lane of the ledger, which holds whole shards: fewer are more messages, more are more writers of one. */
  laneSamplesMax: 8,
  /** Appends that a lane may hold: one per sample at the most, and as many again for each time that its failures were taken up again. */
  laneAppendsMax: 64,
  /** Payload of one append that holds more than one sample. */
  appendBytesMax: 512 * KiB,
  /** Deliveries of one shard before it is quarantined (promise P5). */
  deliveriesMax: 5,
  /** From this delivery on a task runs alone: it may be what killed the worker that others died with. Late, because a failing engine brings tasks back too. */
  aloneFromDelivery: 4,
  /** A worker that has just started, perhaps after such a death, or that saw a task come back, takes one task at a time for so long. */
  workerCautionMs: 60_000,
  /** A delivery not renewed for this long goes to another worker. */
  ackWaitMs: 30_000,
  /** How often a worker renews a delivery: a third of ackWaitMs, so two renewals may be lost. */
  workingEveryMs: 10_000,
  /**
   * Deliveries out at one consumer: at least the slots of the largest pool, because shards of one sample (orders that all differ, a wave of
   * adaptive k) must be able to fill it. Beyond it nats-server was measured to slow down: with 200,000 out a delivery costs it 1.4 times as
   * much as with 10,000, and some wait for 0.2 s.
   */
  ackPendingMax: 200_000,
  /** Samples that a coordinator lets into the work queue at least, unless told otherwise: 64 workers of 64 slots. */
  dispatchSamplesMin: 4_096,
  /** Parked pulls at one consumer: at least twice the slots of the largest fleet; beyond it the server refuses pulls. */
  pullsWaitingMax: 8_192,
  /** A parked pull's life. Short, so that a worker that became busy holds no stale claim on a lower class. */
  pullExpiresMs: 5_000,
  /** Messages in one work queue; above it publishing fails and admission sheds. */
  workMessagesMax: 1_000_000,
  /** Control-plane heartbeat and the lease it renews. */
  heartbeatMs: 2_000,
  leaseMs: 6_000,
  /** How often the clock of NATS is read: quartz drifts by less than 3 ms in this time. */
  clockReadEveryMs: 30_000,
  /** How long a start waits for the first reading of that clock; then the process goes on, takes no work before there is one, and says so. */
  clockFirstReadMs: 10_000,
  /** A clock that is further from NATS's is told, and warned of: NTP keeps clocks within a tenth of that. */
  clockSkewToldMs: 1_000,
  /**
   * Default bound of the distance beyond which a process takes no work. A wrong time zone is 14 hours off at the most: a clock that is off by
   * a day or more was never set at all.
   */
  clockSkewMsMax: 24 * 3_600_000,
  /** A model that is gone from a pool, while others of it still serve, belongs to the pool's judge for so long: a worker's restart. */
  judgeAwayMs: 60_000,
  /** Ways of asking for which a client has pinned a judge: templates times votes. */
  judgePinsMax: 1_000,
  /** Judges that a coordinator can name by their ids. */
  judgesNamedMax: 1_000,
  /** Ask over NATS: how long a control message may take. */
  askMs: 5_000,
  /** One PubAck: then the publish is repeated under the same id. */
  pubAckMs: 5_000,
  /** Tries of one publish. */
  publishTriesMax: 12,
  /** How long a publish is tried: it bounds how long a NATS outage is ridden out. */
  publishForMs: 60_000,
  /** Publishes awaiting their PubAck in one process. */
  pubAcksPendingMax: 16_384,
  /** And their payloads: a caller above it waits. */
  pubAcksPendingBytesMax: 64 * MiB,
  /** A publish under the same id within this time is stored once (work queues); twice the time that publishing rides out an outage. */
  duplicateWindowMs: 120_000,
  /** First connection to NATS: then the process says what it tried and ends. */
  natsConnectMs: 30_000,
  /** How long a process that does not own the streams waits for the one that does. */
  topologyWaitMs: 60_000,
  /** One read or JetStream API call, and how often it is repeated while NATS is away. */
  queueCallMs: 3_000,
  queueCallTriesMax: 5,
  /** How often a coordinator looks at how full the streams are; and at the most, when the server says that there is no such stream. */
  storageLookMs: 2_000,
  storageLookMsMin: 200,
  /** Open requests that a coordinator keeps in mind; above it older ones are finished first. Twice what any sane cluster has in flight. */
  openRequestsMax: 200_000,
  /** A request that was taken up again is looked at anew for so long after it was marked, in case its verdict was removed only then. */
  reopenSettleMs: 10 * 60_000,
  /** One batch of a walk over a stream, and how long the server keeps the place of a walk that nobody goes on with. */
  walkBatchMs: 10_000,
  walkIdleMs: 30_000,
  /** Requests that one look takes up again; the others follow at the next looks. */
  takenUpPerLookMax: 1_000,
  /** One part of a status answer; a part that takes longer is left out. */
  statusPartMs: 2_000,
  /** Bytes of a sample in the ledger before any came: a critique of 400 tokens, its principles and its envelope. */
  sampleBytesGuess: 4 * KiB,
  /** One blob: a content, or a verdict with the texts of kMax samples. Read from its entry before the bytes are. */
  blobBytesMax: 256 * MiB,
  /** Storing the chunks of one blob, besides the last ones' own tries. */
  blobMs: 120_000,
  /** A blob that nothing refers to is left over: storing the message that refers to it takes no longer, with all its tries and waits. */
  blobOrphanMs: 10 * 60_000,
  /** Answer to "is anything there now": then NATS is taken to be away. */
  pullProbeMs: 2_000,
  /** A claim on one task of an empty class: short, because a worker that became busy meanwhile still has it. */
  pullClaimMs: 1.5 * 1_000,
  /** A claim is given up this long after it should have expired. */
  pullGraceMs: 1_000,
  /** A task that came for a claim waits this long for a free slot, then goes to somebody else. */
  pullHeldMs: 5_000,
  /** Longest pause of a pull loop while NATS or the consumer is away. */
  pullBackoffMsMax: 2_000,
  /** Acks kept while NATS is away; those above it are lost, and their deliveries come again. */
  acksKeptMax: 8_192,
  /** Default storage of all streams together; config may move it. */
  storageBytesDefault: 4 * 1024 * MiB,
  /** Default life of requests, samples and verdicts in the ledger. */
  ledgerKeepMs: 86_400_000,
  /** Life of a task in a work queue. */
  workKeepMs: 2 * 3_600_000,
  /** Life of a dead letter. */
  deadKeepMs: 604_800_000,
  /** Samples in flight per worker process, over all engines. */
  slotsMax: 4_096,
  /** How often a worker reads what its engines say of themselves, to learn how many samples each is worth at once. */
  learnEveryMs: 2_000,
  /** Late samples that a coordinator may ask for again at once, when it has long asked for none. */
  hedgeSamplesMax: 64,
  /** Samples whose times say what is late. */
  hedgeObservedMax: 1_024,
  /** How often the second try of a late shard is passed on by a worker that is at the first one; then it is dropped. */
  hedgePassesMax: 3,
  /** Requests kept decoded per worker, for shards that refer to GRM_REQ. */
  contentCacheBytesMax: 64 * MiB,
  /** Cancelled runs of requests a worker remembers, to drop shards that were already on their way. */
  cancelledMax: 10_000,
  /** Control messages may be this big. */
  controlBytesMax: 256 * KiB,
  /** Names of nodes, requests and leases: one subject token. */
  tokenCharsMax: 64,
  /** Actors on one node: one per GPU group and some to spare. */
  actorsMax: 64,
  /** Why an actor is in its state, as told to others: a lease carries one per actor. */
  actorReasonCharsMax: 500,
  /** An engine's model and description, as told to others. */
  engineLabelCharsMax: 200,
  /** Request ids in a lease: with tokenCharsMax it bounds the lease; above it the lease says that the list is cut. */
  busyRequestsMax: 1_000,
  /** Nodes that a registry keeps; more are not seen. A pool of 3,000 engines with half as many meta engines fits. */
  nodesMax: 8_192,
  /** Two heartbeats of one node are at least this far apart, however often its state changes. */
  heartbeatMsMin: 100,
  /** `nvidia-smi` may take this long; a broken driver hangs it for ever. */
  gpuQueryMs: 10_000,
  /** GPUs on one node. */
  gpusMax: 64,
  /** Tenants with their own queue at one coordinator; more share one. */
  tenantsMax: 1_000,
  /** Requests open on one ScoreStream: the stream stops reading above it (back-pressure). */
  streamOpenMax: 256,
  /** Content bytes of the requests open on one ScoreStream: the second reason to stop reading. One content at its limit always fits. */
  streamOpenBytesMax: 64 * MiB,
  /**
   * Calls at once on one gRPC connection; further ones wait at the client. Bounds what is decoded before admission sees it, and how many may be
   * reset at once.
   */
  callsPerConnectionMax: 768,
  /**
   * Calls that a client resets on one connection, and how many more each second: above it the connection is asked to close, with its other calls
   * going on. HTTP/2 itself ends a connection with all its calls above nodeResetsMax and nodeResetsPerSecond.
   */
  connectionResetsMax: 200,
  connectionResetsPerSecond: 30,
  /** What Node 20 lets a client reset (nghttp2's defaults, against CVE-2023-44487); later versions can be told another bound. */
  nodeResetsMax: 1_000,
  nodeResetsPerSecond: 33,
  /** A unary request's message, from the beginning of its call: grpcMessageBytesMax over a line of 2 Mbit/s. */
  requestArrivalMs: 60_000,
  /** Violations told at once: the answer to a request that is wrong all over must not weigh as much as the request. */
  violationsMax: 50,
  /** Details of a status in trailers: gRPC's C core (Python trainers) refuses header blocks near 8 KiB, and base64 adds a third. */
  statusDetailsBytesMax: 5 * KiB,
  /** Callers waiting for the same request. */
  waitersMax: 1_024,
  /** Dead letters listed at once. */
  deadListMax: 1_000,
  /** Dead letters that one retry of all takes back; each is held by its name. */
  deadRetryMax: 200_000,
  /** Pairs of markers of reasoning, and the characters of one marker. Each is searched for in each text. */
  reasoningMarkersMax: 64,
  reasoningMarkerCharsMax: 64,
  /** Distinct values of a metric label that the outside names (model, pool); further ones are counted as "other". */
  metricLabelValuesMax: 50,
  /** A gauge read from elsewhere (queue depths) may take this long before a scrape goes on without it. */
  metricsCollectMs: 2_000,
  /** One string in a log line or in /debug/state, characters; longer ones are cut. */
  loggedStringCharsMax: 2_048,
  /** Entries of one list or map in a log line or in /debug/state, and how deep they may nest. */
  loggedEntriesMax: 256,
  loggedDepthMax: 8,
  /** The observability door: header bytes, time for the headers, time for a request, open connections. Slow or greedy peers cost no more than this. */
  httpHeaderBytesMax: 8 * KiB,
  httpHeadersMs: 2_000,
  httpRequestMs: 15_000,
  httpConnectionsMax: 64,
  /** How long that door waits for answers under way when it closes. */
  httpCloseMs: 1_000,
  /** A configuration file. */
  configBytesMax: 1 * MiB,
  /** Engines one worker may list. */
  enginesMax: 64,
  /** Long work (files): times that a request is asked again whose time ended; each has twice the time of the one before. */
  againTriesMax: 16,
  /** And how long, all those tries together, without one new sample: then its time alone is not what it lacks. */
  againWithoutSampleMs: 600_000,
  /** Rounds over the rows of a file that only time ended, besides that each must leave fewer of them. */
  mendRoundsMax: 8,
  /** Long work waits so long while no engine serves and none is being started: as long as for a coordinator that is away. */
  noEngineMs: 60_000,
  /** And so long while one is being started: a model of tens of gigabytes loads from a disk. */
  engineStartingMs: 600_000,
  /** The longest that a caller may have it wait for engines: nodes with GPUs are given out within a day. */
  waitEnginesSecondsMax: 86_400,
  /** Long work asks so often what serves. */
  servingAskEveryMs: 5_000,
  /** `grm score`: one line of the input. JSON may spell a content of contentBytesMax longer (\u00e9 is six bytes for two). */
  rowBytesMax: 32 * MiB,
  /** `grm score`: rows that are open, or answered and waiting for an earlier one. The row due next may always start. */
  rowsHeldBytesMax: 128 * MiB,
  /** Item rows of SPCT: an id and a domain, characters. They stand in every row that is made of the item. */
  spctItemIdCharsMax: 256,
  spctDomainCharsMax: 64,
  /** Domains that a report counts apart; further ones are counted as "other". */
  spctDomainsMax: 1_000,
  /** One line of a trajectories file: a content and two verdicts' texts, at six bytes of JSON for one byte of text. */
  spctRecordBytesMax: 256 * MiB,
  /** Malformed rows that a run of `grm spct` tells of on standard error; its files hold all of them. */
  spctRowsToldMax: 20,
  /** The reward door: rows and bytes of one batch. A step of a big RL job has some thousand completions of a few KiB. */
  spctBatchRowsMax: 16_384,
  spctBatchBytesMax: 64 * MiB,
  /** The reward door: open connections, and time for a request to arrive whole. Each may hold a body that is not whole yet, as text on the heap. */
  spctConnectionsMax: 32,
  spctRequestMs: 60_000,
  /** How long that door waits for batches under way when it closes. */
  spctCloseMs: 10_000,
  /** `grm up`: failures in a row of one process before the cluster is given up, and how long it must run to be well again. */
  upRestartsMax: 12,
  upWellAfterMs: 60_000,
  /** `grm up`: last lines of a process, kept to say why it ended. */
  upLastLinesMax: 12,
  /** `grm up`: how long a process of ours may take to be ready, its engines apart. */
  upReadyMs: 120_000,
  /** `grm up`: models of tens of gigabytes load, or come over the network, for so long. */
  upServingMs: 6 * 3_600_000,
  /** What a process may take beyond its drain grace before it is ended anyway. */
  shutdownMarginMs: 10_000,
} as const;

function holds(relation: boolean, words: string): void {
  if (!relation) throw new Error(`limits: ${words}`);
}

holds(limits.workingEveryMs * 3 <= limits.ackWaitMs, 'two renewals may be lost before a delivery is given away');
holds(limits.aloneFromDelivery + 1 <= limits.deliveriesMax, 'a suspect has more than one try alone');
holds(limits.heartbeatMs * 3 <= limits.leaseMs, 'a lease outlives two lost heartbeats');
holds(
  limits.busyRequestsMax * (limits.tokenCharsMax + 2) +
    limits.actorsMax * (limits.actorReasonCharsMax * 3 + limits.engineLabelCharsMax * 6 + 300) <
    limits.controlBytesMax,
  'the fullest lease fits a control message',
);
holds(
  limits.inlineContentCharsMax * 3 < limits.recordContentBytesMax,
  'what is inline fits the record, at three bytes a unit',
);
holds(limits.recordContentBytesMax < limits.natsPayloadBytesMax, 'a record fits a NATS message');
holds(limits.sampleTextBytesMax * 2 < limits.natsPayloadBytesMax, 'a sample with its parts fits a NATS message');
holds(
  limits.appendBytesMax + limits.sampleTextBytesMax < limits.natsPayloadBytesMax,
  'samples that travel together fit a NATS message with room for their envelopes',
);
holds(
  // A sample's text stands in it twice at the most: whole, and as parts that are no pieces of it.
  (limits.laneSamplesMax * 2 + 1) * limits.inlineContentCharsMax * 3 < limits.natsPayloadBytesMax,
  'a meta task with a lane of samples and the content fits a NATS message, at three bytes a unit',
);
holds(limits.contentBytesMax < limits.grpcMessageBytesMax, 'a content at its limit fits a gRPC message');
holds(
  limits.connectionResetsMax + limits.callsPerConnectionMax < limits.nodeResetsMax &&
    limits.connectionResetsPerSecond * 1.1 <= limits.nodeResetsPerSecond,
  'a client that resets all its calls at once is asked to leave before its connection is ended',
);
holds(limits.pubAckMs * limits.publishTriesMax >= limits.publishForMs, 'tries that nobody answers take all its time');
holds(limits.publishForMs + limits.pubAckMs < limits.duplicateWindowMs, 'a repeated publish is known for what it is');
holds(
  limits.blobMs + 6 * limits.publishForMs < limits.blobOrphanMs,
  'a blob is not taken for left over while its message is on its way',
);
holds(2 * limits.lastLookMsMax < limits.answerReserveMsMax, 'after the last look there is as much time again');
holds(
  limits.blobBytesMax >= limits.contentBytesMax + 3 * limits.kMax * limits.sampleTextBytesMax,
  'the biggest verdict fits a blob',
);
holds(limits.timeBudgetMsMax < limits.workKeepMs, 'a task outlives the time budget of its request');
holds(
  limits.pullHeldMs + 2 * limits.workingEveryMs <= limits.ackWaitMs,
  'a task that waited for a slot may still lose one renewal',
);
holds(limits.pullClaimMs <= limits.pullExpiresMs, 'a claim does not outlive the pull that made it by much');
holds(limits.streamOpenBytesMax >= limits.contentBytesMax, 'a stream takes any single content');
holds(limits.pullsWaitingMax >= 2 * limits.slotsMax, 'every slot of the largest worker may park a pull');
holds(limits.rowBytesMax >= 3 * limits.contentBytesMax, 'a content at its limit fits a line of JSON with its escapes');
holds(
  limits.spctRecordBytesMax >= 6 * (limits.contentBytesMax + 2 * limits.grpcMessageBytesMax),
  'a line of a trajectories file holds whatever the service may answer',
);
holds(
  limits.spctConnectionsMax * limits.spctBatchBytesMax <= 2 * 1024 * MiB,
  'the bodies of all connections of the reward door fit half the heap that Node takes on a machine of 16 GiB',
);
holds(limits.httpRequestMs - limits.httpHeadersMs > 0, 'headers arrive within a request');
