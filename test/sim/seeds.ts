// Seeds: which ones a test file runs. `make sim` says which; without it the project's own share of them is run.

/** So many in one run of all tests, over all files of this folder. */
export const seedsOfTheSuite = 2_000;

export interface Asked {
  /** One seed, with its trace. */
  readonly seed?: number;
  readonly seeds: number;
}

export function asked(environment: Readonly<Record<string, string | undefined>>): Asked {
  const { GRM_SIM_SEED: seed, GRM_SIM_SEEDS: seeds } = environment;
  return {
    ...(seed !== undefined && seed !== '' && { seed: wholeOf('SEED', seed) }),
    seeds: seeds === undefined || seeds === '' ? seedsOfTheSuite : wholeOf('SEEDS', seeds),
  };
}

function wholeOf(name: string, text: string): number {
  if (!/^\d{1,9}$/.test(text)) throw new RangeError(`${name}=${text}: a whole number is needed`);
  return Number(text);
}
