// Judged: who judged the rows of a run, and of the runs before it. Scores of two judges do not compare, so a file never gets both without a word.

import { isFake, isKnown, judgeWords, unknownJudgeId, type Judge } from '../grm/judge.js';
import type { Verdict } from '../grm/verdict.js';
import type { Fault } from '../fault.js';
import { limits } from '../limits.js';
import { exitCodes } from '../process/run.js';
import { CliError } from './context.js';
import { oneLine } from './printable.js';
import type { RowClass } from './row-kind.js';

const scoreAdvice = 'give another --out, or go on all the same with --allow-judge-change';
const changeAdvice =
  '--fresh draws anew, also for rows with a key; --allow-judge-change takes what another judge said; with another --out all rows are scored by one judge';

/** Columns of a row: whether the verdict was there before, and whose it is. `EarlierJudges` reads them back. */
export function judgeColumns({ stored, judge }: Verdict): Record<string, unknown> {
  return { stored: stored === true, ...judgeColumn(judge) };
}

/** Whose it is, alone. */
export function judgeColumn(judge: Judge | undefined): Record<string, unknown> {
  if (!judge) return { judge: null };
  const { id, models, template, templateHash, meta } = judge;
  const column = {
    id,
    name: judgeWords(judge),
    models: models.map(({ model }) => model),
    template,
    template_hash: templateHash,
    meta_models: meta?.map(({ model }) => model) ?? null,
    fake: isFake(judge),
  };
  return { judge: column };
}

/** How many verdicts of a run were there before it, and whose they all are. */
export class JudgeTally {
  readonly #byName = new Map<string, { id: string; verdicts: number; stored: number }>();

  note({ judge, stored }: Verdict): void {
    const name = judgeWords(judge);
    let its = this.#byName.get(name);
    if (!its) {
      if (this.#byName.size >= limits.judgesNamedMax) return;
      this.#byName.set(name, (its = { id: judge?.id ?? unknownJudgeId, verdicts: 0, stored: 0 }));
    }
    its.verdicts += 1;
    if (stored) its.stored += 1;
  }

  get stored(): number {
    return [...this.#byName.values()].reduce((sum, { stored }) => sum + stored, 0);
  }

  json(): readonly Record<string, unknown>[] {
    return [...this.#byName].map(([name, its]) => ({ ...its, name }));
  }

  /** A line for each judge; empty where nothing was judged. */
  text(): string {
    return [...this.#byName]
      .map(([name, { verdicts, stored }]) => {
        const from = stored === 0 ? 'none' : stored === verdicts ? 'all' : `${stored}`;
        return `${verdicts} judged by ${oneLine(name, 200)}; ${from} of them from the store`;
      })
      .join('\n');
  }
}

/** In every row of ours; nothing that is carried over from the input stands like this. */
const judgeOfRow =
  /(?:"request_id":"r[0-9a-f]{32}","stored":(?:true|false)|"input":"[0-9a-f]{16}"(?:,"retry":true)?),"judge":(?:null|\{"id":"([^"]{1,64})","name":"([^"]{1,300})")/;

/** Who judged the rows that an output holds already: of each judge the first row is asked for again, in thought. */
export class EarlierJudges {
  #rows = 0;
  readonly #ids = new Set<string>();
  readonly #first = new Map<number, { readonly id: string; readonly name: string }>();

  /** Takes the rows in order. @param text the row, or its beginning */
  take(text: string, kind: RowClass): void {
    const row = this.#rows++;
    // Nobody judged it, or it is asked for again.
    if (kind === 'failed' || kind === 'unfinished') return;
    const found = judgeOfRow.exec(text);
    const [id = '', name = ''] = found?.slice(1) ?? [];
    if (this.#ids.has(id) || this.#ids.size >= limits.judgesNamedMax) return;
    this.#ids.add(id);
    // latin1, as the rows of an output are looked at.
    this.#first.set(row, { id, name: Buffer.from(name, 'latin1').toString() });
  }

  /** Throws CliError where that row of the output is by another judge than would judge it now. */
  async check(row: number, judgeNow: () => Promise<Judge>, advice: string = scoreAdvice): Promise<void> {
    const earlier = this.#first.get(row);
    if (earlier === undefined || earlier.id === unknownJudgeId) return;
    const now = await judgeNow();
    if (!isKnown(now) || now.id === earlier.id) return;
    const before = earlier.id === '' ? 'nobody knows whom (an older version wrote it)' : earlier.name;
    throw new CliError(
      `row ${row} of the output was judged by ${before}, and now ${judgeWords(now)} judges: ${advice}`,
      exitCodes.usage,
    );
  }
}

/** Ends a run whose judge is not the one that it began with, or not that of a row's key. */
export function endIfChanged(
  result: { readonly kind: string; readonly fault?: Fault },
  advice: string = changeAdvice,
): void {
  if (result.kind !== 'fault' || result.fault?.kind !== 'judge_changed') return;
  throw new CliError(`${result.fault.message}\n  ${advice}`, exitCodes.usage);
}
