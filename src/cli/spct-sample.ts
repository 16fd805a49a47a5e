// Sampling of labelled items through a running cluster, into a trajectories file that a later run goes on with.
//
//   K1. The file holds one line per row of the input, in order: every trajectory of an item, or why there are none.
//   K2. A run that was interrupted goes on where the file ends, after checking that all of it belongs to this input and these options.
//       What had been drawn and not written is not paid for again: the service knows the request.
//   K3. An item has all the samples asked for, each of them drawn, or it has failed: of fewer nobody could say that all are correct.
//       An item that only time ended is tried again, as a row of `grm score` is (J4): its line says `"retry":true` until then.
//   K4. A hint is a request of its own, because its prompt is another one.

import { faults } from '../fault.js';
import { limits } from '../limits.js';
import type { Judge } from '../grm/judge.js';
import type { Verdict } from '../grm/verdict.js';
import { systemClock } from '../process/clock.js';
import { exitCodes } from '../process/run.js';
import { endedByTime, type Outcome } from '../rpc/again.js';
import { GrmError, type GrmClient, type ScoreRequest, type Trouble } from '../rpc/client.js';
import { readItem, type Item } from '../spct/item.js';
import { lostText, recordColumns, type FailedItem, type ItemRecord, type Trajectory } from '../spct/record.js';
import { CliError } from './context.js';
import { inTurns, tryAgain } from './again.js';
import type { Place } from './mend.js';
import { endIfChanged, judgeColumn } from './judged.js';
import { Ordered } from './ordered.js';
import { remainingRows, type Output } from './output.js';
import { openProgress, type ProgressOptions } from './progress.js';
import { rowHead, rowLine } from './row-line.js';
import { countRows, readJsonRows, type Input, type JsonRow } from './rows.js';

/** What decides which trajectories come: a file is never continued with others. */
export interface SampleOptions {
  /** Trajectories per item. */
  readonly samples: number;
  /** Further ones whose prompt names the best response; items with one response have none. */
  readonly hinted: number;
  readonly temperature: number;
  readonly topP?: number;
  readonly maxTokens?: number;
  readonly seed: number;
  /** Of a template that the cluster has loaded. */
  readonly template?: string;
}

export interface SampleCommand {
  readonly input: Input;
  readonly output: Output;
  /** Lines of the output that are tried again. */
  readonly again: number;
  readonly options: SampleOptions;
  readonly concurrency: number;
  /** Per request. */
  readonly timeBudgetMs: number;
  readonly progress: ProgressOptions['mode'];
  readonly signal: AbortSignal;
  /** Told of every row that the file holds already; may throw to end the run. */
  readonly onEarlier?: (row: number, judgeNow: () => Promise<Judge>) => Promise<void>;
  /** Told of every verdict before its trajectories are written; may throw to end the run. */
  readonly onVerdict: (verdict: Verdict) => void;
  readonly onFailed: (error: FailedItem['error']) => void;
  readonly troubleText: (trouble: Trouble) => string;
}

export interface SampleSummary {
  /** Written, those of an earlier run included. */
  readonly rows: number;
  readonly resumed: number;
  /** Items that only time ended. */
  readonly unfinished: number;
  readonly interrupted: boolean;
}

const changeAdvice = 'a trajectories file holds what one judge said: name another one to begin with this judge';

/** Rows ahead of the one due next, per request open at once. */
const aheadFactor = 4;

type Asked = ScoreRequest & { readonly row: JsonRow; readonly hinted: boolean };

/** An item of which not all requests are answered. */
interface Open {
  readonly item: Item;
  readonly place: Place | undefined;
  /** Its number in the pass. */
  readonly at: number;
  left: number;
  readonly trajectories: Trajectory[];
  failed?: Failed;
}

interface Failed {
  readonly error: FailedItem['error'];
  /** Only time ended it. */
  readonly byTime: boolean;
  /** The same command tries it again. */
  readonly again: boolean;
}

interface Line {
  readonly text: string;
  readonly place: Place | undefined;
  readonly failed: Failed | undefined;
}

