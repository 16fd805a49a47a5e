// Reader: whoever reads our standard output. `grm ... | head` has seen enough and goes: its choice, and no failure.

export class Reader {
  #gone = false;
  #hear: (() => void) | undefined;

  /** For a command that has something to clean up: it ends itself then, with code 0. Any other is ended at once. */
  onGone(hear: () => void): void {
    this.#hear = hear;
    if (this.#gone) hear();
  }

  /** The reader has gone. Returns whether the command ends itself. */
  leave(): boolean {
    const first = !this.#gone;
    this.#gone = true;
    if (first) this.#hear?.();
    return this.#hear !== undefined;
  }
}
