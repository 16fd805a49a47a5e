// grm score: JSONL in, JSONL out, in order, resumable.
//
//   J1. The output holds one row per input row, in order; what is in the file is whole rows. A row that cannot be scored says why.
//   J2. A run that was interrupted goes on where its output ends, after checking that the output belongs to this input. What had been
//       drawn and not written is not paid for again: the service knows the request.
//   J3. At most `aheadFactor` x concurrency rows are held, however slow one of them is.

import { createReadStream } from 'node:fs';
import { open, stat, truncate, type FileHandle } from 'node:fs/promises';
import { createInterface } from 'node:readline';
import { intake, type RawScore } from '../coordinator/intake.js';
import type { ScoreOptions } from '../coordinator/coordinator.js';
import type { Verdict } from '../grm/verdict.js';
import type { Fault } from '../fault.js';
import { exitCodes, type ExitCode } from '../process/run.js';
import type { GrmClient, ScoreRequest } from '../rpc/client.js';
import { CliError } from './context.js';
import { Ordered } from './ordered.js';
import { openProgress } from './progress.js';
import { verdictRow } from './render.js';
import { readRows, type Row } from './rows.js';

export interface ScoreCommand {
  readonly input: string;
  /** Absent: standard output (not resumable). */
  readonly out?: string;
  readonly concurrency: number;
  readonly deadlineMs: number;
  /** Applied to rows that do not say themselves. */
  readonly defaults: ScoreOptions;
  readonly class?: string;
  readonly samples: boolean;
  readonly progress: 'auto' | 'json' | 'none';
  readonly signal: AbortSignal;
  /** Called with every scored row, in order. */
  readonly onRow?: (row: Row, answer: Answer) => void;
}

export type Answer =
  | { readonly kind: 'verdict'; readonly verdict: Verdict }
  | { readonly kind: 'fault'; readonly fault: Fault }
  | { readonly kind: 'unreadable'; readonly reason: string };

export interface ScoreSummary {
  readonly rows: number;
  readonly resumed: number;
  readonly invalid: number;
  readonly failed: number;
  readonly code: ExitCode;
}

const aheadFactor = 4;

export async function scoreRows(client: GrmClient, command: ScoreCommand): Promise<ScoreSummary> {
  const done = command.out === undefined ? { rows: 0, lastDigest: undefined } : await doneRows(command.out);
  const out = command.out === undefined ? undefined : await open(command.out, 'a');
  const total = await countRows(command.input);
  const progress = openProgress(command.progress, 'scored', done.rows);
  let invalid = 0;
  let failed = 0;
  let writing: Promise<unknown> = Promise.resolve();

  const ordered = new Ordered<{ row: Row; answer: Answer }>(
    done.rows,
    command.concurrency * aheadFactor,
    ({ row, answer }, number) => {
      if (answer.kind === 'verdict') invalid += answer.verdict.kind === 'invalid' ? 1 : 0;
      else failed++;
      const line = `${JSON.stringify(outputRow(row, answer, command.samples))}\n`;
      writing = writing.then(() => write(out, line));
      command.onRow?.(row, answer);
      progress.update(number + 1, invalid + failed, total);
    },
  );

  const requests = async function* (): AsyncGenerator<ScoreRequest & { row: Row }> {
    for await (const row of readRows(command.input)) {
      if (command.signal.aborted) return;
      if (row.number < done.rows) {
        if (row.number === done.rows - 1 && row.digest !== done.lastDigest)
          throw otherInput(command.out ?? '', row.number);
        continue;
      }
      await ordered.whenNear(row.number);
      const asked = requestOf(row, command);
      if (asked.kind === 'ask') yield { ...asked.request, row };
      else ordered.put(row.number, { row, answer: asked.answer });
    }
  };

  try {
    const { concurrency, deadlineMs, signal } = command;
    for await (const result of client.scoreMany(requests(), { concurrency, deadlineMs, signal })) {
      const { row } = result.request;
      if (result.kind === 'fault' && result.fault.kind === 'cancelled' && signal.aborted) continue;
      ordered.put(row.number, {
        row,
        answer:
          result.kind === 'verdict'
            ? { kind: 'verdict', verdict: result.verdict }
            : { kind: 'fault', fault: result.fault },
      });
      await writing;
    }
  } catch (error) {
    if (!command.signal.aborted) throw error;
  } finally {
    await writing;
    await out?.close();
    progress.end();
  }
  const rows = ordered.next;
  if (command.signal.aborted) return { rows, resumed: done.rows, invalid, failed, code: exitCodes.interrupted };
  return { rows, resumed: done.rows, invalid, failed, code: failed > 0 ? exitCodes.failure : exitCodes.ok };
}

