// Render: a verdict for people (terminal) and for programs (JSONL rows).

import Table from 'cli-table3';
import type { Content } from '../grm/query.js';
import type { JudgedSample, Missing, Stopping, ValidVerdict, Verdict } from '../grm/verdict.js';
import { judgeWords } from '../grm/judge.js';
import { judgeColumns } from './judged.js';
import { paint as pc } from './paint.js';
import { indented, oneLine, printable } from './printable.js';

const plainTable = {
  chars: {
    top: '',
    'top-mid': '',
    'top-left': '',
    'top-right': '',
    bottom: '',
    'bottom-mid': '',
    'bottom-left': '',
    'bottom-right': '',
    left: '',
    'left-mid': '',
    mid: '',
    'mid-mid': '',
    right: '',
    'right-mid': '',
    middle: '  ',
  },
  style: { 'padding-left': 0, 'padding-right': 0, head: [], border: [] },
};

/** Cells may be anybody's texts: they stay on one line and steer nothing. Ours may hold colours: those are `painted`. */
export type Cell = string | number | { readonly painted: string };

const cellCharsMax = 200;

export function table(head: readonly string[], rows: readonly (readonly Cell[])[]): string {
  const made = new Table({ ...plainTable, head: head.map((each) => pc.dim(each)) });
  for (const row of rows) {
    made.push(
      row.map((cell) =>
        typeof cell === 'object' ? cell.painted : typeof cell === 'number' ? cell : oneLine(cell, cellCharsMax),
      ),
    );
  }
  return made
    .toString()
    .split('\n')
    .map((line) => line.trimEnd())
    .join('\n');
}

/** Keys of a row that `grm score` says itself; a column of the input with such a name is not carried over. */
export const resultColumns: ReadonlySet<string> = new Set([
  'row',
  'input',
  'retry',
  'id',
  'request_id',
  'stored',
  'judge',
  'rewards',
  'votes',
  'ranking',
  'best',
  'tie',
  'margin',
  'agreement',
  'invalid_reason',
  'k',
  'k_valid',
  'k_kept',
  'vote',
  'degraded',
  'stopped',
  'k_drawn',
  'samples_saved',
  'missing',
  'prompt_tokens',
  'completion_tokens',
  'duration_ms',
  'samples',
  'error',
]);

/** One output row of `grm score`; numbers are null when the verdict is invalid. */
export function verdictRow(verdict: Verdict, samples: boolean): Record<string, unknown> {
  const valid = verdict.kind === 'valid' ? verdict : undefined;
  return {
    request_id: verdict.requestId,
    ...judgeColumns(verdict),
    rewards: valid
      ? valid.rewards.map((reward) => reward.value)
      : Array.from({ length: verdict.responses }, () => null),
    votes: valid ? valid.rewards.map((reward) => reward.vote) : null,
    ranking: valid ? valid.ranking : null,
    best: valid?.best ?? null,
    tie: valid?.tie ?? null,
    margin: valid?.margin ?? null,
    agreement: valid?.agreement ?? null,
    invalid_reason: verdict.kind === 'invalid' ? verdict.reason : null,
    k: verdict.k,
    k_valid: verdict.kValid,
    k_kept: verdict.kKept,
    vote: verdict.vote,
    degraded: verdict.degraded,
    ...stoppingColumns(verdict.stopping),
    ...(verdict.missing && { missing: missingColumn(verdict.missing) }),
    prompt_tokens: verdict.usage.promptTokens,
    completion_tokens: verdict.usage.completionTokens,
    duration_ms: verdict.durationMs,
    ...(samples && { samples: verdict.samples.map(sampleRow) }),
  };
}

/** Only of rows that had a rule to stop by. */
function stoppingColumns(stopping: Stopping | undefined): Record<string, unknown> {
  if (stopping === undefined) return {};
  const { stopped, kDrawn, samplesSaved } = stopping;
  return { stopped: stopped ?? null, k_drawn: kDrawn, samples_saved: samplesSaved };
}

/** Only of rows whose time ran out. */
function missingColumn({ notAsked, waiting, unfinished, why }: Missing): Record<string, unknown> {
  return { not_asked: notAsked, waiting, unfinished, ...(why !== undefined && { why }) };
}

function sampleRow({ sample, metaReward, kept }: JudgedSample): Record<string, unknown> {
  return {
    index: sample.index,
    scores: sample.kind === 'scored' ? sample.scores : null,
    invalid_reason: sample.kind === 'invalid' ? sample.reason : null,
    invalid_detail: sample.kind === 'invalid' ? sample.detail : null,
    meta_reward: metaReward ?? null,
    kept,
    permutation: sample.permutation,
    seed: sample.seed,
    model: sample.model,
    worker: sample.worker,
    engine: sample.engine,
    finish_reason: sample.finishReason,
    principles: sample.principles,
    critique: sample.critique,
    text: sample.text,
  };
}

/** A few lines: responses by rank with their rewards. */
export function verdictSummary(title: string, verdict: Verdict, content: Content | undefined): string {
  const lines = [`${pc.bold(oneLine(title, 100))}  ${pc.dim(oneLine(verdict.requestId, 100))}`];
  if (content) lines.push(`  ${pc.dim('query')}  ${oneLine(content.messages.at(-1)?.content ?? '', 100)}`);
  if (verdict.kind === 'invalid') {
    lines.push(`  ${pc.red('INVALID')} ${verdict.reason}: ${verdict.kValid} of ${verdict.k} samples are valid`);
    if (verdict.degraded.length > 0) lines.push(`  ${pc.yellow(`degraded: ${verdict.degraded.join(', ')}`)}`);
    if (verdict.missing) lines.push(`  ${pc.yellow(missingWords(verdict.missing))}`);
  } else {
    for (const index of verdict.ranking) {
      const reward = verdict.rewards[index]!;
      const text = content?.responses[index];
      const score = `${reward.value.toFixed(2).padStart(5)}  ${pc.dim(`vote ${number(reward.vote)}`)}`;
      lines.push(`  ${reward.rank}. [${index}]  ${score}${text === undefined ? '' : `  ${oneLine(text, 84)}`}`);
    }
    lines.push(`  ${facts(verdict)}`);
  }
  return lines.join('\n');
}

