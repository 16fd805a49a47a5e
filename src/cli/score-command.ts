// The command `grm score`: its options, and what it says about a run.

import { randomBytes } from 'node:crypto';
import { Option, type Command } from 'commander';
import { intake } from '../coordinator/intake.js';
import type { ScoreOptions } from '../coordinator/coordinator.js';
import { classes, stopRules, voteMethods, type Class, type StopRule, type VoteMethod } from '../grm/query.js';
import { limits } from '../limits.js';
import { exitCodes, type ExitCode } from '../process/run.js';
import { CliError, connect, doorOf, failureOf, readConfig } from './context.js';
import { EarlierJudges, endIfChanged, JudgeTally } from './judged.js';
import { openOutput, standardOutput } from './output.js';
import { checkReachable, troubleText } from './reach.js';
import { openInput } from './rows.js';
import { kindOfRow, RowCounts } from './row-kind.js';
import { codeOf, maxInvalidShareDefault, scoreRows, type ScoreCommand, type ScoreSummary } from './score.js';
import { decimal, whole, type Session } from './session.js';
import { stopSignals } from './stop.js';

interface ScoreFlags {
  readonly out?: string;
  readonly k?: number;
  readonly vote?: VoteMethod;
  readonly kMeta?: number;
  readonly temperature?: number;
  readonly maxTokens?: number;
  readonly quorum?: number;
  readonly seed?: number;
  readonly stop?: StopRule;
  readonly stopError?: number;
  readonly deadline?: number;
  readonly class?: Class;
  readonly concurrency: number;
  readonly maxInvalidShare: number;
  readonly waitEngines?: number;
  readonly samples?: boolean;
  readonly fresh?: boolean;
  readonly allowJudgeChange?: boolean;
}

export function addScore(program: Command, session: Session): void {
  program
    .command('score')
    .argument('[file]', 'JSONL rows; "-" or nothing reads standard input')
    .description('score JSONL rows: {"query": ..., "responses": [...], ...}')
    .option('--out <file>', 'write here and go on where an earlier run stopped (default: standard output)')
    .option('--k <n>', 'samples per request', whole(1, limits.kMax))
    .addOption(new Option('--vote <method>', 'how samples are combined').choices(voteMethods))
    .option('--k-meta <n>', 'samples that the meta RM keeps', whole(1, limits.kMax))
    .option('--temperature <t>', 'sampling temperature, 0 = greedy', decimal(0, limits.temperatureMax))
    .option('--max-tokens <n>', 'tokens per sample', whole(1, limits.maxTokensMax))
    .option('--quorum <n>', 'valid samples needed when the time ends', whole(1, limits.kMax))
    .option('--seed <n>', 'makes equal requests different', whole(0, 0xffff_ffff))
    .addOption(new Option('--stop <rule>', 'when drawing may end before k samples').choices(stopRules))
    .option('--stop-error <p>', 'error level of --stop confident', decimal(0, limits.stopErrorMax))
    .option(
      '--deadline <seconds>',
      'time of a request whose row names none; what it cuts short is tried again (default: none)',
      decimal(limits.timeBudgetMsMin / 1_000, limits.timeBudgetMsMax / 1_000),
    )
    .addOption(new Option('--class <class>', 'who waits').choices(classes))
    .option(
      '--concurrency <n>',
      "requests open at once, at most; fewer where the cluster's slots take up fewer",
      whole(1, limits.streamOpenMax),
      limits.streamOpenMax,
    )
    .option(
      '--max-invalid-share <share>',
      'of all rows; with more of them invalid the exit code is 5',
      decimal(0, 1),
      maxInvalidShareDefault,
    )
    .option(
      '--wait-engines <seconds>',
      'how long no engine may serve (default: 60, and 600 while one is being started)',
      decimal(0, limits.waitEnginesSecondsMax),
    )
    .option('--samples', 'write every sample with its texts')
    .option('--fresh', 'draw anew, also where a verdict is stored')
    .option('--allow-judge-change', 'go on although another judge gave earlier rows, or the verdict of a key')
    .addHelpText('after', exitCodesHelp)
    .action((file: string | undefined, flags: ScoreFlags) => session.run(() => score(session, file ?? '-', flags)));
}

const exitCodesHelp = `
Exit codes:
  0    all rows are scored; a share of them up to --max-invalid-share may be invalid
  1    some rows cannot be scored as they are, or were cancelled: each says why
  2    options, input or output are wrong: nothing was scored
  3    coordinator or engines are away, or time ended rows: the same command goes on
  5    more rows are invalid than --max-invalid-share
  130  interrupted (143: terminated): the same command goes on`;

