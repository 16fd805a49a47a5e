// Render: a verdict for people (terminal) and for programs (JSONL rows).

import Table from 'cli-table3';
import pc from 'picocolors';
import type { Content } from '../grm/query.js';
import type { JudgedSample, Verdict } from '../grm/verdict.js';

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

export function table(head: readonly string[], rows: readonly (readonly (string | number)[])[]): string {
  const made = new Table({ ...plainTable, head: head.map((each) => pc.dim(each)) });
  for (const row of rows) made.push([...row]);
  return made.toString();
}

/** One output row of `grm score`; numbers are null when the verdict is invalid. */
export function verdictRow(verdict: Verdict, samples: boolean): Record<string, unknown> {
  const valid = verdict.kind === 'valid' ? verdict : undefined;
  return {
    request_id: verdict.requestId,
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
    prompt_tokens: verdict.usage.promptTokens,
    completion_tokens: verdict.usage.completionTokens,
    duration_ms: verdict.durationMs,
    ...(samples && { samples: verdict.samples.map(sampleRow) }),
  };
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
  const lines = [`${pc.bold(title)}  ${pc.dim(verdict.requestId)}`];
  if (content) lines.push(`  ${pc.dim('query')}  ${oneLine(content.messages.at(-1)?.content ?? '', 100)}`);
  if (verdict.kind === 'invalid') {
    lines.push(`  ${pc.red('INVALID')} ${verdict.reason}: ${verdict.kValid} of ${verdict.k} samples are valid`);
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

function facts(verdict: Extract<Verdict, { kind: 'valid' }>): string {
  const parts = [`${verdict.vote}, ${verdict.kKept} of ${verdict.kValid} valid of ${verdict.k} samples kept`];
  if (verdict.tie) parts.push(pc.yellow('tie'));
  if (verdict.margin !== undefined) parts.push(`margin ${verdict.margin.toFixed(2)}`);
  if (verdict.agreement !== undefined) parts.push(`agreement ${(verdict.agreement * 100).toFixed(0)}%`);
  if (verdict.degraded.length > 0) parts.push(pc.yellow(`degraded: ${verdict.degraded.join(', ')}`));
  return pc.dim(parts.join('  '));
}

/** Everything: the summary, the vote table, and each sample's principles and critique. */
export function verdictInFull(verdict: Verdict, content: Content | undefined): string {
  const lines = [verdictSummary('verdict', verdict, content), ''];
  const names = Array.from({ length: verdict.responses }, (_, index) => `[${index}]`);
  lines.push(
    table(
      ['sample', ...names, 'meta', 'kept', 'shown as', 'seed', 'tokens', 'ms', 'worker', 'model'],
      verdict.samples.map(({ sample, metaReward, kept }) => [
        sample.index,
        ...(sample.kind === 'scored' ? sample.scores.map(number) : names.map(() => '-')),
        metaReward === undefined ? '-' : metaReward.toFixed(3),
        kept === 'kept' ? pc.green('kept') : sample.kind === 'invalid' ? pc.red(sample.reason) : kept,
        sample.permutation.join(' '),
        sample.seed,
        sample.usage.completionTokens,
        sample.engineMs,
        sample.worker,
        sample.model,
      ]),
    ),
  );
  for (const judged of verdict.samples) lines.push('', sampleInFull(judged));
  lines.push(
    '',
    pc.dim(
      `template ${verdict.templateHash.slice(0, 12)}  models ${verdict.models.join(', ')}  meta ${verdict.metaModel || '-'}  ${verdict.durationMs} ms`,
    ),
  );
  return lines.join('\n');
}

export function sampleInFull({ sample, kept }: JudgedSample): string {
  const head = `${pc.bold(`sample ${sample.index}`)}  ${sample.kind === 'scored' ? sample.scores.map(number).join(' / ') : pc.red(`${sample.reason}: ${sample.detail}`)}  ${pc.dim(kept)}`;
  const parts = [head];
  if (sample.principles) parts.push(pc.dim('principles'), indent(sample.principles));
  if (sample.critique) parts.push(pc.dim('critique'), indent(sample.critique));
  if (sample.kind === 'invalid' && !sample.principles && !sample.critique && sample.text)
    parts.push(pc.dim('text'), indent(sample.text));
  return parts.join('\n');
}

function number(value: number): string {
  return Number.isInteger(value) ? String(value) : value.toFixed(2);
}

function indent(text: string): string {
  return text
    .split('\n')
    .map((line) => `  ${printable(line)}`)
    .join('\n');
}

export function oneLine(text: string, widthMax: number): string {
  const line = printable(text.replace(/\s+/g, ' ').trim());
  return line.length <= widthMax ? line : `${line.slice(0, widthMax - 1)}…`;
}

/** Control characters of a model's text must not steer a terminal. */
function printable(text: string): string {
  // eslint-disable-next-line no-control-regex
  return text.replace(/[\u0000-\u0008\u000b-\u001f\u007f-\u009f]/g, '�');
}
