// One run of sampling, as `spct rft` and `spct meta-data --fresh` make it: options, files, cluster, and what is said.

import type { Command } from 'commander';
import { limits } from '../limits.js';
import type { ExitCode } from '../process/run.js';
import { exitCodes } from '../process/run.js';
import { connect, CliError, doorOf, failureOf, type ResolvedConfig } from './context.js';
import { EarlierJudges } from './judged.js';
import { openOutput } from './output.js';
import { printable } from './printable.js';
import { checkReachable, troubleText } from './reach.js';
import { rowHead } from './row-line.js';
import { countRows, openInput } from './rows.js';
import { decimal, whole, type Session } from './session.js';
import type { Prompts } from './spct-prompts.js';
import { sampleItems, type SampleOptions } from './spct-sample.js';
import type { Stop } from './stop.js';

export interface SampleFlags {
  readonly samples: number;
  readonly hinted?: number;
  readonly temperature: number;
  readonly topP?: number;
  readonly maxTokens?: number;
  readonly seed: number;
  readonly template?: string;
  readonly deadline: number;
  readonly concurrency: number;
}

export interface SampleDefaults {
  readonly samples: number;
  readonly temperature: number;
  readonly seed: number;
}

const deadlineSecondsDefault = 600;

export function addSampleOptions(command: Command, { samples, temperature, seed }: SampleDefaults): Command {
  return command
    .option('--samples <n>', 'trajectories per item', whole(1, limits.kMax), samples)
    .option('--temperature <t>', 'sampling temperature', decimal(0, limits.temperatureMax), temperature)
    .option('--top-p <p>', 'nucleus sampling', decimal(0.001, 1))
    .option('--max-tokens <n>', 'tokens per trajectory', whole(1, limits.maxTokensMax))
    .option('--seed <n>', 'another seed draws other trajectories', whole(0, 0xffff_ffff), seed)
    .option('--template <name>', 'a prompt template that the cluster has loaded')
    .option(
      '--deadline <seconds>',
      'time per item at first; what it cuts short is tried again with more',
      decimal(limits.timeBudgetMsMin / 1_000, limits.timeBudgetMsMax / 1_000),
      deadlineSecondsDefault,
    )
    .option(
      '--concurrency <n>',
      "requests open at once, at most; fewer where the cluster's slots take up fewer",
      whole(1, limits.streamOpenMax),
      limits.streamOpenMax,
    );
}

function optionsOf({ samples, hinted = 0, temperature, topP, maxTokens, seed, template }: SampleFlags): SampleOptions {
  return {
    samples,
    hinted,
    temperature,
    seed,
    ...(topP !== undefined && { topP }),
    ...(maxTokens !== undefined && { maxTokens }),
    ...(template !== undefined && { template }),
  };
}

export interface Sampling {
  readonly session: Session;
  readonly resolved: ResolvedConfig;
  readonly items: string;
  readonly trajectories: string;
  /** "grm spct rft": whose file it is. */
  readonly whose: string;
  readonly flags: SampleFlags;
  readonly prompts: Prompts;
  readonly stop: Stop;
}

export type Sampled =
  { readonly kind: 'whole'; readonly resumed: number } | { readonly kind: 'interrupted'; readonly code: ExitCode };

/** Samples what is missing in the trajectories file. Throws CliError. */
export async function runSampling(run: Sampling): Promise<Sampled> {
  const { session, resolved, flags, stop } = run;
  const door = doorOf(session.options, resolved);
  const input = await openInput(run.items);
  let again = 0;
  const earlier = new EarlierJudges();
  const output = await openOutput(run.trajectories, run.whose, (head) => {
    if (rowHead.exec(head)?.[3] !== undefined) again++;
    // Rows that failed, were left out, or are of an older version name no judge; their trajectories name its model.
    earlier.take(head, head.includes('"judge":{"id":"') ? 'valid' : 'failed');
  });
  try {
    const total = await countRows(input);
    // A file that is complete needs no cluster: its rows are only read again.
    const asks = total === undefined || output.rows < total;
    if (asks) await checkReachable(session, resolved, door, stop.first);
    else if (again > 0)
      await checkReachable(session, resolved, door, stop.first).catch((error: unknown) => {
        again = 0;
        session.note(printable(`items that only time ended are not tried again: ${failureOf(error, door).message}`));
      });
    using client = connect(session.options, resolved, door, 'long');
    const tell = teller(session);
    const summary = await sampleItems(client, {
      input,
      output,
      again,
      options: optionsOf(flags),
      concurrency: flags.concurrency,
      timeBudgetMs: Math.round(flags.deadline * 1_000),
      progress: session.json ? 'json' : 'auto',
      signal: stop.first,
      ...(asks && { onEarlier: (row, judgeNow) => earlier.check(row, judgeNow, otherFile) }),
      onVerdict: ({ templateHash }) => void run.prompts.get(templateHash),
      onFailed: tell,
      troubleText: (trouble) => troubleText(session.json, door, trouble),
    });
    const { rows, resumed, unfinished } = summary;
    if (!summary.interrupted) {
      if (unfinished > 0)
        session.note(
          session.json
            ? JSON.stringify({ event: 'unfinished', items: unfinished })
            : `only time ended ${unfinished} items, no judge; the same command tries them again`,
        );
      return { kind: 'whole', resumed };
    }
    session.note(
      session.json
        ? JSON.stringify({ event: 'end', interrupted: true, rows, resumed })
        : `${rows} items sampled; interrupted; the same command goes on from here`,
    );
    return { kind: 'interrupted', code: stop.code() };
  } catch (error) {
    const { message, code } = failureOf(error, door);
    const again = code === exitCodes.usage ? '' : '\n  the same command goes on where this one stopped';
    throw new CliError(`${message}${again}`, code);
  } finally {
    await output.close();
  }
}

const otherFile = 'name another trajectories file, or remove this one to start anew';

/** The first failed rows are told at once; all of them stand in the trajectories file. */
function teller(session: Session): (error: { kind: string; message: string; line?: number }) => void {
  let told = 0;
  return ({ kind, message, line }) => {
    told++;
    if (told > limits.spctRowsToldMax) return;
    const last = told === limits.spctRowsToldMax ? '\n  further ones stand in the trajectories file' : '';
    session.note(
      session.json
        ? JSON.stringify({ event: 'row_failed', line: line ?? null, kind, message })
        : printable(`line ${line ?? '?'}: ${kind}: ${message}${last}`),
    );
  };
}
