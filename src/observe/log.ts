// Log: one line of JSON per happening (pino), or one readable line on a terminal.
//
//   L1. Every field passes redact.ts: no secret ever, no prompt, response or critique unless `texts`.
//   L2. Every line that concerns a request carries its `request_id`.

import { styleText } from 'node:util';
import { pino, type DestinationStream } from 'pino';
import type { EventMap, EventName, Events } from './events.js';
import { redacted, snake } from './redact.js';

export const logLevels = ['debug', 'info', 'warn', 'error', 'fatal', 'silent'] as const;
/** `silent` writes nothing. */
export type LogLevel = (typeof logLevels)[number];
export type LineLevel = Exclude<LogLevel, 'silent'>;

/** Facts that go with a message. Names in camelCase come out in snake_case. */
export type LogFields = Readonly<Record<string, unknown>>;

export interface Log {
  debug(message: string, fields?: LogFields): void;
  info(message: string, fields?: LogFields): void;
  warn(message: string, fields?: LogFields): void;
  error(message: string, fields?: LogFields): void;
  fatal(message: string, fields?: LogFields): void;
  /** A log whose lines all carry these fields. */
  child(fields: LogFields): Log;
  /** True when a line of that level would be written. */
  writes(level: LineLevel): boolean;
}

export interface LogOptions {
  readonly level: LogLevel;
  /** `auto`: pretty when `terminal`, else JSON. */
  readonly format: 'auto' | 'json' | 'pretty';
  /** Lets prompts, responses and critiques into the log. */
  readonly texts: boolean;
  /** What runs: "coordinator", "grm-worker". */
  readonly name: string;
  /** Fields of every line: node id, version. */
  readonly fields?: LogFields;
  /** Takes whole lines; default: standard output. */
  readonly destination?: DestinationStream;
  /** The destination is a terminal; default: whether standard output is one. */
  readonly terminal?: boolean;
  /** Colours in the pretty form; default: `terminal`. */
  readonly colours?: boolean;
}

export function openLog(options: LogOptions): Log {
  const terminal = options.terminal ?? (options.destination === undefined && process.stdout.isTTY);
  const pretty = options.format === 'pretty' || (options.format === 'auto' && terminal);
  // Written at once: a process that is about to die must not lose its last words.
  const out = options.destination ?? pino.destination({ fd: 1, sync: true });
  const colours = options.colours ?? terminal;
  const destination = pretty ? { write: (line: string) => out.write(prettyLine(line, colours)) } : out;
  const keep = { texts: options.texts };
  const logger = pino(
    {
      level: options.level,
      base: { name: options.name, pid: process.pid, ...cleaned(options.fields, keep) },
      timestamp: pino.stdTimeFunctions.isoTime,
      formatters: { level: (label) => ({ level: label }) },
      messageKey: 'message',
    },
    destination,
  );
  return logOf(logger, keep);
}

function logOf(logger: pino.Logger, keep: { readonly texts: boolean }): Log {
  const at =
    (level: LineLevel) =>
    (message: string, fields?: LogFields): void => {
      if (logger.isLevelEnabled(level)) logger[level](cleaned(fields, keep), String(redacted(message, keep)));
    };
  return {
    debug: at('debug'),
    info: at('info'),
    warn: at('warn'),
    error: at('error'),
    fatal: at('fatal'),
    child: (fields) => logOf(logger.child(cleaned(fields, keep)), keep),
    writes: (level) => logger.isLevelEnabled(level),
  };
}

function cleaned(fields: LogFields | undefined, keep: { readonly texts: boolean }): Record<string, unknown> {
  if (!fields) return {};
  const entries = Object.entries(redacted(fields, keep) as Record<string, unknown>);
  return Object.fromEntries(entries.map(([name, value]) => [snake(name), value]));
}

const colourOf = { debug: 'gray', info: 'green', warn: 'yellow', error: 'red', fatal: 'red' } as const;
/** Told by the head of the line, or of no use to a reader at a terminal. */
const headFields = new Set(['level', 'time', 'name', 'pid', 'message']);

/** One JSON line as `12:03:04.567 info  coordinator  message  key=value …`; a stack follows on its own lines. */
export function prettyLine(line: string, colours: boolean): string {
  const record = JSON.parse(line) as Record<string, unknown>;
  const level = String(record.level) as LineLevel;
  const paint = (style: Parameters<typeof styleText>[0], text: string): string =>
    colours ? styleText(style, text, { validateStream: false }) : text;
  const stacks: string[] = [];
  const facts = Object.entries(record)
    .filter(([name]) => !headFields.has(name))
    .map(([name, value]) => `${paint('dim', `${name}=`)}${factText(value, stacks)}`);
  const head = [
    paint('dim', String(record.time).slice(11, 23)),
    paint(colourOf[level], level.padEnd(5)),
    paint('bold', String(record.name)),
    oneLine(String(record.message)),
  ];
  return [[...head, ...facts].join('  '), ...stacks.map((stack) => paint('dim', stack))].join('\n') + '\n';
}