async function score(session: Session, path: string, flags: ScoreFlags): Promise<ExitCode> {
  const defaults = optionsOf(flags);
  check(defaults);
  const resolved = readConfig(session.options);
  const door = doorOf(session.options, resolved);
  const input = await openInput(path);
  if (path === '-' && process.stdin.isTTY) session.note('reading rows from the terminal, one a line; Ctrl-D ends');
  const stop = stopSignals();
  try {
    await checkReachable(session, resolved, door, stop.first);
    const allowed = flags.allowJudgeChange === true;
    using client = connect(session.options, resolved, door, 'long', { allowJudgeChange: allowed });
    const counts = new RowCounts();
    const judges = new JudgeTally();
    const earlier = new EarlierJudges();
    const noteEarlier = (head: string): void => {
      const kind = kindOfRow(head);
      counts.note(kind);
      earlier.take(head, kind.is);
    };
    const output = flags.out === undefined ? standardOutput() : await openOutput(flags.out, 'grm score', noteEarlier);
    try {
      const summary = await scoreRows(client, {
        input,
        output,
        counts,
        concurrency: flags.concurrency,
        defaults,
        ...(flags.waitEngines !== undefined && { noEngineMs: flags.waitEngines * 1_000 }),
        ...(flags.class !== undefined && { class: flags.class }),
        samples: flags.samples === true,
        ...(flags.fresh && { fresh: randomBytes(8).toString('hex') }),
        onResult: (result) => {
          if (result.kind === 'verdict') judges.note(result.verdict);
          else endIfChanged(result);
        },
        ...(!allowed && { onEarlier: (row, request) => earlier.check(row, () => client.judge(request)) }),
        progress: progressMode(session, flags),
        signal: stop.first,
        troubleText: (trouble) => troubleText(session.json, door, trouble),
      });
      say(session, summary, counts, judges, flags);
      return summary.interrupted ? stop.code() : codeOf(summary, counts, flags.maxInvalidShare);
    } finally {
      await output.close();
    }
  } catch (error) {
    const { message, code } = failureOf(error, door);
    const again =
      flags.out === undefined || code === exitCodes.usage ? '' : '\n  the same command goes on where this one stopped';
    throw new CliError(`${message}${again}`, code);
  }
}

/** Rows that run over the terminal show the progress themselves; a bar would stand between them. */
function progressMode(session: Session, flags: ScoreFlags): ScoreCommand['progress'] {
  if (session.json) return 'json';
  return flags.out === undefined && process.stdout.isTTY ? 'none' : 'auto';
}

function say(
  session: Session,
  { rows, resumed, interrupted }: ScoreSummary,
  counts: RowCounts,
  judges: JudgeTally,
  { out, maxInvalidShare }: ScoreFlags,
): void {
  const { invalid, failed, unfinished } = counts.lost();
  if (session.json) {
    const reasons = (['invalid', 'failed', 'unfinished'] as const).map((is) => [is, counts.reasons(is)]);
    const end = { event: 'end', rows, resumed, invalid, failed, unfinished, interrupted, stored: judges.stored };
    session.note(JSON.stringify({ ...end, reasons: Object.fromEntries(reasons) as object, judges: judges.json() }));
    return;
  }
  const earlier = resumed > 0 ? ` (${resumed} from an earlier run)` : '';
  const last = unfinished > 0 ? `, ${counts.text('unfinished')}` : '';
  session.note(`${rows} rows${earlier}, ${counts.text('invalid')}, ${counts.text('failed')}${last}`);
  if (judges.text() !== '') session.note(judges.text());
  if (unfinished > 0) {
    const next = out === undefined ? 'score them again' : 'the same command tries them again';
    session.note(`only time ended the unfinished rows, no judge; ${next}`);
  }
  if (invalid > maxInvalidShare * rows)
    session.note(`${invalid} of ${rows} rows are invalid, more than --max-invalid-share ${maxInvalidShare} allows`);
  if (interrupted) session.note(out === undefined ? 'interrupted' : 'interrupted; the same command goes on from here');
}

function optionsOf(flags: ScoreFlags): ScoreOptions {
  const { k, kMeta, vote, temperature, maxTokens, quorum, seed, stop, stopError, deadline } = flags;
  return {
    ...(k !== undefined && { k }),
    ...(kMeta !== undefined && { kMeta }),
    ...(vote !== undefined && { vote }),
    ...(temperature !== undefined && { temperature }),
    ...(maxTokens !== undefined && { maxTokens }),
    ...(quorum !== undefined && { quorum }),
    ...(seed !== undefined && { seed }),
    ...(stop !== undefined && { stop }),
    ...(stopError !== undefined && { stopError }),
    ...(deadline !== undefined && { timeBudgetMs: Math.round(deadline * 1_000) }),
  };
}

/** Flags that contradict each other would make every row fail: told before anything is read. */
function check(options: ScoreOptions): void {
  const taken = intake({ content: { query: 'q', responses: ['r'] }, options });
  if (taken.kind === 'ok') return;
  const lines = taken.violations.map(({ field, description }) => `  ${flagOf(field)}: ${description}`);
  throw new CliError(['the options are wrong:', ...lines].join('\n'), exitCodes.usage);
}

/** "options.k_meta" as "--k-meta". */
function flagOf(field: string): string {
  return `--${field.replace(/^options\./, '').replaceAll('_', '-')}`;
}
