// Bounds of engines, their model files and the processes that serve them: a part of limits.ts, through which all of them are read.

const KiB = 1024;
const MiB = 1024 * KiB;

export const engineLimits = {
  /** Control tokens that an engine tells of its vocabulary, after numbered ones are taken together: texts are searched for each of them. */
  specialTokensMax: 2_048,
  /** Tokens that an engine may list at all: vocabularies reserve thousands. */
  specialTokensToldMax: 16_384,
  /** Of those, how many the configuration may name. */
  specialTokensNamedMax: 256,
  /** What of a server's chat template is asked for, whether it is one token: each costs a question at the engine's start. */
  tokenProbesMax: 128,
  /** A server's reply about its tokenizer: thousands of reserved tokens and a chat template. */
  tokenizerInfoBytesMax: 8 * MiB,
  /** One of them: longer ones are no chat format's. */
  specialTokenCharsMax: 128,
  /** One file of a managed engine's log; there are two, the current and the one before. */
  engineLogBytesMax: 16 * MiB,
  /** Last output of a managed engine, kept to say why it died. */
  engineLogTailCharsMax: 2_000,
  /** A starting server is asked at least this often whether it is ready, and this often the log says how it goes. */
  engineReadyEveryMs: 2_000,
  engineLoadingEveryMs: 10_000,
  /** After SIGKILL a process is gone within this, or it hangs in its driver and is left behind. */
  engineKillMs: 5_000,
  /** An engine's reply, and one line of its event stream. */
  engineReplyBytesMax: 16 * MiB,
  /** Body of an engine's error reply: above it the words are dropped, the status counts. */
  engineErrorBytesMax: 64 * KiB,
  /** What is kept of an engine's own words in a reason. */
  engineErrorCharsMax: 300,
  /** Opening one connection to an engine. */
  engineConnectMs: 5_000,
  /** A kept-alive connection that the server had closed shows it this fast; later the server had taken the request. */
  engineStaleSocketMs: 1_000,
  /** A health check, a scrape, a list of models: engines answer these at once, even under load. */
  engineProbeMs: 5_000,
  /** The self-test of a meta RM: a few texts, perhaps behind a full queue. */
  engineSelfTestMs: 60_000,
  /** The longest that an engine's Retry-After is believed. */
  engineRetryAfterMsMax: 600_000,
  /** An engine out of service is probed after so long, then ever less often: a gateway that restarts costs seconds, a wrong key little traffic. */
  breakerWaitMsMin: 500,
  breakerWaitMsMax: 15_000,
  /** One token of a tiny text, from an engine that may be full: later it counts as no answer. */
  breakerProbeMs: 30_000,
  /** Samples in a row that an engine turns away (429, 503) before it gets none for a while: one may be a burst. */
  breakerBusyMax: 3,
  /** Header of a GGUF file: metadata, tensors, and one text of it. Real ones have some hundred keys and some thousand tensors; templates are the longest texts. */
  ggufKeysMax: 65_536,
  ggufTensorsMax: 1_000_000,
  ggufStringBytesMax: 16 * MiB,
  /** Files that a worker has open beside its samples' connections: Node's own (some twenty), NATS, logs, and visitors of its HTTP door. */
  filesReserved: 64,
  /** And for each engine: its connections for health, metrics and probes, and those that close while others open. */
  filesPerEngine: 4,
  /** Embedded engine: opening fails when neither download nor load moves for this long. */
  llamaOpenStallMsMax: 180_000,
  /** Embedded engine: a download that has not begun by then never will; the library goes on trying without a network. */
  llamaConnectMsMax: 30_000,
  /** Embedded engine: its child answers a question within this, or it is not healthy. Its event loop never computes. */
  llamaAnswerMsMax: 5_000,
  /** Embedded engine: how long the child may take to leave after close; then it is killed. Longer than one batch. */
  llamaCloseMsMax: 5_000,
  /** What is read of a model file to tell it from another one: its beginning, and blocks over the rest; one file in a few parts, each so. */
  ggufHeadBytes: 1 * MiB,
  ggufBlockBytes: 16 * KiB,
  ggufBlocks: 256,
  ggufPartsMax: 256,
  /** Embedded engine: samples asked for and not yet reported; above it a draw is told to try again. */
  llamaSamplesMax: 4_096,
  /** Embedded engine: sequences in one context, warm prompts included (llama.cpp's own bound). */
  llamaSequencesMax: 256,
  /** Embedded engine: prompt tokens evaluated between two looks at the signal. */
  llamaPrefillTokensMax: 256,
  /** Embedded engine: a prompt must leave this much room to answer (or maxTokens, if less); else it does not fit. */
  llamaRoomTokensMin: 16,
  /** Embedded engine: stop sequences, and the characters of one. They are searched for after each token. */
  llamaStopsMax: 8,
  llamaStopCharsMax: 256,
} as const;
