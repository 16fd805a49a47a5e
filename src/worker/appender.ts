// Appender: stores what one delivery finishes, in its lane. While an append is under way, what finishes gathers for the next one: an engine
// that is done at once costs one message, a slow one a message per sample.
//
//   B1. One append at a time, and each begins with what is known of the lane from the one before.
//   B2. One that fails takes its results with it and none of the later ones; `flushed` tells of it.

import type { Added, LaneLog } from '../queue/queue.js';

export interface Appender<T> {
  add(result: T): void;
  /** Resolves when all that was added is stored; rejects with the first failure. */
  flushed(): Promise<void>;
}

/**
 * @param known what was read of the lane
 * @param append stores results and says what the lane holds now
 * @param told of every result that the lane holds now; `stored`: it is this one, otherwise another came first
 */
export function openAppender<T>(
  known: LaneLog<T>,
  append: (known: LaneLog<T>, results: readonly T[]) => Promise<Added<T>>,
  told: (result: T, stored: boolean) => void,
): Appender<T> {
  let log = known;
  let waiting: T[] = [];
  let running: Promise<void> | undefined;
  const failures: unknown[] = [];

  const run = async (): Promise<void> => {
    // What an engine reports in one turn travels together.
    await Promise.resolve();
    while (waiting.length > 0) {
      const results = waiting;
      waiting = [];
      try {
        const added = await append(log, results);
        log = added.log;
        for (const result of results) told(result, added.stored.includes(result));
      } catch (error) {
        failures.push(error);
      }
    }
    running = undefined;
  };

  return {
    add(result) {
      waiting.push(result);
      running ??= run();
    },
    async flushed() {
      await running;
      if (failures.length > 0) throw failures[0];
    },
  };
}
