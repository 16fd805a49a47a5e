// Credit: how many samples this worker may hold. A slot is reserved before work is pulled (Temporal's habit), so a worker never hoards
// what another could do now.
//
//   K1. Work is pulled only while a slot is free. A shard may be larger than what is free: its last samples wait in the engine, never more than one shard's.
//   K2. What was taken is given back exactly once.
//   K3. A slot is given back when its sample is there, not when the whole shard is: samples differ in length, and the shortest one's slot
//       would wait for the longest. A shard keeps one slot to its end, so that no more shards are in hand than there are slots.

export class Credit {
  #taken = 0;
  #slots = 0;
  readonly #waiting = new Set<() => void>();

  get slots(): number {
    return this.#slots;
  }

  get taken(): number {
    return this.#taken;
  }

  get free(): number {
    return Math.max(0, this.#slots - this.#taken);
  }

  /** 0 while no engine serves, or the worker drains or is paused. */
  setSlots(slots: number): void {
    this.#slots = slots;
    this.#wake();
  }

  take(samples: number): void {
    this.#taken += samples;
  }

  give(samples: number): void {
    if (samples > this.#taken) throw new Error('credit: given back more than was taken (K2)');
    this.#taken -= samples;
    this.#wake();
  }

  /** Resolves when a slot is free or `signal` aborts. */
  async whenFree(signal: AbortSignal): Promise<void> {
    while (this.free === 0 && !signal.aborted) await this.#change(signal);
  }

  /** Resolves when nothing is taken or `signal` aborts. */
  async whenIdle(signal: AbortSignal): Promise<void> {
    while (this.#taken > 0 && !signal.aborted) await this.#change(signal);
  }

  #change(signal: AbortSignal): Promise<void> {
    return new Promise((resolve) => {
      const done = (): void => {
        this.#waiting.delete(done);
        signal.removeEventListener('abort', done);
        resolve();
      };
      this.#waiting.add(done);
      signal.addEventListener('abort', done);
    });
  }

  #wake(): void {
    for (const done of [...this.#waiting]) done();
  }
}
