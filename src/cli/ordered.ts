// Ordered: gives results back in the order of the rows, with a bound on how far a fast row may run ahead of a slow one.
//
//   O1. Every value put is given exactly once, in the order of the numbers, without gaps.
//   O2. Beyond the row due next, at most `aheadMax` rows and `bytesMax` bytes are open or held. The row due next may always start, however big.

export interface OrderedBounds {
  readonly aheadMax: number;
  readonly bytesMax: number;
}

export class Ordered<T> {
  readonly #held = new Map<number, { readonly value: T; readonly bytes: number }>();
  readonly #openBytes = new Map<number, number>();
  readonly #waiting = new Set<() => void>();
  #bytes = 0;
  #next: number;

  constructor(
    first: number,
    private readonly bounds: OrderedBounds,
    private readonly give: (value: T, number: number) => void,
  ) {
    this.#next = first;
  }

  /** The row due next. */
  get next(): number {
    return this.#next;
  }

  /** Rows put so far, those that wait for an earlier one too, counted from 0. */
  get answered(): number {
    return this.#next + this.#held.size;
  }

  /** Resolves to true when row `number`, which weighs `bytes`, may start; to false when the signal aborts first. Rows are admitted in order. */
  async admit(number: number, bytes: number, signal: AbortSignal): Promise<boolean> {
    while (!signal.aborted && !this.#hasRoom(number, bytes)) await this.#change(signal);
    if (signal.aborted) return false;
    this.#openBytes.set(number, bytes);
    this.#bytes += bytes;
    return true;
  }

  /** The result of an admitted row; `bytes` is what holding it costs. */
  put(number: number, value: T, bytes: number): void {
    this.#bytes += bytes - (this.#openBytes.get(number) ?? 0);
    this.#openBytes.delete(number);
    this.#held.set(number, { value, bytes });
    for (let due = this.#held.get(this.#next); due; due = this.#held.get(this.#next)) {
      this.#held.delete(this.#next);
      this.#bytes -= due.bytes;
      this.give(due.value, this.#next);
      this.#next++;
    }
    for (const wake of [...this.#waiting]) wake();
  }

  #hasRoom(number: number, bytes: number): boolean {
    if (number === this.#next) return true;
    return number < this.#next + this.bounds.aheadMax && this.#bytes + bytes <= this.bounds.bytesMax;
  }

  #change(signal: AbortSignal): Promise<void> {
    return new Promise((resolve) => {
      const wake = (): void => {
        this.#waiting.delete(wake);
        signal.removeEventListener('abort', wake);
        resolve();
      };
      this.#waiting.add(wake);
      signal.addEventListener('abort', wake);
    });
  }
}
