// Pool: the engines of one worker, and which one takes the next job: the one with the most free room.

/** An engine that may or may not be serving now; the actor room supervises it. */
export interface Seat<E> {
  readonly name: string;
  /** Undefined while it starts, restarts or is gone. */
  current(): E | undefined;
  readonly slots: number;
}

export interface Reserved<E> {
  readonly engine: E;
  /** Gives back what is left of the slots; a second time, nothing. */
  readonly release: () => void;
  /** Gives back one of them. */
  readonly free: () => void;
}

export class EnginePool<E> {
  readonly #taken = new Map<string, number>();
  #slotsOverride: number | undefined;

  constructor(private readonly seats: readonly Seat<E>[]) {}

  /** Slots of the engines that serve now. An override (set slots) is shared over them in proportion. */
  slots(): number {
    const serving = this.seats.filter((seat) => seat.current() !== undefined);
    const own = serving.reduce((sum, seat) => sum + seat.slots, 0);
    return own === 0 ? 0 : Math.min(this.#slotsOverride ?? own, Number.MAX_SAFE_INTEGER);
  }

  setSlots(slots: number): void {
    this.#slotsOverride = slots;
  }

  serving(): readonly E[] {
    return this.seats.flatMap((seat) => seat.current() ?? []);
  }

  taken(name: string): number {
    return this.#taken.get(name) ?? 0;
  }

  /**
   * The engine with the largest share of free slots, or undefined when none serves. It may be overbooked by one job (credit, K1).
   * @param avoid an engine that is not wanted; the others are asked only for what they have room for
   */
  reserve(samples: number, avoid?: unknown): Reserved<E> | undefined {
    let best: { seat: Seat<E>; engine: E; freeShare: number } | undefined;
    for (const seat of this.seats) {
      const engine = seat.current();
      if (engine === undefined || engine === avoid) continue;
      const free = seat.slots - this.taken(seat.name);
      if (avoid !== undefined && free < samples) continue;
      const freeShare = free / Math.max(1, seat.slots);
      if (!best || freeShare > best.freeShare) best = { seat, engine, freeShare };
    }
    if (!best) return undefined;
    const { name } = best.seat;
    this.#taken.set(name, this.taken(name) + samples);
    let held = samples;
    const give = (slots: number): void => {
      held -= slots;
      this.#taken.set(name, this.taken(name) - slots);
    };
    return {
      engine: best.engine,
      release: () => give(held),
      free: () => give(Math.min(1, held)),
    };
  }
}
