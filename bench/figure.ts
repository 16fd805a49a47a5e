// Figure: one measured number beside its ceiling from the same run, and the bar that it is held to.

export interface Bar {
  /** What is held to it: the ratio to the ceiling, or the value itself where there is no ceiling. */
  readonly of: 'ratio' | 'value';
  readonly is: 'at least' | 'at most';
  readonly limit: number;
}

/** A figure before it is measured. */
export interface FigurePlan {
  readonly name: string;
  readonly unit: string;
  /** Absent: told, not judged. */
  readonly bar?: Bar;
}

export interface Figure {
  readonly name: string;
  /** null: it was not measured (`unfinished`). */
  readonly value: number | null;
  readonly unit: string;
  /** Standard error of the value, where it was drawn at random. */
  readonly error?: number;
  /** Measured in the same run; null where there is none. */
  readonly ceiling: number | null;
  /** value / ceiling. */
  readonly ratio: number | null;
  /** In words; null: told, not judged. */
  readonly bar: string | null;
  readonly met: boolean | null;
  /** Why there is no value. */
  readonly unfinished?: string;
}

/** A module that measures. */
export interface Measurement {
  /** For `--only`. */
  readonly name: string;
  readonly title: string;
  /** What is measured and how, a sentence or two for the page. */
  readonly words: string;
  readonly notMeasured: readonly string[];
  /** What it takes on two quiet cores, seconds: for the time that is left. */
  readonly usualSeconds: number;
  /** Its part of the ten minutes that a whole run has, seconds. */
  readonly budgetSeconds: number;
  /** All that it will find, in the order in which a reader wants them. */
  readonly figures: readonly FigurePlan[];
  measure(setting: Setting): Promise<void>;
}

export interface Setting {
  /** Length of one measured stretch. */
  readonly seconds: number;
  /** Where processes leave their CPU profiles; undefined: none are taken. */
  readonly profileDir: string | undefined;
  readonly tell: (words: string) => void;
  /** One of `figures`, as soon as it is known: what was found stays, whatever becomes of the rest. */
  readonly found: (name: string, value: number, ceiling?: number, error?: number) => void;
}

/** A ratio to a ceiling may lie so far above 1 by noise. */
const aboveMax = 1.1;

export function figure({ name, unit, bar }: FigurePlan, value: number, ceiling?: number, error?: number): Figure {
  const ratio = ceiling === undefined ? null : value / ceiling;
  const judged = bar?.of === 'ratio' ? (ratio ?? NaN) : value;
  // What lies well above its ceiling was not measured against one: nothing is met by it.
  const hasCeiling = bar?.is !== 'at least' || ratio === null || ratio <= aboveMax;
  return {
    name,
    value,
    unit,
    ...(error !== undefined && { error }),
    ceiling: ceiling ?? null,
    ratio,
    bar: barWords(bar),
    met: bar === undefined || !hasCeiling ? null : bar.is === 'at least' ? judged >= bar.limit : judged <= bar.limit,
  };
}

/** A figure without a number. */
export function unfinished({ name, unit, bar }: FigurePlan, why: string): Figure {
  return { name, value: null, unit, ceiling: null, ratio: null, bar: barWords(bar), met: null, unfinished: why };
}

function barWords(bar: Bar | undefined): string | null {
  return bar === undefined ? null : `${bar.of} ${bar.is} ${bar.limit}`;
}

/** The value below which `share` of the sorted numbers lie; NaN of none. */
export function quantile(sorted: readonly number[], share: number): number {
  return sorted[Math.min(sorted.length - 1, Math.floor(sorted.length * share))] ?? NaN;
}

export async function latenciesMs(times: number, call: () => Promise<unknown>): Promise<readonly number[]> {
  const taken: number[] = [];
  for (let time = 0; time < times; time++) {
    const startedAt = performance.now();
    await call();
    taken.push(performance.now() - startedAt);
  }
  return taken.sort((a, b) => a - b);
}
