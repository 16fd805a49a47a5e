// grm spct meta-data: trajectories in, labelled rows for the meta RM out.
//
// The files are read twice: once to count classes and parts, once to write. What is held in between is a few dozen bytes per trajectory.

import { createHash } from 'node:crypto';
import type { MetaTemplate } from '../grm/prompt.js';
import { exitCodes, type ExitCode } from '../process/run.js';
import { loadMetaTemplate } from '../process/templates.js';
import { balance, type Balance, type Labelled, type Share } from '../spct/balance.js';
import type { SampledItem, Trajectory } from '../spct/record.js';
import { itemKey, splitOf, splits, type Split, type SplitBy } from '../spct/split.js';
import { metaHead, metaRow, type MetaRow } from '../spct/training-rows.js';
import { CliError, readConfig } from './context.js';
import type { Session } from './session.js';
import { beside, checkDistinct, readTrajectories, reportHead, writeReport } from './spct-files.js';
import { Prompts } from './spct-prompts.js';
import { runSampling, type SampleFlags } from './spct-run.js';
import { stopSignals } from './stop.js';
import { checkOurs, WholeFile } from './whole-file.js';

export interface MetaFlags extends SampleFlags {
  readonly out: string;
  readonly fresh?: string;
  readonly freshTrajectories?: string;
  readonly balance: Balance;
  readonly validation: number;
  readonly test: number;
  readonly splitBy: SplitBy;
  readonly splitSeed: number;
  readonly report?: string;
}

const reportKind = 'spct_meta';

/** What a part holds. The keys are those of the report's JSON. */
interface PartCounts {
  items: number;
  rows: number;
  correct: number;
  incorrect: number;
  /** Rows of the larger class that balancing dropped. */
  dropped: number;
  /** Sum of the weights of each class's rows. */
  weight_correct: number;
  weight_incorrect: number;
}

interface Counts {
  /** Sampled items read. */
  items: number;
  /** Items that were left out or failed when they were sampled. */
  without_trajectories: number;
  trajectories: number;
  hinted: number;
  invalid: number;
  /** The same item, order and text as another trajectory. */
  duplicates: number;
}

export async function metaData(session: Session, given: readonly string[], flags: MetaFlags): Promise<ExitCode> {
  const { out, report, fresh } = flags;
  const freshFile = fresh === undefined ? undefined : (flags.freshTrajectories ?? beside(partless(out), 'fresh'));
  if (given.length === 0 && fresh === undefined)
    throw new CliError('nothing to label: name trajectories files, or --fresh with items', exitCodes.usage);
  if (flags.validation + flags.test >= 1)
    throw new CliError('--validation and --test leave nothing for training', exitCodes.usage);
  const inputs = Object.fromEntries(given.map((path, at) => [`trajectories file ${at + 1}`, path]));
  checkDistinct({ ...inputs, '--fresh': fresh, '--fresh-trajectories': freshFile, '--out': out, '--report': report });
  for (const path of outputs(out).values()) await checkOurs(path, metaHead);
  if (report !== undefined) await checkOurs(report, reportHead(reportKind));
  const resolved = readConfig(session.options);
  const { template } = await loadMetaTemplate(resolved.config).catch((error: unknown) => {
    throw new CliError(error instanceof Error ? error.message : String(error), exitCodes.usage);
  });

  if (fresh !== undefined && freshFile !== undefined) {
    const prompts = await Prompts.load(resolved.config);
    const run = { session, resolved, items: fresh, trajectories: freshFile, flags, prompts, stop: stopSignals() };
    const sampled = await runSampling({ ...run, whose: 'grm spct meta-data' });
    if (sampled.kind === 'interrupted') return sampled.code;
  }

  const files = [...given, ...(freshFile === undefined ? [] : [freshFile])];
  const labels = await label(files, template, flags);
  const shares = balance(labels.rows, flags.balance, flags.splitSeed);
  const parts = await write(files, template, flags, labels, shares);
  const warnings = warningsOf(parts, flags);
  if (report !== undefined)
    await writeReport(report, reportKind, { ...labels.counts, balance: flags.balance, parts, warnings });
  if (session.json) session.note(JSON.stringify({ event: 'end', ...labels.counts, parts, warnings }));
  else session.note(summary(labels.counts, parts, warnings, out));
  return exitCodes.ok;
}

/** "meta-{split}.jsonl" is a file per part; a name without {split} is one file for all. */
function outputs(out: string): ReadonlyMap<Split, string> {
  return new Map(splits.map((split) => [split, out.replaceAll('{split}', split)]));
}

function partless(out: string): string {
  return out.replace(/[-_.]?\{split\}/g, '');
}

interface Labels {
  readonly rows: readonly Labelled[];
  /** For each trajectory in reading order: its place in `rows`, or -1 when it makes none. */
  readonly places: readonly number[];
  readonly counts: Counts;
}

