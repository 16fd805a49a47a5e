// Time as the scheduler sees it: a parameter, so that tests can let hours pass at once.

export interface Clock {
  /** Milliseconds; only differences mean anything. */
  now(): number;
  /** Runs `action` once after `delayMs`; the returned function calls it off. */
  after(delayMs: number, action: () => void): () => void;
}

export const realClock: Clock = {
  now: () => performance.now(),
  after(delayMs, action) {
    if (delayMs <= 0) {
      const immediate = setImmediate(action);
      return () => clearImmediate(immediate);
    }
    const timer = setTimeout(action, delayMs);
    return () => clearTimeout(timer);
  },
};