function facts(verdict: ValidVerdict): string {
  const parts = [`${verdict.vote}, ${verdict.kKept} of ${verdict.kValid} valid of ${verdict.k} samples kept`];
  if (verdict.stopping) parts.push(stoppingWords(verdict.stopping));
  if (verdict.tie) parts.push(pc.yellow('tie'));
  if (verdict.margin !== undefined) parts.push(`margin ${verdict.margin.toFixed(2)}`);
  if (verdict.agreement !== undefined) parts.push(`agreement ${(verdict.agreement * 100).toFixed(0)}%`);
  if (verdict.stored) parts.push(pc.yellow('from the store'));
  if (verdict.degraded.length > 0) parts.push(pc.yellow(`degraded: ${verdict.degraded.join(', ')}`));
  if (verdict.missing) parts.push(pc.yellow(missingWords(verdict.missing)));
  return pc.dim(parts.join('  '));
}

function missingWords({ notAsked, waiting, unfinished, why }: Missing): string {
  const words = [
    [unfinished, 'in the queue or at an engine'],
    [waiting, 'waiting at the coordinator'],
    [notAsked, 'not asked for'],
  ] as const;
  const told = words.flatMap(([count, where]) => (count > 0 ? [`${count} ${where}`] : []));
  return `time ran out with ${told.join(', ')}${why === undefined ? '' : `: ${oneLine(why, 300)}`}`;
}

function stoppingWords({ stop, stopped, kDrawn, samplesSaved }: Stopping): string {
  if (stopped === undefined) return `stop ${stop.rule}: drew on to the end`;
  const level = stopped === 'confident' && stop.rule === 'confident' ? ` at error ${stop.error}` : '';
  return `stopped: ${stopped}${level} after ${kDrawn} samples, ${samplesSaved} saved`;
}

/** Everything: the summary, the vote table, and each sample's principles and critique. */
export function verdictInFull(verdict: Verdict, content: Content | undefined): string {
  const names = Array.from({ length: verdict.responses }, (_, index) => `[${index}]`);
  const lines = [
    verdictSummary('verdict', verdict, content),
    '',
    pc.bold('vote'),
    table(
      ['sample', ...names, ...voteColumns],
      [...verdict.samples.map((judged) => voteRow(judged, names)), ...totals(verdict)],
    ),
  ];
  for (const judged of verdict.samples) lines.push('', sampleInFull(judged));
  const { templateHash, models, metaModel, durationMs, usage, judge, stored } = verdict;
  const origin = `template ${templateHash.slice(0, 12)}  models ${models.join(', ') || '-'}  meta ${metaModel || '-'}`;
  const cost = `${usage.promptTokens} prompt tokens (${usage.cachedTokens} cached), ${usage.completionTokens} generated, ${durationMs} ms`;
  const judged = `judged by ${judgeWords(judge)}${stored ? ', from the store' : ''}`;
  lines.push('', pc.dim(printable(judged)), pc.dim(printable(`${origin}  ${cost}`)));
  return lines.join('\n');
}

const voteColumns = ['meta', 'kept', 'shown as', 'seed', 'tokens', 'ms', 'worker', 'model'] as const;

function voteRow({ sample, metaReward, kept }: JudgedSample, names: readonly string[]): Cell[] {
  const painted = kept === 'kept' ? pc.green('kept') : sample.kind === 'invalid' ? pc.red(sample.reason) : pc.dim(kept);
  return [
    sample.index,
    ...(sample.kind === 'scored' ? sample.scores.map(number) : names.map(() => '-')),
    metaReward === undefined ? '-' : metaReward.toFixed(3),
    { painted },
    sample.permutation.join(' '),
    sample.seed,
    sample.usage.completionTokens,
    sample.engineMs,
    sample.worker,
    sample.model,
  ];
}

/** Under the samples: what the vote made of the kept ones. */
function totals(verdict: Verdict): Cell[][] {
  if (verdict.kind === 'invalid') return [];
  const { rewards } = verdict;
  const row = (name: string, values: readonly string[]): Cell[] => [
    ...[name, ...values].map((text) => ({ painted: pc.bold(text) })),
    ...Array.from({ length: voteColumns.length }, () => ''),
  ];
  return [
    row(
      'vote',
      rewards.map(({ vote }) => number(vote)),
    ),
    row(
      'reward',
      rewards.map(({ value }) => number(value)),
    ),
    row(
      'rank',
      rewards.map(({ rank }) => String(rank)),
    ),
  ];
}

function sampleInFull({ sample, kept }: JudgedSample): string {
  const result =
    sample.kind === 'scored'
      ? sample.scores.map(number).join(' / ')
      : pc.red(oneLine(`${sample.reason}: ${sample.detail}`, 400));
  const parts = [`${pc.bold(`sample ${sample.index}`)}  ${result}  ${pc.dim(kept)}`];
  if (sample.principles) parts.push(pc.dim('principles'), indented(sample.principles));
  if (sample.critique) parts.push(pc.dim('critique'), indented(sample.critique));
  if (sample.kind === 'invalid' && !sample.principles && !sample.critique && sample.text)
    parts.push(pc.dim('text'), indented(sample.text));
  return parts.join('\n');
}

function number(value: number): string {
  return Number.isInteger(value) ? String(value) : value.toFixed(2);
}