/** Throws CliError when the file belongs to something else or cannot be written, GrmError when the service is away or refuses the caller. */
export async function sampleItems(client: GrmClient, command: SampleCommand): Promise<SampleSummary> {
  const { input, output, signal } = command;
  const counts = { failed: 0, unfinished: 0 };
  const note = ({ failed }: Line): void => {
    if (!failed) return;
    counts[failed.byTime ? 'unfinished' : 'failed']++;
    if (!failed.byTime) command.onFailed(failed.error);
  };
  const { mend } = output;
  const sampleAgain = async (inputRowsAgain: () => AsyncIterable<JsonRow>, roundsMax?: number): Promise<void> => {
    if (!mend) return;
    await tryAgain({
      mend,
      rows: inputRowsAgain,
      waiting: (round) => counts.unfinished + (round === 0 ? command.again : 0),
      wanted: ({ head }) => rowHead.exec(head)?.[3] !== undefined,
      pass: (again, mending, total) => {
        counts.unfinished = 0;
        return samplePass(client, command, counts, {
          what: 'sampled again',
          first: 0,
          total,
          rows: again,
          write: (line) => {
            note(line);
            mending.replace(line.place!, line.text);
          },
          flushed: () => mending.flushed(),
        });
      },
      ...(roundsMax !== undefined && { roundsMax }),
      signal,
      otherInput,
    });
  };
  // What can be read but once is read once, as by `grm score`.
  const once = !input.regular && mend && command.again > 0 ? inTurns(earlierTold(client, command)) : undefined;
  if (once) await sampleAgain(() => once, 1);
  const rows = await samplePass(client, command, counts, {
    what: 'sampled',
    first: output.rows,
    total: await countRows(input),
    rows: withPlaces(signal.aborted ? [] : (once ?? remaining(client, command))),
    write: (line) => {
      note(line);
      output.write(line.text);
    },
    flushed: () => output.flushed(),
  });
  await output.flushed();
  if (input.regular) await sampleAgain(() => inputRows(command));
  return { rows, resumed: output.rows, unfinished: counts.unfinished, interrupted: signal.aborted };
}

interface Pass {
  readonly what: string;
  /** Number of the first row, in the order of the pass. */
  readonly first: number;
  readonly total: number | undefined;
  readonly rows: AsyncIterable<{ readonly row: JsonRow; readonly place?: Place }>;
  write(line: Line): void;
  flushed(): Promise<void>;
}

