// Sampling of labelled items through a running cluster, into a trajectories file that a later run goes on with.
//
//   K1. The file holds one line per row of the input, in order: every trajectory of an item, or why there are none.
//   K2. A run that was interrupted goes on where the file ends, after checking that all of it belongs to this input and these options.
//       What had been drawn and not written is not paid for again: the service knows the request.
//   K3. An item has all the samples asked for, each of them drawn, or it has failed: of fewer nobody could say that all are correct.
//   K4. A hint is a request of its own, because its prompt is another one.

import { limits } from '../limits.js';
import type { Judge } from '../grm/judge.js';
import type { Verdict } from '../grm/verdict.js';
import { systemClock } from '../process/clock.js';
import { exitCodes } from '../process/run.js';
import { GrmError, type GrmClient, type ScoreRequest, type Trouble } from '../rpc/client.js';
import { readItem, type Item } from '../spct/item.js';
import { lostText, recordColumns, type FailedItem, type ItemRecord, type Trajectory } from '../spct/record.js';
import { CliError } from './context.js';
import { endIfChanged, judgeColumn } from './judged.js';
import { Ordered } from './ordered.js';
import { remainingRows, rowLine, type Output } from './output.js';
import { openProgress, type ProgressOptions } from './progress.js';
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
  readonly interrupted: boolean;
}

const changeAdvice = 'a trajectories file holds what one judge said: name another one to begin with this judge';

/** The service answers at its deadline with what it has: so much later than that, nothing will come. */
const answerMarginMs = 10_000;
/** Rows ahead of the one due next, per request open at once. */
const aheadFactor = 4;

type Asked = ScoreRequest & { readonly row: JsonRow; readonly hinted: boolean };

/** An item of which not all requests are answered. */
interface Open {
  readonly item: Item;
  left: number;
  readonly trajectories: Trajectory[];
  failed?: FailedItem['error'];
}

/** Throws CliError when the file belongs to something else or cannot be written, GrmError when the service is away or refuses the caller. */
export async function sampleItems(client: GrmClient, command: SampleCommand): Promise<SampleSummary> {
  const { input, output, options, concurrency, signal } = command;
  const progress = openProgress({
    mode: command.progress,
    what: 'sampled',
    startAt: output.rows,
    total: await countRows(input),
    clock: systemClock,
    stream: process.stderr,
  });
  let failed = 0;
  const ordered = new Ordered<{ readonly line: string; readonly error: FailedItem['error'] | undefined }>(
    output.rows,
    { aheadMax: concurrency * aheadFactor, bytesMax: limits.rowsHeldBytesMax },
    ({ line, error }, number) => {
      if (error) {
        failed++;
        command.onFailed(error);
      }
      output.write(line);
      progress.update({ done: number + 1, invalid: 0, failed });
    },
  );
  const put = async (row: JsonRow, record: ItemRecord, judged?: Verdict): Promise<void> => {
    const line = rowLine(row.number, row.digest, {
      ...(judged && judgeColumn(judged.judge)),
      ...recordColumns(record),
    });
    const error = record.kind === 'failed' ? record.error : undefined;
    ordered.put(row.number, { line, error }, 2 * line.length);
    await output.flushed();
  };

  const open = new Map<number, Open>();
  const requests = async function* (): AsyncGenerator<Asked, void, undefined> {
    for await (const row of remaining(client, command)) {
      if (!(await ordered.admit(row.number, row.bytes, signal))) return;
      const read = itemOf(row);
      if (read.kind !== 'item') {
        await put(row, read);
        continue;
      }
      const asked = requestsOf(read.item, row, command);
      open.set(row.number, { item: read.item, left: asked.length, trajectories: [] });
      yield* asked;
    }
  };

  let whole = false;
  try {
    const deadlineMs = command.timeBudgetMs + answerMarginMs;
    const onTrouble = (trouble: Trouble): void => progress.note(command.troubleText(trouble));
    for await (const result of client.scoreMany(requests(), { concurrency, deadlineMs, signal, onTrouble })) {
      const { row, hinted } = result.request;
      // An interrupted row is not failed: the next run asks again.
      if (result.kind === 'fault' && result.fault.kind === 'cancelled' && signal.aborted) continue;
      const its = open.get(row.number)!;
      if (result.kind === 'fault') {
        endIfChanged(result, changeAdvice);
        its.failed ??= { kind: result.fault.kind, message: result.fault.message, line: row.line };
      } else {
        command.onVerdict(result.verdict);
        const taken = take(result.verdict, hinted, hinted ? options.hinted : options.samples);
        if (typeof taken === 'string') its.failed ??= { kind: 'incomplete', message: taken, line: row.line };
        else its.trajectories.push(...taken);
      }
      if (--its.left > 0) continue;
      open.delete(row.number);
      await put(row, recordOf(its), result.kind === 'verdict' ? result.verdict : undefined);
    }
    whole = true;
  } catch (error) {
    whole = signal.aborted && error instanceof GrmError && error.kind === 'cancelled';
    if (!whole) throw error;
  } finally {
    progress.end(whole);
  }
  return { rows: ordered.next, resumed: output.rows, interrupted: signal.aborted };
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
  if (failed) return { kind: 'failed', ...(item.id !== undefined && { id: item.id }), error: failed };
  // The hinted ones last, whichever request was answered first: a file must not depend on that.
  const sorted = [...trajectories].sort(
    (a, b) => Number(a.hinted) - Number(b.hinted) || a.sample.index - b.sample.index,
  );
  return { kind: 'sampled', ...item, trajectories: sorted };
}

/** The rows that are not in the file yet; throws CliError when the file does not belong to this input (K2). */
function remaining(client: GrmClient, { input, output, options, onEarlier }: SampleCommand): AsyncGenerator<JsonRow> {
  const rows = readJsonRows(input.stream(), `spct ${JSON.stringify(options)}`);
  const { samples: k, template } = options;
  const judgeNow = (): Promise<Judge> => client.judge({ k, ...unranked, ...(template !== undefined && { template }) });
  const told = async function* (): AsyncGenerator<JsonRow> {
    for await (const row of rows) {
      if (row.number < output.rows) await onEarlier?.(row.number, judgeNow);
      yield row;
    }
  };
  return remainingRows(told(), output, otherInput);
}

/** The samples are wanted and not their vote: no meta RM, whatever the server's defaults are. */
const unranked = { vote: 'sum', meta: false } as const;

const otherInput = new CliError(
  'the trajectories file was written for another input, or with other options (--samples, --hinted, --temperature, ...): name another one, or remove it to start anew',
  exitCodes.usage,
);
