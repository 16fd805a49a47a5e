// Record: what sampling leaves of one item: its content, its label and every trajectory, accepted or not. One line of a trajectories file.
//
//   T1. A record is enough to render each prompt again (content, permutation, nonce, and the template by its hash), so that training rows of
//       any kind come from it without sampling twice.
//   T2. Outputs are judged when they are read, by today's parser and rule; what the file says of them is for people.
//   T3. A sampled item has no sample that the cluster lost: with one it has failed, because a broken engine says nothing about the judge.

import { Findings } from '../coordinator/findings.js';
import type { Violation } from '../fault.js';
import { makeFailedSample, makeSample } from '../grm/make-sample.js';
import type { Content } from '../grm/query.js';
import { sampleInvalidReasons, type Provenance, type Sample, type SampleInvalidReason } from '../grm/sample.js';
import { limits } from '../limits.js';
import { readItem, type Item, type ItemHead } from './item.js';
import { judge, labelColumns, type Label, type Outcome } from './label.js';

/** One generation for an item. */
export interface Trajectory {
  readonly sample: Sample;
  /** The prompt named the best response. */
  readonly hinted: boolean;
  readonly requestId: string;
  /** Of the request's prompts. */
  readonly nonce: string;
}

export interface SampledItem extends Item {
  readonly kind: 'sampled';
  readonly trajectories: readonly Trajectory[];
}

export interface FailedItem {
  readonly kind: 'failed';
  readonly id?: string;
  readonly error: {
    /** A row of docs/errors.md, or "unreadable", "malformed", "incomplete". */
    readonly kind: string;
    readonly message: string;
    /** Of the input, from 1. */
    readonly line?: number;
    readonly violations?: readonly Violation[];
  };
}

export type ItemRecord = SampledItem | FailedItem | ({ readonly kind: 'no_unique_best' } & ItemHead);

/** What becomes of one trajectory by the rule; for an invalid one why it has no scores. */
export type Finding = Outcome | SampleInvalidReason;

export function findingOf({ sample }: Trajectory, label: Label): Finding {
  return sample.kind === 'scored' ? judge(sample.scores, label) : sample.reason;
}

/** Reasons that tell of the cluster and not of the judge. A prompt that does not fit (`context_exceeded`) never will: it is an invalid output. */
const lost: readonly string[] = ['engine_failed', 'dead_letter'];

/** T3, in words: how many samples were lost, and why the first was; undefined when all were drawn. */
export function lostText(samples: readonly Sample[]): string | undefined {
  const gone = samples.flatMap((sample) => (sample.kind === 'invalid' && lost.includes(sample.reason) ? [sample] : []));
  const [first] = gone;
  if (!first) return undefined;
  const why = first.detail === '' ? first.reason : `${first.reason}: ${first.detail}`;
  return `${gone.length} of ${samples.length} samples could not be drawn (${why})`;
}

/** The record's columns, after those that place it in its file. */
export function recordColumns(record: ItemRecord): Readonly<Record<string, unknown>> {
  switch (record.kind) {
    case 'failed':
      return { id: record.id ?? null, error: record.error };
    case 'no_unique_best':
      return { id: record.id ?? null, domain: record.domain ?? null, left_out: 'no_unique_best' };
    case 'sampled': {
      const { id, domain, content, label, trajectories } = record;
      return {
        id: id ?? null,
        domain: domain ?? null,
        ...contentColumns(content),
        ...labelColumns(label),
        trajectories: trajectories.map((each) => trajectoryColumns(each, label)),
      };
    }
  }
}

function contentColumns({ messages, responses, reference, principles }: Content): Record<string, unknown> {
  return {
    query: messages,
    responses,
    reference: reference ?? null,
    principles: principles.map(({ text, weightPercent }) => ({
      text,
      ...(weightPercent !== undefined && { weight_percent: weightPercent }),
    })),
  };
}

