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
import { codeOf, kindOfRow, scoreRows, type ScoreCommand, type ScoreSummary } from './score.js';
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
  readonly samples?: boolean;
  readonly fresh?: boolean;
  readonly allowJudgeChange?: boolean;
}

/** The service answers at its deadline with what it has: so much later than that, nothing will come. */
const answerMarginMs = 10_000;
const concurrencyDefault = 64;

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
      'time per request',
      decimal(limits.timeBudgetMsMin / 1_000, limits.timeBudgetMsMax / 1_000),
    )
    .addOption(new Option('--class <class>', 'who waits').choices(classes))
    .option('--concurrency <n>', 'requests open at once', whole(1, limits.streamOpenMax), concurrencyDefault)
    .option('--samples', 'write every sample with its texts')
    .option('--fresh', 'draw anew, also where a verdict is stored')
    .option('--allow-judge-change', 'go on although another judge gave earlier rows, or the verdict of a key')
    .action((file: string | undefined, flags: ScoreFlags) => session.run(() => score(session, file ?? '-', flags)));
}

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
    const judges = new JudgeTally();
    const earlier = new EarlierJudges();
    const kindOf = (row: string): ReturnType<typeof kindOfRow> => {
      const kind = kindOfRow(row);
      earlier.take(row, kind);
      return kind;
    };
    const output = flags.out === undefined ? standardOutput() : await openOutput(flags.out, 'grm score', kindOf);
    try {
      const summary = await scoreRows(client, {
        input,
        output,
        concurrency: flags.concurrency,
        // A row may ask for more time than the flags do.
        deadlineMs: (defaults.timeBudgetMs ?? limits.timeBudgetMsMax) + answerMarginMs,
        defaults,
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
      say(session, summary, judges, flags.out);
      return summary.interrupted ? stop.code() : codeOf(summary);
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
  { rows, resumed, invalid, failed, interrupted }: ScoreSummary,
  judges: JudgeTally,
  out: string | undefined,
): void {
  if (session.json) {
    session.note(
      JSON.stringify({
        ...{ event: 'end', rows, resumed, invalid, failed, interrupted },
        ...{ stored: judges.stored, judges: judges.json() },
      }),
    );
    return;
  }
  const earlier = resumed > 0 ? ` (${resumed} from an earlier run)` : '';
  session.note(`${rows} rows${earlier}, ${invalid} invalid, ${failed} failed`);
  if (judges.text() !== '') session.note(judges.text());
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