type Asked =
  { readonly kind: 'ask'; readonly request: ScoreRequest } | { readonly kind: 'answered'; readonly answer: Answer };

/** What is wrong with a row is found here, with all violations, and costs no round trip. */
function requestOf(row: Row, command: ScoreCommand): Asked {
  if (row.body.kind === 'unreadable') return { kind: 'answered', answer: row.body };
  const own = (
    typeof row.body.raw.options === 'object' && row.body.raw.options !== null ? row.body.raw.options : {}
  ) as ScoreOptions;
  const raw: RawScore = {
    ...row.body.raw,
    ...(row.body.raw.options === undefined || typeof row.body.raw.options === 'object'
      ? { options: { ...command.defaults, ...own } }
      : {}),
    ...(command.class !== undefined && row.body.raw.class === undefined && { class: command.class }),
  };
  const taken = intake(raw);
  if (taken.kind === 'violations') {
    const words = taken.violations.map(({ field, description }) => `${field}: ${description}`).join('; ');
    return {
      kind: 'answered',
      answer: { kind: 'fault', fault: { kind: 'invalid_request', message: words, violations: taken.violations } },
    };
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
      ...(raw.tenant !== undefined && { tenant }),
      class: taken.input.class,
      detail: command.samples ? 'full' : command.onRow ? 'scores' : 'rewards',
    },
  };
}

function outputRow(row: Row, answer: Answer, samples: boolean): Record<string, unknown> {
  const id = row.body.kind === 'request' ? row.body.id : null;
  const label = row.body.kind === 'request' && row.body.label !== undefined ? { label: row.body.label } : {};
  const head = { row: row.number, input: row.digest, id, ...label };
  switch (answer.kind) {
    case 'verdict':
      return { ...head, ...verdictRow(answer.verdict, samples) };
    case 'fault':
      return { ...head, rewards: null, error: { kind: answer.fault.kind, message: answer.fault.message } };
    case 'unreadable':
      return { ...head, rewards: null, error: { kind: 'unreadable', message: answer.reason } };
  }
}

async function write(out: FileHandle | undefined, line: string): Promise<void> {
  if (out) await out.appendFile(line);
  else if (!process.stdout.write(line)) await new Promise((resolve) => process.stdout.once('drain', resolve));
}

/** Rows that an earlier run wrote whole; half a row at the end is cut off (J1). */
async function doneRows(path: string): Promise<{ rows: number; lastDigest: string | undefined }> {
  const size = await stat(path).then(
    (stats) => stats.size,
    () => 0,
  );
  if (size === 0) return { rows: 0, lastDigest: undefined };
  let wholeBytes = 0;
  let rows = 0;
  let last = '';
  for await (const line of createInterface({ input: createReadStream(path, 'utf8'), crlfDelay: Infinity })) {
    const bytes = Buffer.byteLength(line) + 1;
    if (wholeBytes + bytes > size) break;
    wholeBytes += bytes;
    rows++;
    last = line;
  }
  if (wholeBytes < size) await truncate(path, wholeBytes);
  if (rows === 0) return { rows, lastDigest: undefined };
  try {
    const { row, input } = JSON.parse(last) as { row?: unknown; input?: unknown };
    if (row === rows - 1 && typeof input === 'string') return { rows, lastDigest: input };
  } catch {
    // told below
  }
  throw new CliError(`${path} exists and is not the output of \`grm score\`: give another --out`, exitCodes.usage);
}

function otherInput(path: string, row: number): CliError {
  return new CliError(
    `${path} was written for another input (its row ${row} differs): give another --out, or remove it to start anew`,
    exitCodes.usage,
  );
}

/** For the ETA; undefined for standard input. */
async function countRows(path: string): Promise<number | undefined> {
  if (path === '-') return undefined;
  await stat(path).catch((error: unknown) => {
    throw new CliError(`${path}: ${error instanceof Error ? error.message : String(error)}`, exitCodes.usage);
  });
  let rows = 0;
  let blank = true;
  for await (const chunk of createReadStream(path) as AsyncIterable<Buffer>) {
    for (const byte of chunk) {
      if (byte === 10) {
        if (!blank) rows++;
        blank = true;
      } else if (byte !== 13 && byte !== 32 && byte !== 9) blank = false;
    }
  }
  return blank ? rows : rows + 1;
}
