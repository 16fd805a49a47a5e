// Rate: how many things finish per second, over the last ten whole seconds.

const windowSeconds = 10;

export class Rate {
  readonly #counts = new Array<number>(windowSeconds + 1).fill(0);
  #second = 0;
  #total = 0;

  /** @param now milliseconds since some beginning, by a clock that only moves forward */
  add(now: number): void {
    this.#turnTo(now);
    this.#counts[this.#second % this.#counts.length]!++;
    this.#total++;
  }

  get total(): number {
    return this.#total;
  }

  perSecond(now: number): number {
    this.#turnTo(now);
    const running = this.#second % this.#counts.length;
    const finished = this.#counts.reduce((sum, count, at) => (at === running ? sum : sum + count), 0);
    return finished / windowSeconds;
  }

  #turnTo(now: number): void {
    const second = Math.floor(now / 1_000);
    const from = Math.max(this.#second + 1, second - windowSeconds);
    for (let each = from; each <= second; each++) this.#counts[each % this.#counts.length] = 0;
    this.#second = Math.max(this.#second, second);
  }
}