function factText(value: unknown, stacks: string[]): string {
  if (typeof value === 'string') return /[\s"=\p{Cc}]|^$/u.test(value) ? JSON.stringify(value) : value;
  if (isErrorRecord(value)) {
    if (value.stack) stacks.push(value.stack);
    return JSON.stringify(`${value.type}: ${value.message}`);
  }
  return JSON.stringify(value);
}

function isErrorRecord(value: unknown): value is { type: string; message: string; stack?: string } {
  return typeof value === 'object' && value !== null && 'type' in value && 'message' in value;
}

/** Control characters escaped, so that no text can forge a line of its own. */
function oneLine(text: string): string {
  return text.replace(/\p{Cc}/gu, (character) => JSON.stringify(character).slice(1, -1));
}

type Line = readonly [level: LineLevel, message: string];

/** How each event is told. Every event has a row, by type. What happens per sample is `debug`: a busy cluster has thousands a second. */
const lines: { readonly [K in EventName]: (event: EventMap[K]) => Line } = {
  'request.accepted': () => ['debug', 'request accepted'],
  'request.known': () => ['debug', 'request known'],
  'request.taken_over': () => ['info', 'request of a dead coordinator taken over'],
  'request.finished': (e) => [finishedLevel(e.outcome), 'request finished'],
  'admission.rejected': () => ['info', 'request turned away'],
  'sample.failed_over': () => ['warn', 'samples go on at another engine'],
  'shard.hedged': () => ['debug', 'late shard asked for once more'],
  'hedge.won': () => ['debug', 'the second try was first'],
  'sample.finished': () => ['debug', 'sample finished'],
  'meta.finished': () => ['debug', 'meta reward finished'],
  'result.suppressed': () => ['debug', 'result was there already'],
  'result.held': () => ['warn', 'results are held: the ledger does not take them now'],
  'delivery.retried': () => ['warn', 'shard handed back for another try'],
  'delivery.redelivered': () => ['info', 'shard delivered again'],
  'delivery.dropped': (e) => [e.why === 'expired' ? 'warn' : 'debug', 'shard dropped unworked'],
  'delivery.dead': () => ['error', 'shard quarantined'],
  'queue.connection': (e) => (e.state === 'connected' ? ['info', 'connected to NATS'] : ['warn', 'lost NATS']),
  'queue.swept': () => ['warn', 'queue swept of what a killed server left behind'],
  'queue.drift': () => ['warn', 'stream setting differs from what was asked'],
  'clock.told': (e) => [clockLevels[e.how], `clock: ${e.words}`],
  'queue.lost': () => ['error', 'a stream was removed: it is made anew, what was in it is lost'],
  'queue.trouble': () => ['error', 'a stream cannot be worked with: nothing is accepted'],
  'queue.trimmed': () => ['info', 'ledger trimmed under storage pressure'],
  'engine.loading': (e) => [e.doneRatio === undefined ? 'info' : 'debug', 'engine loading'],
  'actor.changed': (e) => [e.to === 'restarting' || e.to === 'dead' ? 'warn' : 'info', `actor ${e.to}`],
  'engine.service': (e) =>
    e.state === 'out' ? ['error', 'engine out of service'] : ['info', 'engine in service again'],
  'node.drain': (e) => ['info', `drain ${e.phase}`],
  trouble: () => ['error', 'trouble'],
};

const clockLevels = { agrees: 'info', off: 'warn', refused: 'error', unread: 'error', denied: 'error' } as const;

function finishedLevel(outcome: EventMap['request.finished']['outcome']): LineLevel {
  switch (outcome) {
    case 'valid':
      return 'debug';
    case 'invalid':
      return 'warn';
    case 'internal':
      return 'error';
    default:
      return 'info';
  }
}

/** Writes every event to the log; returns how to stop. */
export function logEvents(log: Log, events: Events): () => void {
  const stops = (Object.keys(lines) as EventName[]).map((name) => hear(log, events, name));
  return () => {
    for (const stop of stops) stop();
  };
}

function hear<K extends EventName>(
  log: Log,
  events: Events,
  name: K,
  tell: (event: EventMap[K]) => Line = lines[name],
): () => void {
  return events.on(name, (event) => {
    const [level, message] = tell(event);
    if (log.writes(level)) log[level](message, { event: name, ...event });
  });
}
