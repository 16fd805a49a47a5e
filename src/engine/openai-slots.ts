// How many requests run at one engine at once; the rest waits here, first come first served, not in the engine.

export class Slots {
  readonly capacity: number;
  #taken = 0;
  readonly #queue = new Set<() => void>();

  constructor(capacity: number) {
    this.capacity = capacity;
  }

  get taken(): number {
    return this.#taken;
  }

  get waiting(): number {
    return this.#queue.size;
  }

  /** True: a slot is taken and must be given back. False: the signal aborted first. */
  async take(signal: AbortSignal): Promise<boolean> {
    if (signal.aborted) return false;
    if (this.#taken < this.capacity) {
      this.#taken += 1;
      return true;
    }
    return await new Promise((resolve) => {
      const granted = () => {
        signal.removeEventListener('abort', gone);
        resolve(true);
      };
      const gone = () => {
        this.#queue.delete(granted);
        resolve(false);
      };
      this.#queue.add(granted);
      signal.addEventListener('abort', gone, { once: true });
    });
  }

  /** A slot that is given back goes straight to the next in line, so `taken` stays. */
  give(): void {
    const [next] = this.#queue;
    if (next === undefined) {
      this.#taken -= 1;
      return;
    }
    this.#queue.delete(next);
    next();
  }
}