async function label(files: readonly string[], template: MetaTemplate, flags: MetaFlags): Promise<Labels> {
  const rows: Labelled[] = [];
  const places: number[] = [];
  const seen = new Set<string>();
  const counts: Counts = {
    items: 0,
    without_trajectories: 0,
    trajectories: 0,
    hinted: 0,
    invalid: 0,
    duplicates: 0,
  };
  for await (const item of sampledItems(files, () => counts.without_trajectories++)) {
    counts.items++;
    const split = partOf(item, flags);
    for (const trajectory of item.trajectories) {
      counts.trajectories++;
      const row = metaRow(item, trajectory, template);
      const key = row && keyOf(item, trajectory);
      if (!row || key === undefined || seen.has(key)) {
        places.push(-1);
        if (row) counts.duplicates++;
        else counts[trajectory.hinted ? 'hinted' : 'invalid']++;
        continue;
      }
      seen.add(key);
      places.push(rows.length);
      rows.push({ key, label: row.label, split });
    }
  }
  return { rows, places, counts };
}

async function write(
  files: readonly string[],
  template: MetaTemplate,
  flags: MetaFlags,
  { places }: Labels,
  shares: readonly Share[],
): Promise<Record<Split, PartCounts>> {
  const parts = { train: newPart(), validation: newPart(), test: newPart() };
  const items = { train: new Set<string>(), validation: new Set<string>(), test: new Set<string>() };
  const named = outputs(flags.out);
  const opened = new Map<string, WholeFile>();
  try {
    for (const path of new Set(named.values())) opened.set(path, await WholeFile.open(path, metaHead));
    let at = 0;
    for await (const item of sampledItems(files, () => undefined)) {
      const split = partOf(item, flags);
      const part = parts[split];
      for (const trajectory of item.trajectories) {
        const place = places[at++];
        const share = place === undefined ? undefined : shares[place];
        if (!share) continue;
        if (!share.kept) {
          part.dropped++;
          continue;
        }
        const row = metaRow(item, trajectory, template);
        if (!row) continue;
        count(part, row, share.weight);
        items[split].add(itemKey(item.content));
        const columns = row.columns(split, share.weight);
        await opened.get(named.get(split)!)!.write(`${JSON.stringify(columns)}\n`);
      }
    }
    for (const file of opened.values()) await file.finish();
  } catch (error) {
    for (const file of opened.values()) await file.drop();
    throw error;
  }
  for (const split of splits) parts[split].items = items[split].size;
  return parts;
}

async function* sampledItems(
  files: readonly string[],
  onOther: () => void,
): AsyncGenerator<SampledItem, void, undefined> {
  for (const file of files) {
    for await (const record of readTrajectories(file)) {
      if (record.kind === 'sampled') yield record;
      else onOther();
    }
  }
}

function partOf(item: SampledItem, { splitBy, splitSeed, validation, test }: MetaFlags): Split {
  return splitOf(itemKey(item.content, splitBy), splitSeed, { validation, test });
}

/** The same for what would be the same row: an item that was sampled twice may have drawn the same words twice. */
function keyOf({ content }: SampledItem, { sample }: Trajectory): string {
  const parts = JSON.stringify([itemKey(content), content, sample.permutation, sample.text]);
  return createHash('sha256').update(parts).digest('base64').slice(0, 20);
}

function newPart(): PartCounts {
  return { items: 0, rows: 0, correct: 0, incorrect: 0, dropped: 0, weight_correct: 0, weight_incorrect: 0 };
}

function count(part: PartCounts, { label: its }: MetaRow, weight: number): void {
  part.rows++;
  part[its === 1 ? 'correct' : 'incorrect']++;
  part[its === 1 ? 'weight_correct' : 'weight_incorrect'] += weight;
}

function warningsOf(parts: Record<Split, PartCounts>, flags: MetaFlags): string[] {
  const wanted = splits.filter((split) => split === 'train' || flags[split] > 0);
  return wanted.flatMap((split) => {
    const { rows, correct, incorrect } = parts[split];
    if (rows === 0) return [`${split}: no rows`];
    if (correct === 0 || incorrect === 0)
      return [
        `${split}: only ${correct === 0 ? 'incorrect' : 'correct'} rows: nothing to balance, and nothing to learn`,
      ];
    return [];
  });
}

function summary(counts: Counts, parts: Record<Split, PartCounts>, warnings: readonly string[], out: string): string {
  const { items, trajectories, hinted, invalid, duplicates } = counts;
  return [
    `${items} items, ${trajectories} trajectories; left out: ${hinted} hinted, ${invalid} invalid, ${duplicates} duplicates`,
    ...splits.map((split) => {
      const { rows, items: inPart, correct, incorrect, dropped } = parts[split];
      const balanced = dropped > 0 ? `, ${dropped} dropped` : '';
      return `${split}: ${rows} rows of ${inPart} items, ${correct} correct, ${incorrect} incorrect${balanced}`;
    }),
    ...warnings.map((warning) => `warning: ${warning}`),
    `written to ${out}`,
  ].join('\n');
}
