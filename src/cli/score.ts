// grm score: JSONL in, JSONL out, in order, resumable.
//
//   J1. The output holds one row per input row, in order. A row that cannot be scored says why.
//   J2. A run that was interrupted goes on where its output ends, after checking that all of it belongs to this input and these options.
//       What had been drawn and not written is not paid for again: the service knows the request.
//   J3. What is held is bounded in rows and bytes, however slow one row is (ordered.ts).

import { intake, type RawScore } from '../coordinator/intake.js';
import type { ScoreOptions } from '../coordinator/coordinator.js';
import type { Class } from '../grm/query.js';
import type { Verdict } from '../grm/verdict.js';
import { faults, type Fault } from '../fault.js';
import { limits } from '../limits.js';
import { systemClock } from '../process/clock.js';
import { exitCodes, type ExitCode } from '../process/run.js';
import { GrmError, type GrmClient, type ManyResult, type ScoreRequest, type Trouble } from '../rpc/client.js';
import { CliError } from './context.js';
import { Ordered } from './ordered.js';
import { remainingRows, type Output } from './output.js';
import { openProgress, type ProgressOptions } from './progress.js';
import { verdictRow } from './render.js';
import { countRows, readRows, type Input, type Row } from './rows.js';

export interface ScoreCommand {
  readonly input: Input;
  readonly output: Output;
  /** Requests open at once. */
  readonly concurrency: number;
  /** For each request, all tries included. */
  readonly deadlineMs: number;
  /** Applied to rows that do not say themselves. */
  readonly defaults: ScoreOptions;
  readonly class?: Class;
  /** Rows hold every sample with its texts. */
  readonly samples: boolean;
  readonly progress: ProgressOptions['mode'];
  readonly signal: AbortSignal;
  /** What is said of a service that is away; nothing when absent. */
  readonly troubleText?: (trouble: Trouble) => string;
  /** Makes requests other than all before: they are drawn anew. */
  readonly fresh?: string;
  /** Told of every answer before its row is written; may throw to end the run. */
  readonly onResult?: (result: ManyResult) => void;
  /** Told of every row that the output holds already; may throw to end the run. */
  readonly onEarlier?: (row: number, request: ScoreRequest) => Promise<void>;
  /** Called with every scored row, in order. */
  readonly onRow?: (row: Row, answer: Answer) => void;
}

export type Answer =
  | { readonly kind: 'verdict'; readonly verdict: Verdict }
  | { readonly kind: 'fault'; readonly fault: Fault }
  | { readonly kind: 'unreadable'; readonly reason: string };

export interface ScoreSummary {
  /** Written, those of an earlier run included. */
  readonly rows: number;
  readonly resumed: number;
  /** Of this run. */
  readonly invalid: number;
  readonly failed: number;
  readonly interrupted: boolean;
}

/** The exit code that says how a run went. */
export function codeOf({ failed, interrupted }: ScoreSummary): ExitCode {
  if (interrupted) return exitCodes.interrupted;
  return failed > 0 ? exitCodes.failure : exitCodes.ok;
}

/** Of a row that an earlier run wrote (`result` below, `verdictRow`). */
export function kindOfRow(row: string): 'valid' | 'invalid' | 'failed' {
  if (row.includes('"rewards":null,"error":{')) return 'failed';
  return row.includes('"agreement":null,"invalid_reason":"') ? 'invalid' : 'valid';
}

/** Rows ahead of the one due next, per request open at once. */
const aheadFactor = 4;

/** Throws CliError when the output belongs to something else or cannot be written, GrmError when the service is away or refuses the caller. */
export async function scoreRows(client: GrmClient, command: ScoreCommand): Promise<ScoreSummary> {
  const { input, output, concurrency, deadlineMs, signal } = command;
  const progress = openProgress({
    mode: command.progress,
    what: 'scored',
    startAt: output.rows,
    total: await countRows(input),
    clock: systemClock,
    stream: process.stderr,
  });
  let { invalid = 0, failed = 0 } = output.earlier;
  const ordered = new Ordered<Scored>(
    output.rows,
    { aheadMax: concurrency * aheadFactor, bytesMax: limits.rowsHeldBytesMax },
    ({ line, answer, row }, number) => {
      if (answer === 'invalid') invalid++;
      else if (answer === 'failed') failed++;
      output.write(line);
      if (row) command.onRow?.(row.row, row.answer);
      progress.update({ done: number + 1, invalid, failed });
    },
  );
  const put = async (row: Row, answer: Answer): Promise<void> => {
    const scored = scoredOf(row, answer, command);
    // UTF-16 units: the line as it is held.
    ordered.put(row.number, scored, 2 * scored.line.length);
    await output.flushed();
  };
  const requests = async function* (): AsyncGenerator<ScoreRequest & { row: Row }, void, undefined> {
    for await (const row of remaining(command)) {
      if (!(await ordered.admit(row.number, row.bytes, signal))) return;
      const asked = requestOf(row, command);
      if (asked.kind === 'ask') yield { ...asked.request, row };
      else await put(row, asked.answer);
    }
  };

  let whole = false;
  try {
    const onTrouble = (trouble: Trouble): void => {
      if (command.troubleText) progress.note(command.troubleText(trouble));
    };
    for await (const result of client.scoreMany(requests(), { concurrency, deadlineMs, signal, onTrouble })) {
      const { row } = result.request;
      // An interrupted row is not failed: the next run asks again.
      if (result.kind === 'fault' && result.fault.kind === 'cancelled' && signal.aborted) continue;
      command.onResult?.(result);
      await put(row, result.kind === 'verdict' ? { kind: 'verdict', verdict: result.verdict } : result);
    }
    whole = true;
  } catch (error) {
    whole = signal.aborted && error instanceof GrmError && error.kind === 'cancelled';
    if (!whole) throw error;
  } finally {
    progress.end(whole);
  }
  return { rows: ordered.next, resumed: output.rows, invalid, failed, interrupted: signal.aborted };
}

