// grm spct rft: labelled items in, chat rows for rejective fine-tuning out.
//
// Sampling writes the trajectories file and can be interrupted anywhere; when it is whole, the rows are chosen from it at once. So the rows
// are a function of that file: choosing again (--keep-easy) samples nothing.

import { limits } from '../limits.js';
import { exitCodes, type ExitCode } from '../process/run.js';
import { RftTally, type RftReport } from '../spct/select.js';
import { rftHead, rftRow } from '../spct/training-rows.js';
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
  readonly report?: string;
  readonly keepEasy?: boolean;
}

const reportKind = 'spct_rft';

export async function rft(session: Session, items: string, flags: RftFlags): Promise<ExitCode> {
  const { out, report, keepEasy = false } = flags;
  const trajectories = flags.trajectories ?? beside(out, 'trajectories');
  if (flags.samples === 1 && !keepEasy) {
    const words = '--samples 1: of one trajectory, a correct one always makes the item too easy; give 2 or more';
    throw new CliError(`${words}, or --keep-easy`, exitCodes.usage);
  }
  checkDistinct({ 'the items': items, '--out': out, '--trajectories': trajectories, '--report': report });
  await checkOurs(out, rftHead);
  if (report !== undefined) await checkOurs(report, reportHead(reportKind));
  const resolved = readConfig(session.options);
  const prompts = await Prompts.load(resolved.config);
  const stop = stopSignals();
  const whose = 'grm spct rft';
  const sampled = await runSampling({ session, resolved, items, trajectories, whose, flags, prompts, stop });
  if (sampled.kind === 'interrupted') return sampled.code;

  const tally = new RftTally(keepEasy, limits.spctDomainsMax);
  const rows = await writeRows(out, trajectories, tally, prompts);
  const counts = tally.report();
  if (report !== undefined) await writeReport(report, reportKind, counts);
  if (session.json) {
    session.note(JSON.stringify({ event: 'end', interrupted: false, resumed: sampled.resumed, rows, report: counts }));
  } else session.note(summary(counts, sampled.resumed, rows, out, trajectories));
  return Object.keys(counts.items.failed).length > 0 ? exitCodes.failure : exitCodes.ok;
}

async function writeRows(out: string, trajectories: string, tally: RftTally, prompts: Prompts): Promise<number> {
  const file = await WholeFile.open(out, rftHead);
  let rows = 0;
  try {
    for await (const record of readTrajectories(trajectories)) {
      for (const kept of tally.add(record)) {
        if (record.kind !== 'sampled') continue;
        await file.write(`${JSON.stringify(rftRow(record, kept, prompts.get(kept.sample.templateHash)))}\n`);
        rows++;
      }
    }
    await file.finish();
    return rows;
  } catch (error) {
    await file.drop();
    throw error;
  }
}

function summary({ items, plain, hinted }: RftReport, resumed: number, rows: number, out: string, all: string): string {
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
    `${rows} rows in ${out}, all trajectories in ${all}`,
  ].join('\n');
}
