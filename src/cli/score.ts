// grm score: JSONL in, JSONL out, in order, resumable.
//
//   J1. The output holds one row per input row, in order. A row that cannot be scored says why.
//   J2. A run that was interrupted goes on where its output ends, after checking that all of it belongs to this input and these options.
//       What had been drawn and not written is not paid for again: the service knows the request.
//   J3. What is held is bounded in rows and bytes, however slow one row is (ordered.ts).
//   J4. A row that only time ended is no result: it is asked again as long as that brings samples (rpc/many.ts, M6), again when all other rows
//       are written, and again by the next run of the same command. Its line says `"retry":true` until then.

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
import { inTurns, tryAgain } from './again.js';
import type { Place } from './mend.js';
import { Ordered } from './ordered.js';
import { remainingRows, type Output } from './output.js';
import { openProgress, type ProgressOptions } from './progress.js';
import { verdictRow } from './render.js';
import { kindOfAnswer, kindOfRow, type RowCounts, type RowKind } from './row-kind.js';
import { lineOf } from './row-line.js';
import { countRows, readRows, type Input, type Row } from './rows.js';

export interface ScoreCommand {
  readonly input: Input;
  readonly output: Output;
  /** Of the rows that the output held already; goes on with those of this run. */
  readonly counts: RowCounts;
  /** Requests open at once, at most. */
  readonly concurrency: number;
  /** How long to wait while no engine serves; as scoreMany where absent. */
  readonly noEngineMs?: number;
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
  /** Written, those of an earlier run included; what they are stands in `counts` of the command. */
  readonly rows: number;
  readonly resumed: number;
  readonly interrupted: boolean;
}

/** Of all rows those that may be invalid before the exit code tells. Single ones are normal; where a tenth has no number, judge and rows do not fit. */
export const maxInvalidShareDefault = 0.1;

/** The exit code that says how a run went. */
export function codeOf(
  { rows, interrupted }: ScoreSummary,
  counts: RowCounts,
  maxInvalidShare = maxInvalidShareDefault,
): ExitCode {
  if (interrupted) return exitCodes.interrupted;
  if (counts.of('failed') > 0) return exitCodes.failure;
  if (counts.of('unfinished') > 0) return exitCodes.unavailable;
  return counts.of('invalid') > maxInvalidShare * rows ? exitCodes.tooManyInvalid : exitCodes.ok;
}

/** Rows ahead of the one due next, per request open at once. */
const aheadFactor = 4;

/** Throws CliError when the output belongs to something else or cannot be written, GrmError when the service is away or refuses the caller. */
export async function scoreRows(client: GrmClient, command: ScoreCommand): Promise<ScoreSummary> {
  const { input, output, counts, signal } = command;
  const earlier = counts.again;
  // What can be read but once is read once: first the rows that are tried again, then those that are not in the output yet.
  const once =
    !input.regular && output.mend && earlier > 0 ? inTurns(earlierTold(inputRows(command), command)) : undefined;
  if (once) await scoreAgain(client, command, earlier, () => once, 1);
  const rows = await scorePass(client, command, {
    what: 'scored',
    first: output.rows,
    total: await countRows(input),
    rows: withPlaces(signal.aborted ? [] : (once ?? remaining(command))),
    write: ({ line, kind }) => {
      counts.note(kind);
      output.write(line);
    },
    flushed: () => output.flushed(),
  });
  await output.flushed();
  if (input.regular) await scoreAgain(client, command, earlier, () => inputRows(command));
  return { rows, resumed: output.rows, interrupted: signal.aborted };
}

/**
 * J4. What somebody cancelled in this run is tried again by a later one.
 * @param earlier rows that an earlier run has left to be tried again
 */
async function scoreAgain(
  client: GrmClient,
  command: ScoreCommand,
  earlier: number,
  inputRowsAgain: () => AsyncIterable<Row>,
  roundsMax?: number,
): Promise<void> {
  const { output, counts, signal } = command;
  const { mend } = output;
  if (!mend) return;
  const isFirst = (round: number): boolean => round === 0 && earlier > 0;
  await tryAgain({
    mend,
    rows: inputRowsAgain,
    waiting: (round) => (isFirst(round) ? counts.again : counts.of('unfinished')),
    wanted: ({ head, number }, round) => {
      const { is, again } = kindOfRow(head);
      return is === 'unfinished' || (isFirst(round) && again && number < output.rows);
    },
    pass: (rows, mending, total) =>
      scorePass(client, command, {
        what: 'scored again',
        first: 0,
        total,
        rows,
        write: ({ line, kind }, place) => {
          counts.note(kindOfRow(place!.head), -1);
          counts.note(kind);
          mending.replace(place!, line);
        },
        flushed: () => mending.flushed(),
      }),
    ...(roundsMax !== undefined && { roundsMax }),
    signal,
    otherInput,
  });
}