/** Resolves to the number of the row that would be next. */
async function samplePass(
  client: GrmClient,
  command: SampleCommand,
  counts: { readonly failed: number; readonly unfinished: number },
  pass: Pass,
): Promise<number> {
  const { options, concurrency, signal } = command;
  const progress = openProgress({
    mode: command.progress,
    what: pass.what,
    startAt: pass.first,
    total: pass.total,
    clock: systemClock,
    stream: process.stderr,
  });
  const ordered = new Ordered<Line>(
    pass.first,
    { aheadMax: concurrency * aheadFactor, bytesMax: limits.rowsHeldBytesMax },
    (line) => pass.write(line),
  );
  const put = async (
    at: number,
    row: JsonRow,
    record: ItemRecord,
    its?: Pick<Open, 'place' | 'failed'>,
    judged?: Verdict,
  ): Promise<void> => {
    const { place, failed } = its ?? {};
    const columns = { ...(judged && judgeColumn(judged.judge)), ...recordColumns(record) };
    const text = rowLine(row, columns, failed?.again);
    const lost = record.kind === 'failed' ? { error: record.error, byTime: false, again: false } : undefined;
    ordered.put(at, { text, place, failed: failed ?? lost }, 2 * text.length);
    progress.update({ done: ordered.answered, invalid: 0, ...counts });
    await pass.flushed();
  };

  const open = new Map<number, Open>();
  let next = pass.first;
  const requests = async function* (): AsyncGenerator<Asked, void, undefined> {
    for await (const { row, place } of pass.rows) {
      const at = next++;
      if (!(await ordered.admit(at, row.bytes, signal))) return;
      const read = itemOf(row);
      if (read.kind !== 'item') {
        await put(at, row, read, { place });
        continue;
      }
      const asked = requestsOf(read.item, row, command);
      open.set(row.number, { item: read.item, at, place, left: asked.length, trajectories: [] });
      yield* asked;
    }
  };

  let whole = false;
  try {
    const onTrouble = (trouble: Trouble): void => progress.note(command.troubleText(trouble));
    for await (const result of client.scoreMany(requests(), { concurrency, patient: true, signal, onTrouble })) {
      const { row, hinted } = result.request;
      // An interrupted row is not failed: the next run asks again.
      if (result.kind === 'fault' && result.fault.kind === 'cancelled' && signal.aborted) continue;
      const its = open.get(row.number)!;
      if (result.kind === 'fault') {
        endIfChanged(result, changeAdvice);
        fail(its, result, { kind: result.fault.kind, message: result.fault.message, line: row.line });
      } else {
        command.onVerdict(result.verdict);
        const taken = take(result.verdict, hinted, hinted ? options.hinted : options.samples);
        if (typeof taken === 'string') fail(its, result, { kind: 'incomplete', message: taken, line: row.line });
        else its.trajectories.push(...taken);
      }
      if (--its.left > 0) continue;
      open.delete(row.number);
      await put(its.at, row, recordOf(its), its, result.kind === 'verdict' ? result.verdict : undefined);
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

/** The first reason is told; more time is all that an item takes only where it is all that each of its requests takes. */
function fail(its: Open, outcome: Outcome, error: FailedItem['error']): void {
  const byTime = endedByTime(outcome);
  const again = byTime || (outcome.kind === 'fault' && faults[outcome.fault.kind].disposition !== 'terminal');
  const { failed } = its;
  its.failed = failed
    ? { ...failed, byTime: failed.byTime && byTime, again: failed.again && again }
    : { error, byTime, again };
}

async function* withPlaces(
  rows: AsyncIterable<JsonRow> | readonly JsonRow[],
): AsyncGenerator<{ readonly row: JsonRow }, void, undefined> {
  for await (const row of rows) yield { row };
}

type ReadRow = { readonly kind: 'item'; readonly item: Item } | Exclude<ItemRecord, { kind: 'sampled' }>;

function itemOf({ json, line }: JsonRow): ReadRow {
  if (json.kind === 'unreadable') return { kind: 'failed', error: { kind: 'unreadable', message: json.reason, line } };
  const read = readItem(json.value);
  switch (read.kind) {
    case 'item':
      return read;
    case 'no_unique_best':
      return { kind: 'no_unique_best', ...read.head };
    case 'violations': {
      const { violations } = read;
      const message = violations.map(({ field, description }) => `${field}: ${description}`).join('; ');
      return { kind: 'failed', error: { kind: 'malformed', message, line, violations } };
    }
  }
}

function requestsOf({ content, label }: Item, row: JsonRow, { options, timeBudgetMs }: SampleCommand): Asked[] {
  const { samples, hinted, temperature, topP, maxTokens, seed, template } = options;
  const asked = (k: number, hintedBest?: number): Asked => ({
    row,
    hinted: hintedBest !== undefined,
    query: content.messages,
    responses: content.responses,
    principles: content.principles,
    ...(content.reference !== undefined && { reference: content.reference }),
    ...(hintedBest !== undefined && { hintedBest }),
    k,
    ...unranked,
    // No verdict on some of them.
    quorum: k,
    stop: 'none',
    temperature,
    ...(topP !== undefined && { topP }),
    ...(maxTokens !== undefined && { maxTokens }),
    seed,
    ...(template !== undefined && { template }),
    timeBudgetMs,
    class: 'batch',
    detail: 'full',
  });
  const hint = label.kind === 'best' && hinted > 0 ? [asked(hinted, label.best)] : [];
  return [asked(samples), ...hint];
}

/** K3. What falls short is said in words. */
export function take(verdict: Verdict, hinted: boolean, wanted: number): Trajectory[] | string {
  const { samples, nonce, requestId } = verdict;
  if (samples.length < wanted) return `${samples.length} of ${wanted} samples came within the time`;
  const lost = lostText(samples.map(({ sample }) => sample));
  if (lost !== undefined) return lost;
  if (nonce === '') return 'the verdict holds no nonce: the coordinator is of an older version';
  const cut = samples.some(({ sample }) => sample.kind === 'scored' && sample.text === '');
  if (cut) return 'the texts of the samples fit no message: ask for fewer samples or tokens';
  return samples.map(({ sample }) => ({ sample, hinted, requestId, nonce }));
}

function recordOf({ item, trajectories, failed }: Open): ItemRecord {
  if (failed) return { kind: 'failed', ...(item.id !== undefined && { id: item.id }), error: failed.error };
  // The hinted ones last, whichever request was answered first: a file must not depend on that.
  const sorted = [...trajectories].sort(
    (a, b) => Number(a.hinted) - Number(b.hinted) || a.sample.index - b.sample.index,
  );
  return { kind: 'sampled', ...item, trajectories: sorted };
}

/** The rows that are not in the file yet; throws CliError when the file does not belong to this input (K2). */
function remaining(client: GrmClient, command: SampleCommand): AsyncGenerator<JsonRow> {
  return remainingRows(earlierTold(client, command), command.output, otherInput);
}

async function* earlierTold(client: GrmClient, command: SampleCommand): AsyncGenerator<JsonRow> {
  const { output, options, onEarlier } = command;
  const { samples: k, template } = options;
  const judgeNow = (): Promise<Judge> => client.judge({ k, ...unranked, ...(template !== undefined && { template }) });
  for await (const row of inputRows(command)) {
    if (row.number < output.rows) await onEarlier?.(row.number, judgeNow);
    yield row;
  }
}

function inputRows({ input, options }: SampleCommand): AsyncGenerator<JsonRow> {
  return readJsonRows(input.stream(), `spct ${JSON.stringify(options)}`);
}

/** The samples are wanted and not their vote: no meta RM, whatever the server's defaults are. */
const unranked = { vote: 'sum', meta: false } as const;

const otherInput = new CliError(
  'the trajectories file was written for another input, or with other options (--samples, --hinted, --temperature, ...): name another one, or remove it to start anew',
  exitCodes.usage,
);