/** What is held of a row until its turn: the finished line, and row and answer only where somebody wants them. */
interface Scored {
  readonly line: string;
  readonly answer: 'valid' | 'invalid' | 'failed';
  readonly row?: { readonly row: Row; readonly answer: Answer };
}

function scoredOf(row: Row, answer: Answer, command: ScoreCommand): Scored {
  return {
    line: outputLine(row, answer, command.samples),
    answer: answer.kind === 'verdict' ? answer.verdict.kind : 'failed',
    ...(command.onRow && { row: { row, answer } }),
  };
}

/** The rows that are not in the output yet; throws CliError when the output does not belong to this input (J2). */
function remaining(command: ScoreCommand): AsyncGenerator<Row> {
  const { input, output, defaults, class: urgency, samples } = command;
  // As for the request's identity: how long it may take is no part of what is asked.
  const { timeBudgetMs: _time, quorum: _quorum, ...decisive } = defaults;
  const rows = readRows(input.stream(), JSON.stringify([decisive, urgency, samples]));
  return remainingRows(earlierTold(rows, command), output, otherInput);
}

async function* earlierTold(rows: AsyncIterable<Row>, command: ScoreCommand): AsyncGenerator<Row> {
  for await (const row of rows) {
    if (command.onEarlier && row.number < command.output.rows) {
      const asked = requestOf(row, command);
      if (asked.kind === 'ask') await command.onEarlier(row.number, asked.request);
    }
    yield row;
  }
}

const otherInput = new CliError(
  'the output was written for another input, or with other options (--k, --vote, --samples, ...): give another --out, or remove it to start anew',
  exitCodes.usage,
);

type Asked =
  { readonly kind: 'ask'; readonly request: ScoreRequest } | { readonly kind: 'answered'; readonly answer: Answer };

/** What is wrong with a row is found here, with all violations, and costs no round trip. */
function requestOf({ body }: Row, command: ScoreCommand): Asked {
  if (body.kind === 'unreadable') return { kind: 'answered', answer: body };
  const taken = intake(withDefaults(body.raw, command));
  const violations = [...body.misspelt, ...(taken.kind === 'violations' ? taken.violations : [])];
  if (taken.kind === 'violations' || violations.length > 0) {
    const message = violations.map(({ field, description }) => `${field}: ${description}`).join('; ');
    const fault: Fault = { kind: 'invalid_request', message, violations };
    return { kind: 'answered', answer: { kind: 'fault', fault } };
  }
  const { content, options, idempotencyKey, tenant } = taken.input;
  return {
    kind: 'ask',
    request: {
      ...options,
      query: content.messages,
      responses: content.responses,
      principles: content.principles,
      ...(content.reference !== undefined && { reference: content.reference }),
      ...(idempotencyKey !== undefined && { idempotencyKey }),
      ...(body.raw.tenant !== undefined && { tenant }),
      class: taken.input.class,
      detail: command.samples ? 'full' : 'rewards',
      ...(command.fresh !== undefined && { fresh: command.fresh }),
    },
  };
}

function withDefaults(raw: RawScore, { defaults, class: urgency }: ScoreCommand): RawScore {
  const { options } = raw;
  const given = options === undefined || options === null ? {} : options;
  return {
    ...raw,
    // Options that are no object are left for intake to refuse.
    options: typeof given === 'object' && !Array.isArray(given) ? { ...defaults, ...given } : given,
    ...(urgency !== undefined && raw.class === undefined && { class: urgency }),
  };
}

/** The head first, and in this order: output.ts knows its rows by it. */
function outputLine({ number, digest, body }: Row, answer: Answer, samples: boolean): string {
  const columns = body.kind === 'request' ? body.columns : '"id":null';
  return `{"row":${number},"input":"${digest}",${columns},${JSON.stringify(result(answer, samples)).slice(1)}\n`;
}

/** Keys are of `resultColumns`. */
function result(answer: Answer, samples: boolean): Record<string, unknown> {
  switch (answer.kind) {
    case 'verdict':
      return verdictRow(answer.verdict, samples);
    case 'fault': {
      const { kind, message } = answer.fault;
      return { rewards: null, error: { kind, message, retry: faults[kind].disposition !== 'terminal' } };
    }
    case 'unreadable':
      return { rewards: null, error: { kind: 'unreadable', message: answer.reason, retry: false } };
  }
}