function trajectoryColumns(trajectory: Trajectory, label: Label): Record<string, unknown> {
  const { sample, hinted, requestId, nonce } = trajectory;
  const finding = findingOf(trajectory, label);
  return {
    index: sample.index,
    hinted,
    correct: finding === 'correct',
    reason: finding === 'correct' ? null : finding,
    detail: sample.kind === 'invalid' ? sample.detail : null,
    scores: sample.kind === 'scored' ? sample.scores : null,
    permutation: sample.permutation,
    seed: sample.seed,
    request_id: requestId,
    nonce,
    template_hash: sample.templateHash,
    model: sample.model,
    finish_reason: sample.finishReason,
    prompt_tokens: sample.usage.promptTokens,
    cached_tokens: sample.usage.cachedTokens,
    completion_tokens: sample.usage.completionTokens,
    text: sample.text,
  };
}

export type ReadRecord =
  | { readonly kind: 'record'; readonly record: ItemRecord }
  | { readonly kind: 'violations'; readonly violations: readonly Violation[] };

/** Reads a line of a trajectories file. */
export function readRecord(raw: unknown): ReadRecord {
  const found = new Findings();
  const row = found.object('', raw, 'a line of a trajectories file');
  if (!row) return { kind: 'violations', violations: found.list() };
  const id = typeof row.id === 'string' ? { id: row.id } : {};
  if (row.left_out === 'no_unique_best') {
    const domain = typeof row.domain === 'string' ? { domain: row.domain } : {};
    return { kind: 'record', record: { kind: 'no_unique_best', ...id, ...domain } };
  }
  if (typeof row.error === 'object' && row.error !== null)
    return { kind: 'record', record: { kind: 'failed', ...id, error: row.error as FailedItem['error'] } };
  const read = readItem(row);
  if (read.kind === 'violations') return read;
  if (read.kind === 'no_unique_best') return { kind: 'record', record: { kind: 'no_unique_best', ...read.head } };
  const { item } = read;
  const list = found.list1('trajectories', row.trajectories, 2 * limits.kMax, 'trajectories') ?? [];
  const trajectories = list.map((each, at) => readTrajectory(each, item.label.n, `trajectories[${at}]`, found));
  if (found.any) return { kind: 'violations', violations: found.list() };
  const drawn = trajectories.filter((each) => !!each);
  const message = lostText(drawn.map(({ sample }) => sample));
  // An earlier version kept such items.
  if (message !== undefined)
    return { kind: 'record', record: { kind: 'failed', ...id, error: { kind: 'incomplete', message } } };
  return { kind: 'record', record: { kind: 'sampled', ...item, trajectories: drawn } };
}

/** Reasons that stand for an output that never came: there is no text to judge. */
const undrawn: readonly string[] = [...lost, 'context_exceeded'];

function readTrajectory(raw: unknown, n: number, path: string, found: Findings): Trajectory | undefined {
  const row = found.object(path, raw, 'a trajectory');
  if (!row) return undefined;
  const before = found.count;
  const text = (name: string): string => found.text(`${path}.${name}`, row[name]) ?? '';
  const count = (name: string): number => {
    if (row[name] === undefined || row[name] === null) found.add(`${path}.${name}`, 'nothing', 'a whole number');
    return found.integer(`${path}.${name}`, row[name], 0, Number.MAX_SAFE_INTEGER) ?? 0;
  };
  const permutation = found.list0(`${path}.permutation`, row.permutation, n, 'indexes', n) ?? [];
  const places = new Set(permutation);
  if (!Array.from({ length: n }, (_, index) => index).every((each) => places.has(each)))
    found.add(`${path}.permutation`, found.shown(row.permutation), `each of 0..${n - 1} once`);
  const provenance: Provenance = {
    permutation: permutation as readonly number[],
    seed: count('seed'),
    worker: '',
    engine: '',
    model: text('model'),
    templateHash: text('template_hash'),
    usage: {
      promptTokens: count('prompt_tokens'),
      cachedTokens: count('cached_tokens'),
      completionTokens: count('completion_tokens'),
    },
    finishReason: text('finish_reason'),
    queueMs: 0,
    engineMs: 0,
  };
  const hinted = found.boolean(`${path}.hinted`, row.hinted) ?? false;
  const reason = sampleInvalidReasons.find((each) => each === row.reason && undrawn.includes(each));
  const [index, words, requestId, nonce] = [count('index'), text('text'), text('request_id'), text('nonce')];
  if (found.count > before) return undefined;
  const detail = typeof row.detail === 'string' ? row.detail : '';
  const sample = reason ? makeFailedSample(index, reason, detail, provenance) : makeSample(index, words, provenance);
  return { sample, hinted, requestId, nonce };
}
