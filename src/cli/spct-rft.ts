// grm spct rft: labelled items in, chat rows for rejective fine-tuning out, and the prompts of all items for RL.
//
// Sampling writes the trajectories file and can be interrupted anywhere; when it is whole, the rows are chosen from it at once. So the rows
// are a function of that file: choosing again (--keep-easy) samples nothing.

import { limits } from '../limits.js';
import { exitCodes, type ExitCode } from '../process/run.js';
import { RftTally, type RftReport } from '../spct/select.js';
import { promptRow, promptsHead, promptSource, rftHead, rftRow } from '../spct/training-rows.js';
import { CliError, readConfig } from './context.js';
import type { Session } from './session.js';
import { beside, checkDistinct, countsText, readTrajectories, reportHead, writeReport } from './spct-files.js';
import { Prompts } from './spct-prompts.js';
import { runSampling, type SampleFlags } from './spct-run.js';
import { stopSignals } from './stop.js';
import { checkOurs, WholeFile } from './whole-file.js';

export interface RftFlags extends SampleFlags {
  readonly out: string;
  readonly trajectories?: string;
  readonly prompts?: string;
  readonly report?: string;
  readonly keepEasy?: boolean;
}

const reportKind = 'spct_rft';

export async function rft(session: Session, items: string, flags: RftFlags): Promise<ExitCode> {
  const { out, prompts, report, keepEasy = false } = flags;
  const trajectories = flags.trajectories ?? beside(out, 'trajectories');
  if (flags.samples === 1 && !keepEasy) {
    const words = '--samples 1: of one trajectory, a correct one always makes the item too easy; give 2 or more';
    throw new CliError(`${words}, or --keep-easy`, exitCodes.usage);
  }
  const written = { '--out': out, '--trajectories': trajectories, '--prompts': prompts, '--report': report };
  checkDistinct({ 'the items': items, ...written });
  await checkOurs(out, rftHead);
  if (prompts !== undefined) await checkOurs(prompts, promptsHead);
  if (report !== undefined) await checkOurs(report, reportHead(reportKind));
  const resolved = readConfig(session.options);
  const templates = await Prompts.load(resolved.config);
  const run = { session, resolved, items, trajectories, flags, prompts: templates, stop: stopSignals() };
  const sampled = await runSampling({ ...run, whose: 'grm spct rft' });
  if (sampled.kind === 'interrupted') return sampled.code;

  const tally = new RftTally(keepEasy, limits.spctDomainsMax);
  const rows = await writeRows({ out, prompts }, trajectories, tally, templates);
  const counts = tally.report();
  if (report !== undefined) await writeReport(report, reportKind, counts);
  if (session.json) {
    const { resumed } = sampled;
    session.note(JSON.stringify({ event: 'end', interrupted: false, resumed, ...rows, report: counts }));
  } else {
    const asked = prompts === undefined ? '' : `, ${rows.prompts} prompts in ${prompts}`;
    session.note(summary(counts, sampled.resumed));
    session.note(`${rows.rows} rows in ${out}${asked}, all trajectories in ${trajectories}`);
  }
  return Object.keys(counts.items.failed).length > 0 ? exitCodes.failure : exitCodes.ok;
}

interface RowCounts {
  rows: number;
  prompts: number;
}

/** Both files from one reading of the trajectories. */
async function writeRows(
  { out, prompts }: { readonly out: string; readonly prompts: string | undefined },
  trajectories: string,
  tally: RftTally,
  templates: Prompts,
): Promise<RowCounts> {
  const written: RowCounts = { rows: 0, prompts: 0 };
  const files: WholeFile[] = [];
  const open = async (path: string, head: string): Promise<WholeFile> => {
    const file = await WholeFile.open(path, head);
    files.push(file);
    return file;
  };
  try {
    const chats = await open(out, rftHead);
    const asked = prompts === undefined ? undefined : await open(prompts, promptsHead);
    for await (const record of readTrajectories(trajectories)) {
      const kept = tally.add(record);
      if (record.kind !== 'sampled') continue;
      for (const each of kept) {
        await chats.write(`${JSON.stringify(rftRow(record, each, templates.get(each.sample.templateHash)))}\n`);
        written.rows++;
      }
      const source = asked && promptSource(record);
      if (!asked || !source) continue;
      await asked.write(`${JSON.stringify(promptRow(record, source, templates.get(source.sample.templateHash)))}\n`);
      written.prompts++;
    }
    for (const file of files) await file.finish();
    return written;
  } catch (error) {
    for (const file of files) await file.drop();
    throw error;
  }
}

function summary({ items, plain, hinted }: RftReport, resumed: number): string {
  const earlier = resumed > 0 ? ` (${resumed} from an earlier run)` : '';
  const failed = Object.keys(items.failed).length > 0 ? `, failed: ${countsText(items.failed)}` : '';
  const of = (name: string, counts: RftReport['plain']): string =>
    `${name} ${counts.accepted} of ${counts.drawn} accepted, ${counts.too_easy} too easy; ` +
    `rejected: ${countsText(counts.rejected)}; invalid: ${countsText(counts.invalid)}`;
  return [
    `${items.rows} items${earlier}: ${items.kept} kept, ${items.too_easy} too easy, ${items.none_correct} without a correct trajectory, ` +
      `${items.no_unique_best} without one best response${failed}`,
    of('trajectories:', plain),
    ...(hinted.drawn > 0 ? [of('with a hint:', hinted)] : []),
  ].join('\n');
}
