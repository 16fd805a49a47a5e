// Ordered: gives results back in the order of the rows, with a bound on how far a fast row may run ahead of a slow one.

export class Ordered<T> {
  readonly #held = new Map<number, T>();
  readonly #waiting = new Set<() => void>();
  #next: number;

  /** @param aheadMax rows that may be out or held beyond the next one due */
  constructor(
    first: number,
    private readonly aheadMax: number,
    private readonly give: (value: T, number: number) => void,
  ) {
    this.#next = first;
  }

  /** The row due next. */
  get next(): number {
    return this.#next;
  }

  /** Resolves when row `number` may start. */
  async whenNear(number: number): Promise<void> {
    while (number >= this.#next + this.aheadMax) await new Promise<void>((resolve) => this.#waiting.add(resolve));
  }

  put(number: number, value: T): void {
    this.#held.set(number, value);
    for (let due = this.#held.get(this.#next); due !== undefined; due = this.#held.get(this.#next)) {
      this.#held.delete(this.#next);
      this.give(due, this.#next);
      this.#next++;
    }
    for (const wake of this.#waiting) wake();
    this.#waiting.clear();
  }
}
