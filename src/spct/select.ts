// Select: rejective fine-tuning's choice among the trajectories of an item (arXiv 2504.02495).
//
//   S1. An incorrect trajectory is never kept; an invalid one is incorrect.
//   S2. When every trajectory drawn without a hint is correct, those are dropped: the item is too easy to teach anything. Samples that the
//       cluster lost would hide that; no sampled item has them (record.ts, T3).
//   S3. A hinted trajectory is rejected only if incorrect.

import { outcomes } from './label.js';
import { findingOf, type Finding, type ItemRecord, type SampledItem, type Trajectory } from './record.js';

export interface Selection {
  readonly kept: readonly Trajectory[];
  readonly tooEasy: boolean;
}

/** @param keepEasy leaves S2 out: for measuring what it is worth */
export function select(item: SampledItem, keepEasy = false): Selection {
  const correct = item.trajectories.filter((each) => findingOf(each, item.label) === 'correct');
  const drawn = item.trajectories.filter(({ hinted }) => !hinted).length;
  const own = correct.filter(({ hinted }) => !hinted);
  const tooEasy = drawn > 0 && own.length === drawn;
  return { kept: tooEasy && !keepEasy ? correct.filter(({ hinted }) => hinted) : correct, tooEasy };
}

/** What became of some trajectories; they add up to `drawn`. */
export interface TrajectoryCounts {
  drawn: number;
  accepted: number;
  /** Correct, and dropped with its item. */
  too_easy: number;
  /** By reason: wrong_best, tie, wrong_score. */
  rejected: Record<string, number>;
  /** By reason: no_box, wrong_count, ... */
  invalid: Record<string, number>;
}

/** What became of some items; they add up to `rows`. */
export interface ItemCounts {
  rows: number;
  /** At least one trajectory is kept. */
  kept: number;
  /** Too easy, and nothing of it kept. */
  too_easy: number;
  /** No trajectory is correct. */
  none_correct: number;
  no_unique_best: number;
  /** Malformed rows and requests that failed, by kind of error. */
  failed: Record<string, number>;
}

export interface Tokens {
  prompt: number;
  cached: number;
  completion: number;
}

interface DomainCounts {
  items: ItemCounts;
  plain: TrajectoryCounts;
  hinted: TrajectoryCounts;
}

/** The keys are those of the report's JSON. */
export interface RftReport extends DomainCounts {
  tokens: Tokens;
  domains: Record<string, DomainCounts>;
  models: string[];
  template_hashes: string[];
}

/** Adds up records, and chooses from each. */
export class RftTally {
  readonly #all = newCounts();
  readonly #domains = new Map<string, DomainCounts>();
  readonly #tokens: Tokens = { prompt: 0, cached: 0, completion: 0 };
  readonly #models = new Set<string>();
  readonly #templates = new Set<string>();

  constructor(
    private readonly keepEasy: boolean,
    /** Domains counted apart; further ones are counted together. */
    private readonly domainsMax: number,
  ) {}

  /** What is kept of the record. */
  add(record: ItemRecord): readonly Trajectory[] {
    const domain = this.#domain(record.kind === 'failed' ? undefined : record.domain);
    const counts = [this.#all, domain];
    for (const { items } of counts) items.rows++;
    if (record.kind === 'failed') {
      for (const { items } of counts) increment(items.failed, record.error.kind);
      return [];
    }
    if (record.kind === 'no_unique_best') {
      for (const { items } of counts) items.no_unique_best++;
      return [];
    }
    const { kept, tooEasy } = select(record, this.keepEasy);
    const outcome = kept.length > 0 ? 'kept' : tooEasy ? 'too_easy' : 'none_correct';
    for (const { items } of counts) items[outcome]++;
    const chosen = new Set(kept);
    for (const trajectory of record.trajectories) {
      const finding = findingOf(trajectory, record.label);
      for (const { plain, hinted } of counts)
        count(trajectory.hinted ? hinted : plain, finding, chosen.has(trajectory));
      this.#note(trajectory);
    }
    return kept;
  }

  report(): RftReport {
    return {
      ...this.#all,
      tokens: this.#tokens,
      domains: Object.fromEntries([...this.#domains].sort(([a], [b]) => (a < b ? -1 : 1))),
      models: [...this.#models].sort(),
      template_hashes: [...this.#templates].sort(),
    };
  }

  #domain(name = 'none'): DomainCounts {
    const key = this.#domains.has(name) || this.#domains.size < this.domainsMax ? name : 'other';
    let counts = this.#domains.get(key);
    if (!counts) this.#domains.set(key, (counts = newCounts()));
    return counts;
  }

  #note({ sample }: Trajectory): void {
    this.#tokens.prompt += sample.usage.promptTokens;
    this.#tokens.cached += sample.usage.cachedTokens;
    this.#tokens.completion += sample.usage.completionTokens;
    if (sample.model !== '') this.#models.add(sample.model);
    if (sample.templateHash !== '') this.#templates.add(sample.templateHash);
  }
}

const wrong: readonly Finding[] = outcomes;

function count(counts: TrajectoryCounts, finding: Finding, kept: boolean): void {
  counts.drawn++;
  if (finding === 'correct') counts[kept ? 'accepted' : 'too_easy']++;
  else increment(wrong.includes(finding) ? counts.rejected : counts.invalid, finding);
}

function increment(counts: Record<string, number>, key: string): void {
  counts[key] = (counts[key] ?? 0) + 1;
}

function newCounts(): DomainCounts {
  const trajectories = (): TrajectoryCounts => ({ drawn: 0, accepted: 0, too_easy: 0, rejected: {}, invalid: {} });
  return {
    items: { rows: 0, kept: 0, too_easy: 0, none_correct: 0, no_unique_best: 0, failed: {} },
    plain: trajectories(),
    hinted: trajectories(),
  };
}