/** Rows to be scored once, and where they go. */
interface Pass {
  /** "scored". */
  readonly what: string;
  /** Number of the first one, in the order of the pass. */
  readonly first: number;
  readonly total: number | undefined;
  readonly rows: AsyncIterable<{ readonly row: Row; readonly place?: Place }>;
  write(scored: Scored, place: Place | undefined): void;
  flushed(): Promise<void>;
}

/** Resolves to the number of the row that would be next. */
async function scorePass(client: GrmClient, command: ScoreCommand, pass: Pass): Promise<number> {
  const { counts, concurrency, signal } = command;
  const progress = openProgress({
    mode: command.progress,
    what: pass.what,
    startAt: pass.first,
    total: pass.total,
    clock: systemClock,
    stream: process.stderr,
  });
  const ordered = new Ordered<{ readonly scored: Scored; readonly place: Place | undefined }>(
    pass.first,
    { aheadMax: concurrency * aheadFactor, bytesMax: limits.rowsHeldBytesMax },
    ({ scored, place }) => {
      pass.write(scored, place);
      if (scored.row) command.onRow?.(scored.row.row, scored.row.answer);
    },
  );
  const put = async ({ at, row, place }: Placed, answer: Answer): Promise<void> => {
    const scored = scoredOf(row, answer, command);
    // UTF-16 units: the line as it is held.
    ordered.put(at, { scored, place }, 2 * scored.line.length);
    progress.update({ done: ordered.answered, ...counts.lost() });
    await pass.flushed();
  };
  let at = pass.first;
  const requests = async function* (): AsyncGenerator<ScoreRequest & Placed, void, undefined> {
    for await (const { row, place } of pass.rows) {
      const placed = { at: at++, row, place };
      if (!(await ordered.admit(placed.at, row.bytes, signal))) return;
      const asked = requestOf(row, command);
      if (asked.kind === 'ask') yield { ...asked.request, ...placed };
      else await put(placed, asked.answer);
    }
  };

  let whole = false;
  try {
    const onTrouble = (trouble: Trouble): void => {
      if (command.troubleText) progress.note(command.troubleText(trouble));
    };
    const { noEngineMs } = command;
    const patience = { patient: true, ...(noEngineMs !== undefined && { noEngineMs }) };
    for await (const result of client.scoreMany(requests(), { concurrency, ...patience, signal, onTrouble })) {
      // An interrupted row is not failed: the next run asks again.
      if (result.kind === 'fault' && result.fault.kind === 'cancelled' && signal.aborted) continue;
      command.onResult?.(result);
      await put(result.request, result.kind === 'verdict' ? { kind: 'verdict', verdict: result.verdict } : result);
    }
    whole = true;
  } catch (error) {
    whole = signal.aborted && error instanceof GrmError && error.kind === 'cancelled';
    if (!whole) throw error;
  } finally {
    progress.end(whole);
  }
  return ordered.next;
}

/** `at`: its number in the pass. */
interface Placed {
  readonly at: number;
  readonly row: Row;
  readonly place: Place | undefined;
}

async function* withPlaces(
  rows: AsyncIterable<Row> | readonly Row[],
): AsyncGenerator<{ readonly row: Row }, void, undefined> {
  for await (const row of rows) yield { row };
}

/** What is held of a row until its turn: the finished line, and row and answer only where somebody wants them. */
interface Scored {
  readonly line: string;
  readonly kind: RowKind;
  readonly row?: { readonly row: Row; readonly answer: Answer };
}

function scoredOf(row: Row, answer: Answer, command: ScoreCommand): Scored {
  const kind = kindOfAnswer(answer);
  return {
    line: outputLine(row, answer, kind.again, command.samples),
    kind,
    ...(command.onRow && { row: { row, answer } }),
  };
}

/** The rows that are not in the output yet; throws CliError when the output does not belong to this input (J2). */
function remaining(command: ScoreCommand): AsyncGenerator<Row> {
  return remainingRows(earlierTold(inputRows(command), command), command.output, otherInput);
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

function inputRows({ input, defaults, class: urgency, samples }: ScoreCommand): AsyncGenerator<Row> {
  // As for the request's identity: how long it may take is no part of what is asked.
  const { timeBudgetMs: _time, quorum: _quorum, ...decisive } = defaults;
  return readRows(input.stream(), JSON.stringify([decisive, urgency, samples]));
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
  const { content, options, idempotencyKey, tenant, class: klass } = taken.input;
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
      ...(klass !== undefined && { class: klass }),
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
    options: typeof given === 'object' && !Array.isArray(given) ? { ...defaults, ...said(given) } : given,
    ...(urgency !== undefined && raw.class === undefined && { class: urgency }),
  };
}

/** JSON's null says nothing: it does not stand in the way of what the command says for all rows. */
function said(options: object): object {
  return Object.fromEntries(Object.entries(options).filter(([, value]) => value !== null));
}

/** The head first, and in this order: output.ts knows its rows by it. */
function outputLine(row: Row, answer: Answer, again: boolean, samples: boolean): string {
  const columns = row.body.kind === 'request' ? row.body.columns : '"id":null';
  return lineOf(row, again, `${columns},${JSON.stringify(result(answer, samples)).slice(1)}`);
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
