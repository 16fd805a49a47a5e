// grm spct reward: the rule-based reward over a file, or as an HTTP door.

import { readFileSync } from 'node:fs';
import { serveSpct } from '../gateway/spct-door.js';
import { isLoopback, parseListen } from '../observe/listen.js';
import { systemClock } from '../process/clock.js';
import { exitCodes, type ExitCode } from '../process/run.js';
import { readRewardRow, rewardColumns, ruleReward } from '../spct/reward.js';
import { CliError } from './context.js';
import { openOutput, remainingRows, standardOutput, type Output } from './output.js';
import { openProgress } from './progress.js';
import { rowLine } from './row-line.js';
import { countRows, openInput, readJsonRows, type Input, type JsonRow } from './rows.js';
import type { Session } from './session.js';
import { stopSignals } from './stop.js';

export interface RewardFlags {
  readonly out?: string;
  readonly listen?: string;
  readonly requireTokenFile?: string;
  readonly insecure?: boolean;
}

export async function reward(session: Session, path: string | undefined, flags: RewardFlags): Promise<ExitCode> {
  if (flags.listen === undefined) return overFile(session, path ?? '-', flags);
  if (path !== undefined || flags.out !== undefined)
    throw new CliError('--listen serves requests; a file and --out are for rows', exitCodes.usage);
  return serve(session, flags.listen, flags);
}

async function serve(session: Session, listen: string, flags: RewardFlags): Promise<ExitCode> {
  const token = flags.requireTokenFile === undefined ? undefined : readToken(flags.requireTokenFile);
  const wanted = parseListen(listen);
  if (wanted && !isLoopback(wanted.host) && token === undefined && flags.insecure !== true)
    throw new CliError(
      `${listen} can be reached from other machines: give --require-token-file, or --insecure for anybody`,
      exitCodes.usage,
    );
  const stop = stopSignals();
  const counts = { batches: 0, rows: 0, refused: 0 };
  const door = await serveSpct({
    listen,
    ...(token !== undefined && { token }),
    onAnswer({ status, rows }) {
      if (status === 200) {
        counts.batches++;
        counts.rows += rows;
      } else counts.refused++;
    },
    onError: (error) => session.note(`grm: ${error instanceof Error ? (error.stack ?? error.message) : String(error)}`),
  }).catch((error: unknown) => {
    throw new CliError(error instanceof Error ? error.message : String(error), exitCodes.usage);
  });
  session.show(
    { event: 'listening', address: door.address },
    () => `rewards at http://${door.address}/spct/reward; Ctrl-C ends`,
  );
  await new Promise<void>((resolve) => {
    if (stop.first.aborted) resolve();
    else stop.first.addEventListener('abort', () => resolve(), { once: true });
  });
  await door.close();
  session.note(
    session.json
      ? JSON.stringify({ event: 'end', ...counts })
      : `${counts.rows} rows in ${counts.batches} batches, ${counts.refused} requests refused`,
  );
  return exitCodes.ok;
}

function readToken(file: string): string {
  let token: string;
  try {
    token = readFileSync(file, 'utf8').trim();
  } catch (error) {
    const words = error instanceof Error ? error.message : String(error);
    throw new CliError(`--require-token-file: ${words}`, exitCodes.usage);
  }
  if (token === '') throw new CliError(`--require-token-file: ${file} is empty`, exitCodes.usage);
  return token;
}

async function overFile(session: Session, path: string, flags: RewardFlags): Promise<ExitCode> {
  const input = await openInput(path);
  const earlier: Record<Kind, number> = { correct: 0, incorrect: 0, invalid: 0, failed: 0 };
  const output =
    flags.out === undefined
      ? standardOutput()
      : await openOutput(flags.out, 'grm spct reward', (head) => earlier[kindOfRow(head)]++);
  const stop = stopSignals();
  const terminal = flags.out === undefined && process.stdout.isTTY;
  const progress = openProgress({
    mode: session.json ? 'json' : terminal ? 'none' : 'auto',
    what: 'rewarded',
    startAt: output.rows,
    total: await countRows(input),
    clock: systemClock,
    stream: process.stderr,
  });
  const { rows } = output;
  const counts = { rows, resumed: rows, ...earlier };
  let whole = false;
  try {
    for await (const row of remaining(input, output)) {
      if (stop.first.aborted) break;
      const { kind, columns } = rewarded(row);
      counts[kind]++;
      counts.rows++;
      output.write(rowLine(row, columns));
      await output.flushed();
      progress.update({ done: counts.rows, invalid: counts.invalid, failed: counts.failed });
    }
    whole = true;
  } finally {
    progress.end(whole);
    await output.close();
  }
  const interrupted = stop.first.aborted;
  session.note(session.json ? JSON.stringify({ event: 'end', ...counts, interrupted }) : words(counts, interrupted));
  if (interrupted) return stop.code();
  return counts.failed > 0 ? exitCodes.failure : exitCodes.ok;
}

type Kind = 'correct' | 'incorrect' | 'invalid' | 'failed';

/** Of a row that an earlier run wrote (`rewarded` below). */
function kindOfRow(row: string): Kind {
  if (row.includes('"reward":null,"error":{')) return 'failed';
  if (row.includes('"correct":true')) return 'correct';
  return row.includes('"scores":null') ? 'invalid' : 'incorrect';
}

function rewarded({ json, line }: JsonRow): { kind: Kind; columns: Record<string, unknown> } {
  const id = json.kind === 'value' ? idOf(json.value) : null;
  if (json.kind === 'unreadable')
    return { kind: 'failed', columns: { id, reward: null, error: { kind: 'unreadable', line, message: json.reason } } };
  const read = readRewardRow(json.value);
  if (read.kind === 'violations') {
    const { violations } = read;
    const message = violations.map(({ field, description }) => `${field}: ${description}`).join('; ');
    return { kind: 'failed', columns: { id, reward: null, error: { kind: 'malformed', line, message, violations } } };
  }
  const result = ruleReward(read.row);
  const kind = result.reward === 1 ? 'correct' : result.scores ? 'incorrect' : 'invalid';
  return { kind, columns: { id, ...rewardColumns(result) } };
}

function idOf(row: unknown): unknown {
  const id = typeof row === 'object' && row !== null && 'id' in row ? row.id : null;
  return typeof id === 'string' || typeof id === 'number' ? id : null;
}

/** The rows that are not in the output yet; throws CliError when the output does not belong to this input. */
function remaining(input: Input, output: Output): AsyncGenerator<JsonRow> {
  return remainingRows(readJsonRows(input.stream(), 'spct reward'), output, otherInput);
}

const otherInput = new CliError(
  'the output was written for another input: give another --out, or remove it to start anew',
  exitCodes.usage,
);

function words(
  { rows, resumed, correct, incorrect, invalid, failed }: Record<'rows' | 'resumed' | Kind, number>,
  interrupted: boolean,
): string {
  const earlier = resumed > 0 ? ` (${resumed} from an earlier run)` : '';
  const line = `${rows} rows${earlier}: ${correct} correct, ${incorrect} incorrect, ${invalid} invalid, ${failed} failed`;
  return interrupted ? `${line}\ninterrupted` : line;
}
