// Useful slots: how many samples an engine is worth at once, learned from what it says of itself. What waits inside an engine waits
// there whatever becomes free elsewhere; what waits in the queue goes to whoever is free first. So a worker keeps in its engines what they run,
// and little more.
//
//   U1. Never above the configured slots, never below 1.
//   U2. When more than an eighth of what runs waits in the engine, at two readings one after the other, the limit falls to what runs of
//       ours and that eighth: enough for an engine that frees a place to fill it at once.
//   U3. An engine whose KV cache is as good as full throws out what it has begun: the limit falls by an eighth.
//   U4. An engine that has all that it may have and lets nothing wait may have an eighth more.
//   U5. An engine that was started again begins at the configured slots.
//   U6. A reading that fails changes nothing.

import type { EngineGauges } from '../engine/engine.js';
import type { Clock } from '../process/clock.js';
import type { Events } from '../observe/events.js';
import { limits } from '../limits.js';

/** Steps and reserves are so large a part of what there is. */
const part = 8;
/** One crowded reading is a shard that has just come. */
const crowdedReadings = 2;
/** vLLM throws sequences out when it finds no block at all: just below that. */
const kvCacheFullRatio = 0.97;

/** What is useful at one engine. Pure but for what it remembers. */
export class UsefulSlots {
  #limit: number;
  #crowded = 0;

  /** @param configured the most that the engine is ever given */
  constructor(private readonly configured: number) {
    this.#limit = configured;
  }

  get limit(): number {
    return this.#limit;
  }

  /** U5. */
  restart(): void {
    this.#limit = this.configured;
    this.#crowded = 0;
  }

  /** @param taken samples that this worker has at the engine; others may have some there too */
  read(taken: number, { running, waiting, kvCacheUsageRatio = 0 }: EngineGauges): void {
    const ours = Math.min(running, Math.ceil((running * taken) / Math.max(1, running + waiting)));
    if (waiting > eighth(running)) {
      this.#crowded++;
      if (this.#crowded >= crowdedReadings) this.#set(Math.min(this.#limit, ours + eighth(ours)));
      return;
    }
    this.#crowded = 0;
    if (kvCacheUsageRatio >= kvCacheFullRatio) this.#set(this.#limit - eighth(this.#limit));
    else if (waiting === 0 && taken >= this.#limit) this.#set(this.#limit + eighth(this.#limit));
  }

  /** U1. */
  #set(slots: number): void {
    this.#limit = Math.max(1, Math.min(this.configured, slots));
  }
}

function eighth(slots: number): number {
  return Math.max(1, Math.ceil(slots / part));
}

/** An engine's place in a worker: the engine itself changes with every start. */
export interface LearnedSeat<E> {
  readonly name: string;
  readonly configured: number;
  current(): E | undefined;
}

export interface Learning {
  /** Useful slots of the engine in that seat. */
  slots(name: string): number;
  close(): void;
}

export interface LearningOptions<E> {
  readonly seats: readonly LearnedSeat<E>[];
  readonly gauges: (engine: E) => Promise<EngineGauges>;
  /** Samples of this worker at the engine in that seat. */
  readonly taken: (name: string) => number;
  /** Called when some engine's useful slots have changed. */
  readonly onChange: () => void;
  readonly clock: Clock;
  readonly events: Events;
}

/** Reads every engine each limits.learnEveryMs, and never twice at once. */
export function learnSlots<E>({ seats, gauges, taken, onChange, clock, events }: LearningOptions<E>): Learning {
  const known = new Map(seats.map(({ name, configured }) => [name, new UsefulSlots(configured)]));
  const last = new Map<string, E>();
  let closed = false;
  let cancel: () => void = () => undefined;

  const read = async (seat: LearnedSeat<E>): Promise<void> => {
    const { name } = seat;
    const useful = known.get(name)!;
    const engine = seat.current();
    if (engine === undefined) return;
    const before = useful.limit;
    if (last.get(name) !== engine) useful.restart();
    last.set(name, engine);
    try {
      const said = await gauges(engine);
      // It may have been started again meanwhile.
      if (seat.current() === engine) useful.read(taken(name), said);
    } catch (error) {
      events.emit('trouble', { where: `gauges of ${name}`, error });
    }
    if (useful.limit !== before && !closed) onChange();
  };
  const round = (): void => {
    void Promise.all(seats.map(read)).then(() => {
      if (!closed) cancel = clock.after(limits.learnEveryMs, round);
    });
  };
  cancel = clock.after(limits.learnEveryMs, round);

  return {
    slots: (name) => known.get(name)?.limit ?? 0,
    close: () => {
      closed = true;
      cancel();
    },
  };
}
