// Figure: one measured number beside its ceiling from the same run, and the bar that it is held to.

export interface Bar {
  /** What is held to it: the ratio to the ceiling, or the value itself where there is no ceiling. */
  readonly of: 'ratio' | 'value';
  readonly is: 'at least' | 'at most';
  readonly limit: number;
}

export interface Figure {
  readonly name: string;
  readonly value: number;
  readonly unit: string;
  /** Measured in the same run; null where there is none. */
  readonly ceiling: number | null;
  /** value / ceiling. */
  readonly ratio: number | null;
  /** In words; null: told, not judged. */
  readonly bar: string | null;
  readonly met: boolean | null;
}

/** A module that measures. Its figures come in the order in which a reader wants them. */
export interface Measurement {
  /** For `--only`. */
  readonly name: string;
  readonly title: string;
  /** What is measured and how, a sentence or two for the page. */
  readonly words: string;
  readonly notMeasured: readonly string[];
  measure(setting: Setting): Promise<readonly Figure[]>;
}

export interface Setting {
  /** Length of one measured stretch. */
  readonly seconds: number;
  /** Where processes leave their CPU profiles; undefined: none are taken. */
  readonly profileDir: string | undefined;
  readonly tell: (words: string) => void;
}

/** A ratio to a ceiling may lie so far above 1 by noise. */
const aboveMax = 1.1;

export function figure(
  name: string,
  value: number,
  unit: string,
  beside: { readonly ceiling?: number; readonly bar?: Bar } = {},
): Figure {
  const { ceiling, bar } = beside;
  const ratio = ceiling === undefined ? null : value / ceiling;
  const judged = bar?.of === 'ratio' ? (ratio ?? NaN) : value;
  // What lies well above its ceiling was not measured against one: nothing is met by it.
  const hasCeiling = bar?.is !== 'at least' || ratio === null || ratio <= aboveMax;
  return {
    name,
    value,
    unit,
    ceiling: ceiling ?? null,
    ratio,
    bar: bar === undefined ? null : `${bar.of} ${bar.is} ${bar.limit}`,
    met: bar === undefined || !hasCeiling ? null : bar.is === 'at least' ? judged >= bar.limit : judged <= bar.limit,
  };
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
